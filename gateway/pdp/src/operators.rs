//! Who is an operator, and in which groups: signed acts. While the record of one is on its way no other
//! act is taken, so that none is judged by who was an operator before.

use crate::Pdp;
use crate::act::{Stated, is_name};
use crate::refusal::{Refusal, bad, not_found};
use acts::GROUPS_MAX;
use contract::digits::unhex_array;
use contract::statement::Act;

/// Most operators.
const OPERATORS_MAX: usize = 256;

impl Pdp {
    /// Whether nobody is becoming an operator or ceasing to be one.
    pub(crate) fn operators_stay(&self) -> Result<(), Refusal> {
        if self.moving.is_empty() { Ok(()) } else { Err(Refusal::Unavailable) }
    }

    /// An operator or a member more or less.
    pub(crate) fn operators_change(
        &mut self,
        stated: Stated,
        act: Act,
    ) -> Result<Option<String>, Refusal> {
        let (act, facts) = match act {
            Act::OperatorAdd { name, key, recipient } => {
                self.may_add(&name, &key)?;
                let facts = vec![("name", name), ("operator_key", key), ("recipient", recipient)];
                ("operator-add", facts)
            }
            Act::OperatorRemove { name } => {
                self.known_operator(&name)?;
                if self.state.operators.len() <= 1 {
                    let message = "the last operator stays: add another one first".to_owned();
                    return Err(Refusal::Conflict { message });
                }
                ("operator-remove", vec![("name", name)])
            }
            Act::GroupAdd { group, name } => {
                self.known_operator(&name)?;
                self.may_join(&group, &name)?;
                ("group-add", vec![("group", group), ("name", name)])
            }
            Act::GroupRemove { group, name } => {
                if !self.state.acts().operators().is_in(&group, &name) {
                    return Err(not_found(&format!("operator `{name}` in a group `{group}`")));
                }
                ("group-remove", vec![("group", group), ("name", name)])
            }
            _ => return Err(bad("this changes no operator")),
        };
        let call = self.random_call()?;
        let recorded = self.recorded(stated, act, facts, Some(call))?;
        self.moving.insert(call);
        Ok(recorded)
    }

    fn may_add(&self, name: &str, key: &str) -> Result<(), Refusal> {
        let key = unhex_array::<32>(key).ok_or_else(|| bad("`key`: 64 hexadecimal digits"))?;
        if !is_name(name) || self.state.operators.contains_key(name) {
            return Err(bad("`name`: taken, or no name"));
        }
        if self.state.operators.values().any(|operator| operator.key == key) {
            // two names of one person would be two votes
            return Err(bad("`key`: another operator's"));
        }
        if self.state.operators.len() >= OPERATORS_MAX {
            return Err(bad("256 operators are signed in; remove one"));
        }
        Ok(())
    }

    fn may_join(&self, group: &str, name: &str) -> Result<(), Refusal> {
        let operators = self.state.acts().operators();
        if !is_name(group) {
            return Err(bad("`group`: lower-case letters, digits and `-`, at most 32"));
        }
        if operators.is_in(group, name) {
            let message = format!("{name} is in {group} already");
            return Err(Refusal::Conflict { message });
        }
        let known = operators.groups().any(|(known, _)| known == group);
        if !known && operators.groups().count() >= GROUPS_MAX {
            return Err(bad("64 groups are there; empty one"));
        }
        Ok(())
    }

    fn known_operator(&self, name: &str) -> Result<(), Refusal> {
        let known = self.state.operators.contains_key(name);
        if known { Ok(()) } else { Err(not_found(&format!("operator `{name}`"))) }
    }
}
