//! The image: what is in it, what its kernel is, how it boots, how it refuses to.
#![forbid(unsafe_code)]

#[path = "image/boots.rs"]
mod boots;
#[path = "image/content.rs"]
mod content;
#[path = "image/flash.rs"]
mod flash;
#[path = "image/refuses.rs"]
mod refuses;
