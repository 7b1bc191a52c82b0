//! The supervisor: one loop that waits for signals, control sockets and deadlines, and never for a
//! service.

use super::description::{Description, Edge, Plan};
use super::own::{self, Own};
use super::start;
use crate::console;
use crate::error::{BootError, While};
use crate::power::{Button, End};
use crate::timeline::boot_ms;
use crate::watchdog::{KEEP_ALIVE_MS, Watchdog};
use channel::{Channel, ChannelError};
use contract::control::{self, ToInit, ToService};
use contract::meta::FirstOperator;
use linux::signal::{self, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use rustix::process::Pid;
use std::os::fd::{AsFd, OwnedFd};

/// Time that all services together have to end at shutdown.
const STOP_MS_MAX: u64 = 5_000;
/// Time for the call that shows that this boot is good, and between two tries.
const PROVE_MS_MAX: u64 = 60_000;
const ASK_AGAIN_MS: u64 = 5_000;
/// So many early exits of one service before the first ready make the boot impossible.
const EARLY_EXITS_MAX: u32 = 5;

/// What a service is doing.
#[derive(Debug)]
pub(super) enum State {
    /// Not running; started again at this time.
    Down { until_ms: u64 },
    /// Started, not told to serve yet, or told and not ready.
    Starting { running: Running, deadline_ms: u64, told: bool },
    /// Serving; must be heard of before the deadline.
    Ready { running: Running, deadline_ms: u64 },
    /// Ended for good, at shutdown.
    Ended,
}

#[derive(Debug)]
pub(super) struct Running {
    pid: Pid,
    control: Channel,
    pub(super) since_ms: u64,
}

#[derive(Debug)]
pub(super) struct Service {
    pub(super) description: Description,
    pub(super) state: State,
    early_exits: u32,
    pub(super) starts: u64,
    /// What it gave to be kept for its later runs: handed on, and never read or mapped here.
    kept: Option<OwnedFd>,
}

/// All services, and what PID 1 waits for.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(super) services: Vec<Service>,
    edges: Vec<Edge>,
    signals: OwnedFd,
    watchdog: Watchdog,
    button: Option<Button>,
    watchdog_due_ms: u64,
    wanted_end: Option<End>,
    pub(super) own: Own,
    /// An operator's wish to end the machine, and when: the answer goes out before.
    pub(super) ends_at_ms: Option<(End, u64)>,
    /// A service that an operator wants restarted, and when.
    pub(super) kill_at_ms: Option<(String, u64)>,
    booted: bool,
    /// The boot's own calls went through: the doors may open.
    diagnosed: bool,
}

impl Supervisor {
    /// Starts every service and waits until all are ready; each has its own deadline.
    pub(crate) fn start(
        plan: Plan,
        watchdog: Watchdog,
        operator: Option<FirstOperator>,
    ) -> Result<Self, BootError> {
        let signals = signal::supervisor_signals()?;
        start::prepare_cgroups()?;
        let services = plan.services.into_iter().map(|description| Service {
            description,
            state: State::Down { until_ms: 0 },
            early_exits: 0,
            starts: 0,
            kept: None,
        });
        let mut supervisor = Self {
            services: services.collect(),
            edges: plan.edges,
            signals,
            watchdog,
            button: Button::find(),
            watchdog_due_ms: 0,
            wanted_end: None,
            own: Own::new(operator),
            ends_at_ms: None,
            kill_at_ms: None,
            booted: false,
            diagnosed: false,
        };
        while !supervisor.all_ready() {
            supervisor.turn()?;
        }
        supervisor.booted = true;
        Ok(supervisor)
    }

    /// Whether a service may run: those that follow the diagnosis wait for it.
    fn may_run(&self, service: &Service) -> bool {
        self.diagnosed || !service.description.after_diagnosis
    }

    /// Calls of the principal `boot` through everything: pdp, audit, a cage, each of whose rings is tried;
    /// then whatever waited for them is started. A box whose table of edges does not lead to pdp, which is
    /// one of the tests, has no such call.
    pub(crate) fn prove(&mut self) -> Result<(), BootError> {
        self.diagnose()?;
        self.diagnosed = true;
        let deadline_ms = boot_ms() + PROVE_MS_MAX;
        while !self.all_ready() && self.wanted_end.is_none() {
            if boot_ms() > deadline_ms {
                return Err(BootError::new("start", "the doors", "they are not ready"));
            }
            self.turn()?;
        }
        Ok(())
    }

