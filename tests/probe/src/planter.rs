//! A service of the smoke test's image: plants a symbolic link to /etc/passwd in every workspace, as a
//! hostile program could, so that the walk can show what a file capability does with it.
#![forbid(unsafe_code)]

use capabilities as _;
use channel::{ChannelError, Service, Wish, wait};
use contract as _;
use ledger as _;
use linux as _;
use rustix as _;
use serde_json as _;
use sha2 as _;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, lchown, symlink};
use std::process::ExitCode;

const AGENTS: &str = "/data/agents";

fn main() -> ExitCode {
    match plant() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_gone) => ExitCode::FAILURE,
    }
}

fn plant() -> Result<(), ChannelError> {
    let mut service = Service::start()?;
    service.ready()?;
    loop {
        service.alive()?;
        for home in std::fs::read_dir(AGENTS).into_iter().flatten().flatten() {
            let workspace = home.path().join("workspace");
            let link = workspace.join("link");
            if let Ok(status) = std::fs::metadata(&workspace)
                && symlink("/etc/passwd", &link).is_ok()
            {
                lchown(&link, Some(status.uid()), Some(status.gid())).ok();
            }
        }
        let ready = wait(&[Some(service.as_fd())], &[], 200)?;
        if ready.first() == Some(&true) && matches!(service.wish()?, Wish::Stop) {
            return Ok(());
        }
    }
}
