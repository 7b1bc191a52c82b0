//! Operators' own invariants: properties that each text must have which is applied, beside those that the image ships.
//! One is added by a signed act, after it was proved of the set in force; so at any time the set in force has every
//! one of them, and a text that would not is refused with the call that shows it.

use crate::Pdp;
use crate::act::Stated;
use crate::refusal::{Refusal, bad, not_found};
use crate::set::{Applied, NotTaken};
use contract::limits::{INVARIANT_BYTES_MAX, INVARIANTS_MAX};
use ledger::Envelope;
use policy::Property;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How long the proofs of one act may take together before no other is begun.
const PROOFS_MAX: Duration = Duration::from_secs(5);

/// One that an operator added.
#[derive(Debug, Clone)]
pub(crate) struct Invariant {
    /// Nothing where this version cannot read it: then no text has it.
    property: Option<Property>,
    text: String,
    operator: String,
    wall_us: u64,
}

/// Operators' invariants by their names.
#[derive(Debug, Default)]
pub(crate) struct Invariants(BTreeMap<String, Invariant>);

impl Invariants {
    /// Takes the record of an act that adds some.
    pub(crate) fn added(&mut self, record: &Envelope) {
        let fact = |name: &str| record.facts.get(name).cloned().unwrap_or_default();
        let (text, operator) = (fact("text"), fact("operator"));
        let of = |property| Invariant {
            property,
            text: text.clone(),
            operator: operator.clone(),
            wall_us: record.wall_us,
        };
        match policy::parse_properties(&text) {
            Ok(properties) => {
                let named = properties.into_iter().map(|one| (one.name.clone(), of(Some(one))));
                self.0.extend(named);
            }
            // they were read when they were taken: whatever they say, it is not forgotten
            Err(_unreadable) => {
                let names = fact("names");
                self.0.extend(names.split_whitespace().map(|name| (name.to_owned(), of(None))));
            }
        }
    }

    /// Takes the record of an act that removes one.
    pub(crate) fn removed(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Whether a set has every one.
    pub(crate) fn hold_of(
        &self,
        applied: &Applied,
        mut alive: impl FnMut(),
    ) -> Result<(), NotTaken> {
        let mut properties = Vec::new();
        for (name, invariant) in &self.0 {
            let property = invariant.property.as_ref();
            properties.push(property.ok_or_else(|| NotTaken::Unreadable(name.clone()))?);
        }
        hold_of(&properties, applied, &mut alive)
    }

    /// Why some cannot be added to these and to those that ship, whose names are given.
    fn room_for(&self, properties: &[Property], shipped: &[Property]) -> Result<(), Refusal> {
        for Property { name, .. } in properties {
            if shipped.iter().any(|known| known.name == *name) || self.0.contains_key(name) {
                let message = format!("there is an invariant `{name}`; choose another name");
                return Err(Refusal::Conflict { message });
            }
        }
        if self.0.len() + properties.len() > INVARIANTS_MAX {
            return Err(bad(&format!("more than {INVARIANTS_MAX} invariants; remove one first")));
        }
        Ok(())
    }
}

/// Whether a set has every one of these.
fn hold_of(
    properties: &[&Property],
    applied: &Applied,
    alive: &mut impl FnMut(),
) -> Result<(), NotTaken> {
    let begun = Instant::now();
    for property in properties {
        alive();
        applied.has(property)?;
        if begun.elapsed() > PROOFS_MAX {
            return Err(NotTaken::TooLong(PROOFS_MAX.as_secs()));
        }
    }
    alive();
    Ok(())
}

/// Reads what an operator wants to add.
fn read(text: &str) -> Result<Vec<Property>, Refusal> {
    if text.len() > INVARIANT_BYTES_MAX {
        return Err(bad(&format!("the text is longer than {INVARIANT_BYTES_MAX} bytes")));
    }
    policy::parse_properties(text).map_err(|error| bad(&error.to_string()))
}

impl Pdp {
    /// All of them.
    pub(crate) fn invariants(&self) -> String {
        let shipped = self.shipped.invariants().iter().map(
            |property| json!({ "name": property.name, "reason": property.reason, "shipped": true }),
        );
        let own = self.state.invariants.0.iter().map(|(name, one)| {
            let reason = one.property.as_ref().and_then(|property| property.reason.as_ref());
            json!({ "name": name, "reason": reason, "shipped": false, "text": one.text,
                "operator": one.operator, "wall_us": one.wall_us,
                "readable": one.property.is_some() })
        });
        let all: Vec<Json> = shipped.chain(own).collect();
        json!({ "invariants": all }).to_string()
    }

    /// Adds those of a text, if the set in force has them.
    pub(crate) fn invariant_add(
        &mut self,
        stated: Stated,
        text: String,
    ) -> Result<Option<String>, Refusal> {
        self.nothing_changes()?;
        let properties = read(&text)?;
        self.state.invariants.room_for(&properties, self.shipped.invariants())?;
        let wanted: Vec<&Property> = properties.iter().collect();
        let service = &mut self.service;
        hold_of(&wanted, &self.applied, &mut || drop(service.alive()))
            .map_err(|error| bad(&format!("not added: {error}")))?;
        let names: Vec<&str> = properties.iter().map(|one| one.name.as_str()).collect();
        let facts = vec![("text", text), ("names", names.join(" "))];
        self.change(stated, "invariant-add", facts)
    }