    fn diagnose(&mut self) -> Result<(), BootError> {
        if !self.edges.iter().any(|edge| edge.name == own::BOOT) {
            console::note("no pdp in the table of edges: no call was made");
            return Ok(());
        }
        let deadline_ms = boot_ms() + PROVE_MS_MAX;
        let mut code = String::new();
        while boot_ms() < deadline_ms && self.wanted_end.is_none() {
            self.own.ask_boot();
            let until_ms = boot_ms() + ASK_AGAIN_MS;
            while boot_ms() < until_ms && self.own.booted.is_none() {
                self.turn()?;
            }
            code = self.own.booted.take().unwrap_or_else(|| "no answer".to_owned());
            if code == "ok" {
                return Ok(());
            }
            // a host whose cgroups lack a controller was named before, and is no box
            if cfg!(feature = "development") && code == "cgroup: not_stopped" {
                console::say("the cage is held by four rings alone: cgroup does not hold");
                return Ok(());
            }
            // a ring that was tried and does not hold will not the next time
            if code.contains("not_stopped") {
                break;
            }
            while boot_ms() < until_ms && self.wanted_end.is_none() {
                self.turn()?;
            }
        }
        Err(BootError::new("diagnose", "the cage", code))
    }

    /// Supervises until the machine is asked to end.
    pub(crate) fn run(&mut self) -> Result<End, BootError> {
        loop {
            if let Some(end) = self.wanted_end {
                return Ok(end);
            }
            self.turn()?;
        }
    }

    /// Stops all services, those that others need last; what does not leave in time is killed.
    pub(crate) fn stop_all(&mut self) -> Result<(), BootError> {
        let deadline_ms = boot_ms() + STOP_MS_MAX;
        for service in self.services.iter().rev() {
            if let Some(running) = service.running() {
                drop(running.control.send(&(control::VERSION, ToService::Stop), &[]));
            }
        }
        while self.services.iter().any(|service| service.running().is_some()) {
            let late = boot_ms() >= deadline_ms;
            for service in self.services.iter_mut() {
                if service.running().is_none() {
                    service.state = State::Ended;
                } else if late {
                    console::note(&format!("{} did not stop in time", service.description.name));
                    start::kill_all(&service.description);
                }
            }
            self.wait(deadline_ms.max(boot_ms() + 100))?;
            self.reap();
        }
        Ok(())
    }

    /// One turn of the loop: what is due is done, then the next event is awaited.
    fn turn(&mut self) -> Result<(), BootError> {
        let now = boot_ms();
        if now >= self.watchdog_due_ms {
            self.watchdog.keep_alive();
            self.watchdog_due_ms = now + KEEP_ALIVE_MS;
        }
        if let Some((end, _)) = self.ends_at_ms.filter(|(_, at_ms)| now >= *at_ms) {
            self.wanted_end = Some(end);
        }
        self.kill_due(now);
        for index in 0..self.services.len() {
            self.attend(index, now)?;
        }
        self.tell_to_serve();
        let ends = self.ends_at_ms.map(|(_, at_ms)| at_ms);
        let ends = ends.into_iter().chain(self.kill_at_ms.as_ref().map(|(_, at_ms)| *at_ms));
        let next = self.services.iter().filter_map(Service::deadline_ms).chain(ends).min();
        self.wait(next.unwrap_or(u64::MAX).min(self.watchdog_due_ms))?;
        self.take_signals()?;
        self.reap();
        self.listen();
        while let Some(released) = self.own.hear() {
            self.perform(released);
        }
        Ok(())
    }

    /// Starts what is due, kills what is overdue.
    fn attend(&mut self, index: usize, now: u64) -> Result<(), BootError> {
        if !self.services.get(index).is_some_and(|service| self.may_run(service)) {
            return Ok(());
        }
        let Some(service) = self.services.get_mut(index) else { return Ok(()) };
        let name = &service.description.name;
        match &service.state {
            State::Down { until_ms } if now >= *until_ms => {
                if !self.booted && service.early_exits > EARLY_EXITS_MAX {
                    let cause = format!("it ended early {} times", service.early_exits);
                    return Err(BootError::new("start", name, cause));
                }
                match start::start(&service.description) {
                    Ok((pid, control)) => {
                        service.starts += 1;
                        let deadline_ms = now + service.description.ready_ms_max;
                        service.hand_over(&control);
                        let running = Running { pid, control, since_ms: now };
                        service.state = State::Starting { running, deadline_ms, told: false };
                        self.connect(index);
                    }
                    Err(error) => {
                        // a box that serves goes on with what it has, and tries again
                        console::say(&format!("{name} cannot be started: {error}"));
                        service.postpone(now);
                    }
                }
            }
            State::Starting { deadline_ms, .. } if now >= *deadline_ms => {
                service.kill("not ready in time");
            }
            State::Ready { deadline_ms, .. } if now >= *deadline_ms => service.kill("fell silent"),
            State::Down { .. } | State::Starting { .. } | State::Ready { .. } | State::Ended => {}
        }
        Ok(())
    }

