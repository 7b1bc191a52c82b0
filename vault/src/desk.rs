//! What the vault does on a ticket: an operator's act, or a secret that is lent. What went wrong is returned as a line
//! for the machine's log.

use crate::authority::Authority;
use crate::egress;
use crate::kept::{Kept, Left};
use crate::lending::Lending;
use crate::secrets::{Now, Secrets};
use channel::Mailbox;
use channel::performer::{Heard, Performer};
use channel::tickets::Released;
use contract::bytes::Bytes;
use contract::digits::hex;
use contract::lend::{CAPABILITY, Purpose};
use contract::perform::Outcome;
use contract::secret::{FOR_ATTEMPT, FOR_SECRETS};
use linux::clock::{boot_ms, wall_us};
use serde_json::{Value as Json, json};
use std::fs::File;
use std::io::Write;

const INPUT_BYTES_MAX: u64 = 1 << 20;
/// Most words of audit that are heard before one question of egress.
const WORDS_MAX: usize = 4_096;

/// Everything but the service itself.
pub(crate) struct Desk {
    pub(crate) performer: Performer,
    pub(crate) authority: Authority,
    secrets: Secrets,
    lending: Lending,
    pub(crate) egress: Option<Mailbox>,
    /// For the vault after this one.
    kept: Kept,
}

fn now() -> Now {
    Now { boot_ms: boot_ms(), wall_s: wall_us() / 1_000_000 }
}

impl Desk {
    pub(crate) fn new(
        performer: Performer,
        authority: Authority,
        secrets: Secrets,
        egress: Option<Mailbox>,
    ) -> Self {
        let (lending, kept) = (Lending::default(), Kept::default());
        Self { performer, authority, secrets, lending, egress, kept }
    }

    /// Goes on from what an earlier vault left, if that opens what is here. Whether it did.
    pub(crate) fn go_on(&mut self, mut kept: Kept) -> bool {
        if let Some(left) = kept.left() {
            self.lending.used(&left.uses);
            if let Some(keys) = &left.keys {
                self.secrets.open_again(&keys.0);
            }
        }
        self.kept = kept;
        self.leave();
        self.secrets.opened.is_some()
    }

    /// Leaves the next vault what this one is.
    fn leave(&mut self) {
        let opened = self.secrets.opened.as_ref();
        let keys = opened.map(|opened| Bytes(opened.keys.text().to_vec()));
        self.kept.leave(&Left { keys, uses: self.lending.counted(boot_ms()) });
    }

    /// Takes one word of audit, and acts on it.
    pub(crate) fn hear_audit(&mut self) -> Option<String> {
        match self.performer.hear_audit(boot_ms()) {
            Heard::Nothing => None,
            Heard::Perform(released) if released.capability() == CAPABILITY => {
                self.release(released)
            }
            Heard::Perform(released) => {
                self.perform(released);
                None
            }
            // each act is done before the next is heard: nothing is left to end, and nothing of before is lent for
            Heard::Epoch(epoch) => {
                self.lending.forget();
                self.performer.settled(epoch);
                None
            }
        }
    }

    /// Answers one question of egress. Audit sent this vault its ticket before it sent egress its own: what it said is
    /// heard first.
    pub(crate) fn hear_egress(&mut self) -> Option<String> {
        let asked = match egress::take(self.egress.as_ref()?) {
            Ok(asked) => asked?,
            Err(error) => {
                self.egress = None;
                return Some(format!("egress: {error}"));
            }
        };
        let mut wrong = None;
        for _ in 0..WORDS_MAX {
            if !self.performer.audit_has_more() {
                break;
            }
            wrong = self.hear_audit().or(wrong);
        }
        let lent = self.lending.lend(&self.secrets, asked.0, &asked.1, now());
        // a use counts before its value is out
        self.leave();
        let answered = egress::answer(self.egress.as_mut()?, asked, lent);
        if let Err(error) = answered {
            self.egress = None;
            wrong = Some(format!("no answer for egress: {error}"));
        }
        wrong
    }

    /// Notes a call that secrets may be lent for. Its end is egress's to say.
    fn release(&mut self, released: Released) -> Option<String> {
        let (spec, [input, _answer]) = released.into_parts();
        let purpose = channel::sealed::read(&input, INPUT_BYTES_MAX)
            .map_err(|error| error.to_string())
            .and_then(|input| {
                serde_json::from_slice::<Purpose>(&input).map_err(|error| error.to_string())
            });
        match purpose {
            Ok(purpose) => {
                self.lending.release(spec, purpose, boot_ms());
                None
            }
            Err(error) => Some(format!("a call without a purpose is lent nothing: {error}")),
        }
    }

    fn perform(&mut self, released: Released) {
        let (spec, [input, answer]) = released.into_parts();
        self.performer.started(spec.call);
        let done = channel::sealed::read(&input, INPUT_BYTES_MAX)
            .map_err(|error| ("bad_input", error.to_string()))
            .and_then(|input| self.secrets.act(&spec.capability, &input, now()));
        self.leave();
        let (code, body) = match done {
            Ok(body) => ("ok", self.vouched(&spec.capability, body)),
            Err((code, message)) => {
                (code, json!({ "error": { "code": code, "message": message } }))
            }
        };
        // the door reads while we write; one that does not is not waited for
        rustix::io::ioctl_fionbio(&answer, true).ok();
        let written = File::from(answer).write_all(body.to_string().as_bytes());
        let code = if written.is_ok() { code } else { "unread" };
        self.performer.ended(spec.call, Outcome::of(code));
    }

    /// Lets the authority stand for a recipient that an answer names.
    fn vouched(&self, act: &str, mut body: Json) -> Json {
        let purpose = if act == "vault.attempt" { FOR_ATTEMPT } else { FOR_SECRETS };
        let recipient = body.get("recipient").and_then(Json::as_str);
        let signature = recipient.and_then(|text| self.authority.vouch(purpose, text).ok());
        if let (Some(signature), Some(body)) = (signature, body.as_object_mut()) {
            body.insert("vouched".to_owned(), json!(hex(&signature)));
        }
        body
    }
}

#[cfg(test)]
mod tests;