    /// Removes one that an operator added.
    pub(crate) fn invariant_remove(
        &mut self,
        stated: Stated,
        name: String,
    ) -> Result<Option<String>, Refusal> {
        self.nothing_changes()?;
        if self.shipped.invariants().iter().any(|shipped| shipped.name == name) {
            let message = format!("the invariant `{name}` ships with the image and stays");
            return Err(Refusal::Conflict { message });
        }
        if !self.state.invariants.0.contains_key(&name) {
            return Err(not_found("invariant of this name"));
        }
        self.change(stated, "invariant-remove", vec![("name", name)])
    }

    fn change(
        &mut self,
        stated: Stated,
        act: &str,
        facts: Vec<(&str, String)>,
    ) -> Result<Option<String>, Refusal> {
        let call = self.random_call()?;
        self.changing = Some(call);
        let done = self.recorded(stated, act, facts, Some(call));
        if done.is_err() {
            self.changing = None;
        }
        done
    }

    /// Refuses while another text or invariant is being recorded: each was judged by what was there before, and both
    /// together may be what neither is.
    pub(crate) fn nothing_changes(&self) -> Result<(), Refusal> {
        let message = || "another change of the policy is being recorded; try again".to_owned();
        match self.changing {
            Some(_call) => Err(Refusal::Conflict { message: message() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::Shipped;
    use ledger::Kind;
    use ledger::writer::Draft;

    const DELETES: &str = "properties:\n  - name: deletes-ask\n    reason: nothing goes unasked\n    \
                           never: { agents: [any], effects: [delete], decision: [autonomous, notify] }\n";
    const TEXT: &str = "policy: box\nversion: 1\nrules:\n  - { name: d, agents: [any], effects: \
                        [delete], where: { path: { under: /workspace } }, decision: approval }\n";

    fn record(facts: &[(&str, &str)]) -> Envelope {
        Draft::new(Kind::Act, facts).into_envelope([0; 16], 0, 7, BTreeMap::new())
    }

    fn shipped() -> Shipped {
        Shipped::of(
            include_str!("../../../policies/system.yaml"),
            include_str!("../../../policies/invariants.yaml"),
            include_str!("../../../policies/personal.yaml").to_owned(),
        )
        .unwrap()
    }

    fn with(text: &str, names: &str) -> Invariants {
        let mut invariants = Invariants::default();
        invariants.added(&record(&[("text", text), ("names", names), ("operator", "ann")]));
        invariants
    }

    #[test]
    fn an_operators_invariant_holds_of_every_text_until_it_is_removed() {
        let shipped = shipped();
        let mut invariants = with(DELETES, "deletes-ask");
        let mut alive = 0;
        let asks = shipped.apply(TEXT).unwrap();
        assert!(invariants.hold_of(&asks, || alive += 1).is_ok(), "a control");
        assert_eq!(alive, 2, "it says that it is alive about each proof");
        let milder = shipped.apply(&TEXT.replace("approval", "notify")).unwrap();
        let refused = invariants.hold_of(&milder, || {}).unwrap_err().to_string();
        for part in ["`deletes-ask` would not hold", " calls ", "delete /workspace", "box/d"] {
            assert!(refused.contains(part), "no `{part}` in {refused}");
        }
        // windows of time count in both of their ways
        let window = TEXT.replace(
            "decision: approval",
            "decision: notify, limits: { open: \"mon 09:00-10:00 UTC\", over: approval }",
        );
        assert!(invariants.hold_of(&shipped.apply(&window).unwrap(), || {}).is_err());
        invariants.removed("deletes-ask");
        assert!(invariants.hold_of(&milder, || {}).is_ok());
    }

    #[test]
    fn an_invariant_that_cannot_be_read_any_more_is_not_forgotten() {
        let shipped = shipped();
        let asks = shipped.apply(TEXT).unwrap();
        let invariants = with("properties: of another version", "one two");
        let refused = invariants.hold_of(&asks, || {}).unwrap_err().to_string();
        assert!(refused.contains("`one` cannot be read by this version"), "{refused}");
        assert_eq!(invariants.0.len(), 2);
    }

    #[test]
    fn invariants_have_names_of_their_own_and_bounds() {
        let shipped = shipped();
        let invariants = with(DELETES, "deletes-ask");
        let room =
            |of: &Invariants, text: &str| of.room_for(&read(text).unwrap(), shipped.invariants());
        assert!(matches!(room(&invariants, DELETES), Err(Refusal::Conflict { .. })));
        let shipped_name = DELETES.replace("deletes-ask", "code-asks");
        assert!(matches!(room(&invariants, &shipped_name), Err(Refusal::Conflict { .. })));
        assert!(room(&invariants, &DELETES.replace("deletes-ask", "other")).is_ok());
        let mut many = Invariants::default();
        for number in 0..INVARIANTS_MAX {
            assert!(room(&many, DELETES).is_ok());
            let text = DELETES.replace("deletes-ask", &format!("n{number}"));
            many.added(&record(&[("text", &text)]));
        }
        assert!(matches!(room(&many, DELETES), Err(Refusal::Bad { .. })), "one too many");
        let long = format!("{DELETES}# {}", "x".repeat(INVARIANT_BYTES_MAX));
        assert!(read(&long).is_err() && read(DELETES).is_ok());
        for bad in ["", "properties: []", "properties: &a []", &DELETES.replace("never", "newer")] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