    /// Makes a new pair for every edge between this service and one that runs, or init.
    fn connect(&mut self, index: usize) {
        let Some(name) = self.services.get(index).map(|s| s.description.name.clone()) else {
            return;
        };
        let edges: Vec<Edge> =
            self.edges.iter().filter(|edge| edge.between.contains(&name)).cloned().collect();
        for edge in edges {
            if let Err(error) = self.make_pair(&edge) {
                console::note(&format!("edge {}: {error}", edge.name));
            }
        }
    }

    fn make_pair(&mut self, edge: &Edge) -> Result<(), ChannelError> {
        let running = |end: &String| {
            self.services.iter().find(|s| s.description.name == *end).and_then(Service::running)
        };
        let message = (control::VERSION, ToService::Edge { name: edge.name.clone() });
        let ends = edge.between.each_ref().map(|end| (end == own::NAME, running(end)));
        if ends.iter().any(|(own, running)| !own && running.is_none()) {
            return Ok(()); // made when the other end starts
        }
        let pair = Channel::pair(SocketFlags::empty())?;
        let mut mine = None;
        for ((_, running), end) in ends.into_iter().zip([pair.0, pair.1]) {
            match running {
                Some(running) => running.control.send(&message, &[end.as_fd()])?,
                None => mine = Some(Channel::new(end)),
            }
        }
        if let Some(channel) = mine {
            self.own.replace(&edge.name, channel);
        }
        Ok(())
    }

    /// Tells each started service to serve once those that it follows are ready.
    fn tell_to_serve(&mut self) {
        let ready: Vec<String> = self
            .services
            .iter()
            .filter(|service| matches!(service.state, State::Ready { .. }))
            .map(|service| service.description.name.clone())
            .collect();
        let all_started = self
            .services
            .iter()
            .all(|service| service.running().is_some() || !self.may_run(service));
        for service in &mut self.services {
            let needs_met = service.description.after.iter().all(|need| ready.contains(need));
            if let State::Starting { running, told, .. } = &mut service.state
                && !*told
                && (needs_met || self.booted)
                && (all_started || self.booted)
            {
                // a socket that takes no message belongs to a service that is ending; reaped soon
                drop(running.control.send(&(control::VERSION, ToService::Start), &[]));
                *told = true;
            }
        }
    }

    /// Waits for a signal or a word of a service, at most until `until_ms`.
    fn wait(&self, until_ms: u64) -> Result<(), BootError> {
        let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let own = self.own.files();
        watched.extend(own.iter().flatten().map(|f| PollFd::from_borrowed_fd(*f, PollFlags::IN)));
        for running in self.services.iter().filter_map(Service::running) {
            watched.push(PollFd::from_borrowed_fd(running.control.as_fd(), PollFlags::IN));
        }
        if let Some(button) = &self.button {
            watched.push(PollFd::from_borrowed_fd(button.as_fd(), PollFlags::IN));
        }
        let left = until_ms.saturating_sub(boot_ms());
        let timeout = Timespec {
            tv_sec: i64::try_from(left / 1_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left % 1_000 * 1_000_000).unwrap_or(0),
        };
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno).during("poll", "services"),
        }
    }

    fn take_signals(&mut self) -> Result<(), BootError> {
        if self.button.as_ref().is_some_and(Button::pressed) {
            self.wanted_end = Some(End::PowerOff);
        }
        while let Some(signal) = signal::next(&self.signals)? {
            match signal {
                Signal::PowerOff => self.wanted_end = Some(End::PowerOff),
                Signal::Reboot => self.wanted_end = Some(End::Restart),
                Signal::Child | Signal::Other(_) => {}
            }
        }
        Ok(())
    }

    /// Reaps every ended process, its own and those that lost their parent.
    fn reap(&mut self) {
        while let Some((pid, ended)) = linux::process::reap() {
            let now = boot_ms();
            let owner =
                self.services.iter_mut().find(|s| s.running().is_some_and(|r| r.pid == pid));
            if let Some(service) = owner {
                service.last_words();
                console::say(&format!("{} ended: {ended}", service.description.name));
                start::kill_all(&service.description);
                service.postpone(now);
            }
        }
    }

    /// Takes what the services say.
    fn listen(&mut self) {
        for service in &mut self.services {
            while let Some(running) = service.running() {
                match hear(&running.control) {
                    Ok((ToInit::Keep, file)) if service.description.keeps => service.kept = file,
                    Ok((message, None)) => service.heard(message),
                    Ok((_, Some(_))) => service.kill("it gave a descriptor to keep"),
                    Err(ChannelError::WouldBlock | ChannelError::Closed) => break,
                    Err(error) => service.kill(&error.to_string()),
                }
            }
        }
    }

    fn all_ready(&self) -> bool {
        let ready = |service: &Service| matches!(service.state, State::Ready { .. });
        self.services.iter().all(|service| ready(service) || !self.may_run(service))
    }
}

