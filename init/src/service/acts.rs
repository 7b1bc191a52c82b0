//! What operators may have done to services and to the machine: said at once, done a moment later, so
//! that the answer goes out before what would cut it off.

use super::own::{self, Act};
use super::start;
use super::supervise::{State, Supervisor};
use crate::power::End;
use crate::timeline::boot_ms;

/// Time between an operator's wish and what it ends, for the answer to go out.
const END_AFTER_MS: u64 = 1_000;

impl Supervisor {
    /// Performs what a ticket released.
    pub(super) fn perform(&mut self, released: channel::tickets::Released) {
        let mut wanted = None;
        let mut restart = None;
        let services = self.services_json();
        let names: Vec<&str> =
            self.services.iter().map(|service| service.description.name.as_str()).collect();
        self.own.perform(released, |act| match act {
            Act::Services => Ok(services),
            Act::Restart(name) if names.contains(&name.as_str()) => {
                let answer = format!("{{\"restarted\":{}}}", own::json(&name));
                restart = Some(name);
                Ok(answer)
            }
            Act::Restart(name) => Err(("not_found", format!("there is no service `{name}`"))),
            Act::PowerOff => {
                wanted = Some(End::PowerOff);
                Ok("{\"ending\":\"power off\"}".to_owned())
            }
            Act::Reboot => {
                wanted = Some(End::Restart);
                Ok("{\"ending\":\"restart\"}".to_owned())
            }
        });
        self.ends_at_ms =
            wanted.map_or(self.ends_at_ms, |end| Some((end, boot_ms() + END_AFTER_MS)));
        if let Some(name) = restart {
            self.kill_at_ms = Some((name, boot_ms() + END_AFTER_MS));
        }
    }

    /// Kills what an operator wanted restarted, once the answer had time to go out.
    pub(super) fn kill_due(&mut self, now: u64) {
        let Some((name, _)) = self.kill_at_ms.take_if(|(_, at_ms)| now >= *at_ms) else { return };
        for service in self.services.iter().filter(|service| service.description.name == name) {
            start::kill_all(&service.description);
        }
    }

    fn services_json(&self) -> String {
        let each = self.services.iter().map(|service| {
            let state = match &service.state {
                State::Down { .. } => "down",
                State::Starting { .. } => "starting",
                State::Ready { .. } => "ready",
                State::Ended => "ended",
            };
            let since = service.running().map_or(0, |running| running.since_ms);
            let name = &service.description.name;
            format!(
                "{{\"name\":{},\"state\":\"{state}\",\"since_ms\":{since},\"starts\":{},\"memory_bytes\":{}}}",
                own::json(name),
                service.starts,
                start::memory_bytes(name)
            )
        });
        format!("{{\"services\":[{}]}}", each.collect::<Vec<_>>().join(","))
    }
}
