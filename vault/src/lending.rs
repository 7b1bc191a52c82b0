//! Lending. A ticket releases a call whose decision is durable; while that call may last, each secret that its effects
//! name is lent once, if the vault itself finds that the secret is bound to this use.
//!
//! Uses are counted here, in memory that the next vault of this boot goes on from.

use crate::admits::{Place, admits};
use crate::secrets::{Now, Secrets};
use contract::effect::{Effect, Field, Kind, Value};
use contract::lend::{Lent, NotLent, Purpose};
use contract::perform::{CallId, Spec};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most calls that may be lent for at once; the oldest is forgotten.
const CALLS_MAX: usize = 1_024;
const MINUTE_MS: u64 = 60_000;
/// Uses count for so many whole minutes after their own.
const MINUTES: u64 = 60;

/// A call that a ticket released.
#[derive(Debug)]
struct Call {
    agent: String,
    capability: String,
    /// For each secret, every place that it is used for.
    places: BTreeMap<String, Vec<Place>>,
    until_ms: u64,
    lent: BTreeSet<String>,
}

/// Which calls may be lent for, and how often each secret was lent.
#[derive(Debug, Default)]
pub(crate) struct Lending {
    calls: BTreeMap<CallId, Call>,
    /// In the order in which they came.
    order: VecDeque<CallId>,
    uses: BTreeMap<String, Uses>,
}

/// How often within the last hour, by minutes of boot time: at most so many numbers.
#[derive(Debug, Default)]
struct Uses(BTreeMap<u64, u32>);

impl Uses {
    fn count(&mut self, now_ms: u64) -> u32 {
        let begin = (now_ms / MINUTE_MS).saturating_sub(MINUTES);
        self.0.retain(|minute, _count| *minute >= begin);
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn note(&mut self, now_ms: u64) {
        let count = self.0.entry(now_ms / MINUTE_MS).or_default();
        *count = count.saturating_add(1);
    }
}

impl Lending {
    /// Takes a call that a ticket released, until its time is over.
    pub(crate) fn release(&mut self, spec: Spec, purpose: Purpose, now_ms: u64) {
        self.calls.retain(|_call, known| known.until_ms >= now_ms);
        self.order.retain(|call| self.calls.contains_key(call));
        if self.order.len() >= CALLS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.calls.remove(&oldest);
        }
        let call = Call {
            agent: spec.agent.name,
            capability: purpose.capability,
            places: places(&spec.effects),
            until_ms: now_ms.saturating_add(spec.limits.wall_ms),
            lent: BTreeSet::new(),
        };
        self.order.push_back(spec.call);
        self.calls.insert(spec.call, call);
    }

    /// How often each secret was lent, and in which minute last.
    pub(crate) fn counted(&mut self, now_ms: u64) -> BTreeMap<String, (u32, u64)> {
        let mut all = BTreeMap::new();
        for (name, uses) in &mut self.uses {
            let count = uses.count(now_ms);
            if let Some((last, _)) = uses.0.last_key_value() {
                all.insert(name.clone(), (count, *last));
            }
        }
        all
    }

    /// An earlier vault lent so often.
    pub(crate) fn used(&mut self, before: &BTreeMap<String, (u32, u64)>) {
        let uses = |(name, (count, last)): (&String, &(u32, u64))| {
            (name.clone(), Uses([(*last, *count)].into()))
        };
        self.uses = before.iter().map(uses).collect();
    }

    /// No call of before is lent for any more.
    pub(crate) fn forget(&mut self) {
        self.calls.clear();
        self.order.clear();
    }

    /// The value of a secret for a call, and its version.
    pub(crate) fn lend(
        &mut self,
        secrets: &Secrets,
        call: CallId,
        name: &str,
        now: Now,
    ) -> Result<(u64, Lent), NotLent> {
        let call = self.calls.get_mut(&call).filter(|call| call.until_ms >= now.boot_ms);
        let call = call.ok_or(NotLent::NoTicket)?;
        let places = call.places.get(name).filter(|_places| !call.lent.contains(name));
        let places = places.ok_or(NotLent::NoTicket)?;
        let opened = secrets.opened.as_ref().ok_or(NotLent::Locked)?;
        let held = opened.held(name).ok_or(NotLent::NotBound)?;
        let binding = &held.binding;
        let bound =
            places.iter().all(|place| admits(binding, &call.agent, &call.capability, place));
        let expired = binding.expires_s.is_some_and(|end| now.wall_s >= end);
        let uses = self.uses.entry(name.to_owned()).or_default();
        let count = uses.count(now.boot_ms);
        let used_up = binding.uses_per_hour.is_some_and(|most| count >= most);
        if !bound || !held.kind.is_for(&call.capability) || expired || used_up {
            return Err(NotLent::NotBound);
        }
        let lent = secrets.value(name).ok_or(NotLent::NotBound)?;
        uses.note(now.boot_ms);
        call.lent.insert(name.to_owned());
        Ok(lent)
    }
}

/// What the effects use which secret for. An effect that leaves something open is for no place that is bound.
fn places(effects: &[Effect]) -> BTreeMap<String, Vec<Place>> {
    let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for effect in effects.iter().filter(|effect| effect.kind == Kind::Secret) {
        let text = |field| match effect.get(field) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let port = match effect.get(Field::Port) {
            Some(Value::Number(port)) => *port,
            _ => 0,
        };
        let (host, method, path) = (text(Field::Host), text(Field::Method), text(Field::UrlPath));
        places.entry(text(Field::Name)).or_default().push(Place { host, port, method, path });
    }
    places
}

#[cfg(test)]
pub(crate) mod tests;