/// A word of a service, with the descriptor that it is about.
fn hear(control: &Channel) -> Result<(ToInit, Option<OwnedFd>), ChannelError> {
    let brings = |(_, message): &(u16, ToInit)| usize::from(matches!(message, ToInit::Keep));
    let ((version, message), fds) = control.receive()?.open(brings)?;
    if version == control::VERSION {
        Ok((message, fds.into_iter().next()))
    } else {
        Err(ChannelError::Descriptors { found: usize::from(version), expected: 0 })
    }
}

impl Service {
    pub(super) const fn running(&self) -> Option<&Running> {
        match &self.state {
            State::Starting { running, .. } | State::Ready { running, .. } => Some(running),
            State::Down { .. } | State::Ended => None,
        }
    }

    const fn deadline_ms(&self) -> Option<u64> {
        match &self.state {
            State::Down { until_ms } => Some(*until_ms),
            State::Starting { deadline_ms, .. } | State::Ready { deadline_ms, .. } => {
                Some(*deadline_ms)
            }
            State::Ended => None,
        }
    }

    /// Takes what an ended service said before it ended.
    fn last_words(&mut self) {
        while let Some(Ok((message, _))) = self.running().map(|running| hear(&running.control)) {
            self.heard(message);
        }
    }

    /// Gives a new run what an earlier one left.
    fn hand_over(&self, control: &Channel) {
        if let Some(kept) = &self.kept {
            // a socket that takes no message belongs to a service that is ending
            drop(control.send(&(control::VERSION, ToService::Kept), &[kept.as_fd()]));
        }
    }

    fn kill(&mut self, why: &str) {
        console::say(&format!("{}: {why}; killed", self.description.name));
        start::kill_all(&self.description);
        self.postpone(boot_ms());
    }

    /// Takes the service down and fixes when it is started again.
    fn postpone(&mut self, now: u64) {
        let lived_ms = self.running().map_or(0, |running| now.saturating_sub(running.since_ms));
        let restart = self.description.restart;
        let early = lived_ms < restart.healthy_ms_min;
        self.early_exits = if early { self.early_exits.saturating_add(1) } else { 0 };
        let wait_ms = backoff_ms(self.early_exits, restart.backoff_ms_min, restart.backoff_ms_max);
        self.state = State::Down { until_ms: now + wait_ms };
    }

    fn heard(&mut self, message: ToInit) {
        let now = boot_ms();
        let deadline_ms = now + self.description.watchdog_ms_max;
        if let ToInit::Log { line } = &message {
            console::say(&format!("{}: {line}", self.description.name));
        }
        let state = std::mem::replace(&mut self.state, State::Ended);
        self.state = match (state, message) {
            (State::Starting { running, .. }, ToInit::Ready) => {
                let ms = now.saturating_sub(running.since_ms);
                console::note(&format!("{} ready after {ms} ms", self.description.name));
                State::Ready { running, deadline_ms }
            }
            (State::Ready { running, .. }, ToInit::Alive | ToInit::Log { .. } | ToInit::Ready) => {
                State::Ready { running, deadline_ms }
            }
            (state, _) => state,
        };
    }
}

/// Nothing for a healthy run, then `min`, doubled with each further early exit up to `max`.
fn backoff_ms(early_exits: u32, min: u64, max: u64) -> u64 {
    match early_exits.checked_sub(1) {
        None => 0,
        Some(doublings) => {
            min.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_early_exits_wait() {
        let waits: Vec<u64> = (0..7).map(|n| backoff_ms(n, 100, 1_000)).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff_ms(u32::MAX, 100, 1_000), 1_000);
    }
}
