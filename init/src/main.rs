//! PID 1: brings the machine from kernel to ready, then keeps it there.
//!
//! The same binary runs twice. As the only file of the initramfs it opens the verified root
//! ([`stage1`]); executed again from that root it is the boot sequence ([`boot`], one line a
//! stage) and then the supervisor ([`service`]). Nothing here waits without a deadline, opens an
//! internet socket, or goes on after a stage that did not hold.
#![forbid(unsafe_code)]

mod bless;
mod boot;
mod clock;
mod console;
mod disk;
mod error;
mod filesystem;
mod gpt;
mod guid;
mod kernel;
mod meta;
mod mounts;
mod power;
mod service;
mod stage1;
mod timeline;
mod toolbox;
mod verity;
mod watchdog;

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() != 1 {
        console::stray();
        return ExitCode::from(2);
    }
    console::say_panics();
    let error = match if stage1::is_initramfs() { stage1::run() } else { boot::run() } {
        Ok(never) => match never {},
        Err(error) => error,
    };
    console::last_words(&error);
    power::restart()
}
