//! The boot's own calls: each ring of a cage is tried, then one call goes through everything. The doors
//! open, and the boot is blessed, only after them.

use crate::call::{Allowed, Asked, Permit, spec};
use crate::peers::BOOT;
use crate::refusal::Refusal;
use crate::state::PRINCIPAL;
use crate::{Pdp, Then};
use contract::console::{FromInit, VERSION};
use contract::perform::CallId;
use contract::rings::{self, RINGS};
use ledger::Kind;
use ledger::writer::Draft;
use policy::{Answer, Call, Facts};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::VecDeque;

/// What is still to be called, and what is under way.
#[derive(Debug, Default)]
pub(crate) struct Boot {
    calls: VecDeque<(&'static str, &'static str, String)>,
    call: Option<(CallId, &'static str)>,
    failed: Vec<String>,
}

impl Pdp {
    /// init's own call and what it knows of the first operator.
    pub(crate) fn hear_boot(&mut self) {
        while let Some((message, _)) = self.peers.take(BOOT, VERSION, |_: &FromInit| 0) {
            match message {
                FromInit::FirstOperator { key, secret } => {
                    self.first_operator = key.0.try_into().ok().zip(secret.0.try_into().ok());
                }
                FromInit::Boot => {
                    let tries = RINGS.iter().map(|ring| {
                        (ring.name, rings::CAPABILITY, json!({ "ring": ring.name }).to_string())
                    });
                    let call = ("call", "system.time", "{}".to_owned());
                    self.boot.calls = tries.chain([call]).collect();
                    self.boot.failed.clear();
                    self.next_boot_call();
                }
            }
        }
    }

    /// The next of the boot's own calls; after the last init is told that all is well, or what was not.
    fn next_boot_call(&mut self) {
        while let Some((name, capability, input)) = self.boot.calls.pop_front() {
            match self.boot_call(capability, input.as_bytes()) {
                Ok(call) => {
                    self.boot.call = Some((call, name));
                    return;
                }
                Err(refusal) => self.boot.failed.push(format!("{name}: {}", refusal.code())),
            }
        }
        let failed = std::mem::take(&mut self.boot.failed);
        let code = if failed.is_empty() { "ok".to_owned() } else { failed.join(", ") };
        self.peers.post(BOOT, &(VERSION, code), Vec::new());
    }

    /// One of the boot's own calls ended; one that was asked before init asked again counts no more.
    pub(crate) fn boot_call_ended(&mut self, call: CallId, code: &str) {
        let Some((_, name)) = self.boot.call.take_if(|(of, _)| *of == call) else { return };
        if code != "ok" {
            self.boot.failed.push(format!("{name}: {code}"));
        }
        self.next_boot_call();
    }

    fn boot_call(&mut self, capability: &str, input: &[u8]) -> Result<CallId, Refusal> {
        let digest = Sha256::digest(input).into();
        let input = channel::sealed::holding(input).map_err(|_e| Refusal::Unavailable)?;
        let answer = channel::sealed::empty().map_err(|_e| Refusal::Unavailable)?;
        let (declaration, effects, _) = crate::call::lower(capability, &input)?;
        let (capability, version) = (declaration.name, declaration.version);
        let call = Call { agent: PRINCIPAL, capability, version };
        let decision = self.shipped.operators.decide(&call, &effects, &Facts::default());
        let allowed = Allowed::by(&decision, Answer::Notify).ok_or(Refusal::NotThere)?;
        let call = self.random_call()?;
        let asked = Asked { agent: PRINCIPAL, declaration, effects, digest };
        let facts =
            [("agent", PRINCIPAL), ("capability", &declaration.id()), ("answer", "autonomous")];
        let mut draft = Draft::new(Kind::Decision, &facts);
        draft.call = Some(call);
        draft.effects.clone_from(&asked.effects);
        let spec = spec(call, &asked, PRINCIPAL, contract::uids::AGENTS);
        self.record(
            draft,
            Vec::new(),
            Some(Permit::new(allowed, spec, "forker", [input, answer])),
        )?;
        self.await_call(call, BOOT, 0, Then::Booted);
        Ok(call)
    }
}
