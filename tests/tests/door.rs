//! The doors: what a box with an operator and agents does for those who may, and what it does not do
//! for the others; and that it comes back whole from whatever is killed under it.
#![forbid(unsafe_code)]

#[path = "door/admin.rs"]
mod admin;
#[path = "door/approvals.rs"]
mod approvals;
#[path = "door/bad_input.rs"]
mod bad_input;
#[path = "door/changes.rs"]
mod changes;
#[path = "door/codes.rs"]
mod codes;
#[path = "door/cuts.rs"]
mod cuts;
#[path = "door/desk.rs"]
mod desk;
#[path = "door/egress.rs"]
mod egress;
#[path = "door/expecting.rs"]
mod expecting;
#[path = "door/forged.rs"]
mod forged;
#[path = "door/grants.rs"]
mod grants;
#[path = "door/headless.rs"]
mod headless;
#[path = "door/hostile.rs"]
mod hostile;
#[path = "door/kills.rs"]
mod kills;
#[path = "door/neighbours.rs"]
mod neighbours;
#[path = "door/others.rs"]
mod others;
#[path = "door/streams.rs"]
mod streams;
#[path = "door/verdicts.rs"]
mod verdicts;
#[path = "door/votes.rs"]
mod votes;
#[path = "door/webhooks.rs"]
mod webhooks;
