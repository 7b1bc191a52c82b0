//! From the verified root to ready, one line a stage.

use crate::error::BootError;
use crate::service::{self, Supervisor};
use crate::timeline::Timeline;
use crate::{
    bless, clock, console, disk, filesystem, kernel, meta, mounts, power, toolbox, watchdog,
};
use std::convert::Infallible;

/// The boot sequence, then supervision until the machine is told to end.
pub(crate) fn run() -> Result<Infallible, BootError> {
    let mut timeline = Timeline::default();
    timeline.stage("mounts", mounts::running)?;
    let watchdog = timeline.stage("watchdog", watchdog::open)?;
    timeline.stage("kernel", kernel::check)?;
    timeline.stage("sysctl", kernel::harden)?;
    timeline.stage("clock", clock::floor)?;
    timeline.stage("toolbox", toolbox::open)?;
    let disk = timeline.stage("disk", disk::prepare)?;
    let meta = timeline.stage("meta", || meta::load(&disk))?;
    if meta.operator.is_some() {
        console::say("the first operator is known");
    }
    timeline.stage("filesystems", || filesystem::mount_all(disk))?;
    let plan = timeline.stage("descriptions", service::load)?;
    let mut supervisor =
        timeline.stage("services", || Supervisor::start(plan, watchdog, meta.operator))?;
    timeline.stage("call", || supervisor.prove())?;
    timeline.stage("bless", bless::bless)?;
    timeline.ready();
    let end = supervisor.run()?;
    console::say("stopping services");
    supervisor.stop_all()?;
    console::say(match end {
        power::End::PowerOff => "powering off",
        power::End::Restart => "restarting",
    });
    filesystem::detach_all();
    power::end(end);
    Err(BootError::new("reboot", "the machine", "the kernel did not do it"))
}
