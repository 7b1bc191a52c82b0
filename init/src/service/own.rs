//! init's own edges: it performs a few operators' acts on tickets, like any performer, and asks pdp
//! for the one call that shows that this boot is good.

use crate::console;
use crate::timeline::boot_ms;
use channel::performer::{Heard, Performer};
use channel::tickets::Released;
use channel::{Channel, Mailbox};
use contract::bytes::Bytes;
use contract::console::{FromInit, VERSION};
use contract::effect::{Effect, Field, Value};
use contract::meta::FirstOperator;
use contract::perform::Outcome;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

/// The end of an edge that is init itself.
pub(crate) const NAME: &str = "init";
const PDP: &str = "pdp-init";
const AUDIT: &str = "audit-init";
pub(super) const BOOT: &str = "boot-pdp";
/// Longest name of a service, which is all that an input may be.
const INPUT_BYTES_MAX: u64 = 64;
/// A pipe takes this much at once; init waits for no reader.
const ANSWER_BYTES_MAX: usize = 60_000;
const TIMELINE: &str = "/run/kruxos/boot.json";

/// Why an act was not done: a code, and words.
pub(super) type Failed = (&'static str, String);

/// What init is asked to do.
#[derive(Debug)]
pub(super) enum Act {
    /// Say which services run.
    Services,
    /// Kill this one, which starts it again.
    Restart(String),
    /// End the machine.
    PowerOff,
    /// And start it again.
    Reboot,
}

/// init's own edges.
#[derive(Debug, Default)]
pub(super) struct Own {
    performer: Performer,
    boot: Option<Mailbox>,
    operator: Option<FirstOperator>,
    /// The code of the boot's own call.
    pub(super) booted: Option<String>,
}

impl Own {
    pub(super) fn new(operator: Option<FirstOperator>) -> Self {
        Self { operator, ..Self::default() }
    }

    /// Takes init's end of a new pair.
    pub(super) fn replace(&mut self, edge: &str, channel: Channel) {
        match edge {
            PDP => self.performer.replace_pdp(Some(channel)),
            AUDIT => self.performer.replace_audit(Some(channel)),
            BOOT => {
                let mut mailbox = Mailbox::new(channel);
                if let Some(FirstOperator { key, secret }) = &self.operator {
                    let (key, secret) = (Bytes(key.to_vec()), Bytes(secret.to_vec()));
                    let message = FromInit::FirstOperator { key, secret };
                    drop(mailbox.post(&(VERSION, message), Vec::new()));
                }
                self.boot = Some(mailbox);
            }
            _ => {}
        }
    }

    pub(super) fn files(&self) -> [Option<BorrowedFd<'_>>; 3] {
        let [pdp, audit] = self.performer.edges();
        [pdp, audit, self.boot.as_ref().map(AsFd::as_fd)]
    }

    /// Asks for the boot's own call.
    pub(super) fn ask_boot(&mut self) {
        self.booted = None;
        if let Some(boot) = &mut self.boot {
            // an edge that takes nothing belongs to a pdp that is gone, and the call is asked again
            drop(boot.post(&(VERSION, FromInit::Boot), Vec::new()));
        }
    }

    /// Hears whoever has spoken; returns a released act for the supervisor to perform.
    pub(super) fn hear(&mut self) -> Option<Released> {
        let ready = channel::wait(&self.files(), &[], 0).unwrap_or_default();
        let of = |index: usize| ready.get(index).copied().unwrap_or(false);
        if of(2) {
            let taken = self
                .boot
                .as_ref()
                .map(|boot| boot.take().and_then(|frame| frame.open(|_: &(u16, String)| 0)));
            match taken {
                Some(Ok(((VERSION, code), _))) => self.booted = Some(code),
                Some(Err(channel::ChannelError::WouldBlock)) | None => {}
                Some(_) => self.boot = None,
            }
        }
        if of(0) {
            self.performer.hear_pdp();
        }
        if !of(1) {
            return None;
        }
        match self.performer.hear_audit(boot_ms()) {
            Heard::Perform(released) => Some(released),
            Heard::Epoch(epoch) => {
                // each act is done before the next is heard: nothing is left to end
                self.performer.settled(epoch);
                None
            }
            Heard::Nothing => None,
        }
    }

    /// Performs a released act: `act` does what the supervisor alone can, and gives the answer.
    pub(super) fn perform(
        &mut self,
        released: Released,
        act: impl FnOnce(Act) -> Result<String, Failed>,
    ) {
        let (spec, [input, answer]) = released.into_parts();
        self.performer.started(spec.call);
        // an operator's act by its name, an agent's call by its capability
        let done = match spec.capability.as_str() {
            "box.boot" | "system.boot@1" => {
                std::fs::read_to_string(TIMELINE).map_err(|error| ("failed", error.to_string()))
            }
            "box.logs" | "system.logs@1" => Ok(logs()),
            "box.services" | "system.services@1" => act(Act::Services),
            "box.restart-service" => {
                let input = channel::sealed::read(&input, INPUT_BYTES_MAX).unwrap_or_default();
                let name = String::from_utf8(input).unwrap_or_default();
                // an act declares no failures of its own
                act(Act::Restart(name)).map_err(|(_, message)| ("failed", message))
            }
            "system.restart_service@1" => act(Act::Restart(service(&spec.effects))),
            "box.shutdown" | "system.shutdown@1" => act(Act::PowerOff),
            "box.reboot" | "system.reboot@1" => act(Act::Reboot),
            _ => Err(("failed", "init performs no such act".to_owned())),
        };
        let (code, body) = match done {
            Ok(body) => ("ok", body),
            Err((code, message)) => {
                (code, format!("{{\"error\":{{\"message\":{}}}}}", json(&message)))
            }
        };
        rustix::io::ioctl_fionbio(&answer, true).ok();
        let written = File::from(answer).write_all(body.as_bytes());
        let code = if written.is_ok() { code } else { "unread" };
        self.performer.ended(spec.call, Outcome::of(code));
    }
}

/// The service that was decided to be restarted: what init does is what its effect says.
fn service(effects: &[Effect]) -> String {
    let name = effects.iter().find_map(|effect| match effect.get(Field::Name) {
        Some(Value::Text(name)) => name.strip_prefix("service/"),
        _ => None,
    });
    name.unwrap_or_default().to_owned()
}

/// A text as JSON (RFC 8259 section 7).
pub(super) fn json(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => quoted.push('\u{fffd}'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The newest lines of ours in the kernel's log.
fn logs() -> String {
    let mut lines: Vec<String> = console::recent().iter().rev().map(|line| json(line)).collect();
    let mut length = 0;
    let fits = lines.iter().take_while(|line| {
        length += line.len() + 1;
        length < ANSWER_BYTES_MAX
    });
    let count = fits.count();
    lines.truncate(count);
    lines.reverse();
    format!("{{\"lines\":[{}]}}", lines.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_one_json_string() {
        assert_eq!(json("a\"b\\c\n"), "\"a\\\"b\\\\c\u{fffd}\"");
    }
}
