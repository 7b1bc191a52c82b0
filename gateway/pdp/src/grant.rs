//! Grants, made and taken back: what an operator signs of them.

use crate::Pdp;
use crate::act::Stated;
use crate::grants::{CALLS_MAX, GRANTS_MAX, Question, SECONDS_MAX, asked_for, never, region};
use crate::refusal::{Refusal, bad, not_found};
use contract::digits::hex;
use contract::effect::Effect;
use contract::perform::CallId;
use policy::{Call, Decision, Facts};
use serde_json::json;

impl Pdp {
    /// The grant that lets a call through.
    pub(crate) fn granted(&self, asked: &Question<'_>, decision: &Decision) -> Option<CallId> {
        let set = self.applied.set.set();
        self.state.grants.covering(set, asked, decision, linux::clock::boot_us())
    }

    /// Makes one of a call that waits.
    pub(crate) fn grant(
        &mut self,
        stated: Stated,
        (call, digest): (String, String),
        scope: Option<String>,
        (calls, seconds): (u32, u64),
    ) -> Result<Option<String>, Refusal> {
        let (_, pending) = self.pending(&call)?;
        if digest != pending.digest {
            let message = "the digest is not that of what waits; look at it again".to_owned();
            return Err(Refusal::Conflict { message });
        }
        if !(1..=CALLS_MAX).contains(&calls) || !(1..=SECONDS_MAX).contains(&seconds) {
            return Err(bad("a grant is for 1 to 1,000 calls and 1 second to a day"));
        }
        if self.state.grants.count(linux::clock::boot_us()) >= GRANTS_MAX {
            return Err(bad("64 grants are in force; revoke one"));
        }
        let declaration =
            capabilities::find(&pending.capability).ok_or(Refusal::UnknownCapability)?;
        let (capability, version) = (declaration.name, declaration.version);
        let by = Call { agent: &pending.agent, capability, version };
        let set = &self.applied.set;
        let decision = set.decide(&by, &pending.effects, &Facts::default());
        let (agent, effects) = (pending.agent.as_str(), pending.effects.as_slice());
        let asked = Question { agent, declaration, effects };
        if let Some(why) = never(set.set(), &asked, &decision) {
            return Err(Refusal::Conflict { message: format!("no grant: {why}") });
        }
        if let Some(text) = &scope {
            let kinds: Vec<Effect> = asked_for(&pending.effects, &decision).cloned().collect();
            region(text, &kinds).map_err(|error| bad(&format!("`scope`: {error}")))?;
        }
        let mut facts = vec![
            ("of", call),
            ("digest", digest),
            ("input_digest", hex(&pending.input)),
            ("agent", pending.agent.clone()),
            ("capability", pending.capability.clone()),
            ("calls", calls.to_string()),
            ("seconds", seconds.to_string()),
        ];
        facts.extend(scope.map(|text| ("scope", text)));
        let id = self.random_call()?;
        self.recorded_of(stated, ("grant", id), facts, pending.effects)
    }

    /// Takes one back.
    pub(crate) fn grant_revoke(
        &mut self,
        stated: Stated,
        grant: String,
    ) -> Result<Option<String>, Refusal> {
        if !self.state.grants.has(&grant) {
            return Err(not_found("grant of this number"));
        }
        self.recorded(stated, "grant-revoke", vec![("grant", grant)], None)
    }

    /// Those in force, with what is left of each.
    pub(crate) fn grants(&self) -> String {
        json!({ "grants": self.state.grants.list(linux::clock::boot_us()) }).to_string()
    }
}
