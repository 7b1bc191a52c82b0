//! Changes of a rule: one that nearly spoke takes in what was asked about; one that spoke leaves it out, or
//! answers something else.

use super::{Asked, Change, What, misfits, region, wants};
use crate::answer::{Answer, CapabilityName, Decision};
use crate::decide::decide;
use crate::glob::Glob;
use crate::rule::{AgentPattern, Rule};
use crate::set::{Layer, Set};
use crate::test::{Network, Test};
use contract::effect::{Effect, Field, Type, Value};

/// Most points of a region that one rule takes in: each leaves out some more of what it refused.
const POINTS_MAX: usize = 16;
/// Most rules that are tried, each by deciding the call again.
const RULES_MAX: usize = 500;
/// Kinds of change, the smaller first.
const TAKES_IN: u64 = 0;
const LEAVES_OUT: u64 = 1;
const ANSWERS: u64 = 2;

/// Changes of one rule under which an effect gets another answer.
pub(super) fn changes(asked: &Asked<'_>, now: &Decision, number: usize) -> Vec<Change> {
    let Some(effect) = asked.effects.get(number) else { return Vec::new() };
    let Some(point) = region::point(asked, effect) else { return Vec::new() };
    let try_rule = TryRule { asked, now, number };
    let mut found = Vec::new();
    for (layer, rule, what) in asked.near(&point).into_iter().take(RULES_MAX) {
        found.extend(try_rule.takes_in(layer, rule, what, point.clone()));
    }
    let answer = now.effects.get(number).map(|decided| decided.answer);
    let mut speaking = asked.rules(&point);
    speaking.retain(|(_, rule)| misfits(rule, asked.call, &point).is_empty());
    for (layer, rule) in speaking.into_iter().take(RULES_MAX) {
        if let Some((what, other)) = left_out(rule, &point) {
            found.extend(try_rule.with(layer, rule, other, what, LEAVES_OUT));
        }
        for decision in [Answer::Autonomous, Answer::Notify, Answer::Approval, Answer::Blocked] {
            if Some(decision) != answer {
                let other = Rule { decision, ..rule.clone() };
                found.extend(try_rule.with(layer, rule, other, What::Decision, ANSWERS));
            }
        }
    }
    found
}

struct TryRule<'a> {
    asked: &'a Asked<'a>,
    now: &'a Decision,
    number: usize,
}

impl TryRule<'_> {
    /// A rule that takes in what one thing kept it from; of a region, point by point.
    fn takes_in(
        &self,
        layer: &Layer,
        rule: &Rule,
        what: What,
        mut point: Effect,
    ) -> Option<Change> {
        let asked = self.asked;
        let mut other = rule.clone();
        for _ in 0..POINTS_MAX {
            take_in(&mut other, asked, &point, what)?;
            let found = self.with(layer, rule, other.clone(), what, TAKES_IN);
            if found.is_some() {
                return found;
            }
            let set = replaced(asked.set, layer, rule, other.clone())?;
            let effect = asked.effects.get(self.number)?;
            let next = region::point(&Asked { set: &set, ..*asked }, effect)?;
            if next == point || misfits(&other, asked.call, &next) != [what] {
                return None;
            }
            point = next;
        }
        None
    }

    /// The change from one rule to another, if it is one.
    fn with(
        &self,
        layer: &Layer,
        rule: &Rule,
        other: Rule,
        what: What,
        size: u64,
    ) -> Option<Change> {
        let Asked { set, call, effects, facts } = *self.asked;
        let (from, to) = (wants(rule, what), wants(&other, what));
        let to = if to.is_empty() { "anything".to_owned() } else { to };
        let set = replaced(set, layer, rule, other)?;
        let then = decide(&set, call, effects, facts);
        let size = (size, super::distance(&from, &to));
        let rule = Some((layer.kind.clone(), rule.name.clone()));
        let (effect, answer) = (self.number, then.answer);
        let change = Change {
            effect,
            rule,
            what,
            from,
            to,
            effect_answer: answer,
            call_answer: answer,
            size,
        };
        self.asked.confirmed(self.now, &then, change)
    }
}

/// The set with another rule in the place of one.
fn replaced(set: &Set, layer: &Layer, rule: &Rule, other: Rule) -> Option<Set> {
    let mut layers: Vec<Layer> = set.layers().cloned().collect();
    let of = layers.iter_mut().find(|of| of.kind == layer.kind)?;
    let place = of.rules.iter_mut().find(|of| of.name == rule.name)?;
    *place = other;
    let granting = layers.remove(0);
    Set::new(granting, layers).ok()
}

/// Widens one thing of a rule by what was asked about; nothing where a rule cannot say it.
fn take_in(rule: &mut Rule, asked: &Asked<'_>, point: &Effect, what: What) -> Option<()> {
    match what {
        What::Agent => rule.agents.insert(0, AgentPattern::exactly(asked.call.agent)?),
        What::Capability => {
            let name = format!("{}@{}", asked.call.capability, asked.call.version);
            rule.capabilities.as_mut()?.insert(0, CapabilityName::read(&name)?);
        }
        What::Field(field) => {
            let value = point.get(field)?;
            let at = rule.conditions.0.iter().position(|(of, _)| *of == field)?;
            let (_, test) = rule.conditions.0.get(at)?;
            match wider(test, field, value)? {
                Some(test) => rule.conditions.0.get_mut(at)?.1 = test,
                None => {
                    rule.conditions.0.remove(at);
                }
            }
        }
        What::Decision => return None,
    }
    Some(())
}

/// A rule that leaves out the value of the first of an effect's fields that a rule can name.
fn left_out(rule: &Rule, point: &Effect) -> Option<(What, Rule)> {
    let of = |field: &&Field| point.get(**field).and_then(|value| exactly(**field, value));
    let field = point.kind.fields().iter().find(|field| of(field).is_some())?;
    let not = of(&field)?;
    let mut other = rule.clone();
    match other.conditions.0.iter_mut().find(|(of, _)| of == field) {
        Some((_, test)) => *test = without(test, not)?,
        None => other.conditions.0.push((*field, Test::Not(Box::new(not)))),
    }
    Some((What::Field(*field), other))
}

/// The test that what passes another one does not pass; `None` where no rule can say it: it has one `not`.
fn without(test: &Test, not: Test) -> Option<Test> {
    let is_not = |test: &Test| matches!(test, Test::Not(_));
    match test {
        Test::Not(old) => Some(Test::Not(Box::new(either(old, not)?))),
        Test::All(tests) if tests.iter().any(is_not) => {
            let each = tests.iter().map(|test| match test {
                Test::Not(_) => without(test, not.clone()),
                test => Some(test.clone()),
            });
            Some(Test::All(each.collect::<Option<_>>()?))
        }
        Test::All(tests) => Some(Test::All(joined(&[Test::Not(Box::new(not))], tests.clone()))),
        test => Some(Test::All(vec![test.clone(), Test::Not(Box::new(not))])),
    }
}

/// The test that what passes one of two passes, if one list can say it.
fn either(old: &Test, new: Test) -> Option<Test> {
    let are_single = |ranges: &[(u64, u64)]| ranges.iter().all(|(low, high)| low == high);
    match (old, new) {
        (Test::OneOf(old), Test::OneOf(new)) => Some(Test::OneOf(joined(old, new))),
        (Test::Hosts(old), Test::Hosts(new)) => Some(Test::Hosts(joined(old, new))),
        (Test::Networks(old), Test::Networks(new)) => Some(Test::Networks(joined(old, new))),
        (Test::Numbers(old), Test::Numbers(new)) if are_single(old) => {
            Some(Test::Numbers(joined(old, new)))
        }
        _ => None,
    }
}

/// The test that one value alone passes.
fn exactly(field: Field, value: &Value) -> Option<Test> {
    let glob = |text: &str| (!text.contains('*')).then(|| Test::OneOf(vec![Glob::segments(text)]));
    match (field.ty(), value) {
        (Type::Path, Value::Path(path)) => glob(path.as_str()),
        (Type::Text, Value::Text(text)) => glob(text),
        (Type::Host, Value::Text(host)) => Some(Test::Hosts(vec![host.clone()])),
        (Type::Number, Value::Number(number)) => Some(Test::Numbers(vec![(*number, *number)])),
        (Type::Address, Value::Text(address)) => {
            Some(Test::Networks(vec![Network::read(address)?]))
        }
        _ => None,
    }
}

/// The test that a value passes too. `None` where no rule can say it, `Some(None)` where every value would pass.
#[expect(clippy::option_option, reason = "two different answers, said above")]
fn wider(test: &Test, field: Field, value: &Value) -> Option<Option<Test>> {
    if test.holds(value) {
        return Some(Some(test.clone()));
    }
    match (test, exactly(field, value)?) {
        (Test::OneOf(old), Test::OneOf(new)) => Some(Some(Test::OneOf(joined(old, new)))),
        (Test::Hosts(old), Test::Hosts(new)) => Some(Some(Test::Hosts(joined(old, new)))),
        (Test::Networks(old), Test::Networks(new)) => Some(Some(Test::Networks(joined(old, new)))),
        (Test::Numbers(old), Test::Numbers(new)) => Some(Some(Test::Numbers(stretched(old, &new)))),
        (Test::Under(old), _) => {
            let Value::Path(path) = value else { return None };
            Some(Some(Test::Under(joined(old, vec![path.clone()]))))
        }
        (Test::All(tests), _) => {
            let mut all = Vec::new();
            for test in tests {
                all.extend(wider(test, field, value)?);
            }
            Some((!all.is_empty()).then_some(Test::All(all)))
        }
        (Test::Not(test), _) => Some(narrower(test, value)?.map(|test| Test::Not(Box::new(test)))),
        _ => None,
    }
}

/// The test without those of its alternatives that a value passes; `Some(None)` where none is left.
#[expect(clippy::option_option, reason = "as of a wider one")]
fn narrower(test: &Test, value: &Value) -> Option<Option<Test>> {
    fn left<T: Clone>(all: &[T], passes: impl Fn(&T) -> bool) -> Option<Vec<T>> {
        let left: Vec<T> = all.iter().filter(|one| !passes(one)).cloned().collect();
        (!left.is_empty()).then_some(left)
    }
    let one = |test: Test| test.holds(value);
    Some(match test {
        Test::OneOf(all) => left(all, |glob| one(Test::OneOf(vec![glob.clone()]))).map(Test::OneOf),
        Test::Hosts(all) => left(all, |host| one(Test::Hosts(vec![host.clone()]))).map(Test::Hosts),
        Test::Under(all) => left(all, |root| one(Test::Under(vec![root.clone()]))).map(Test::Under),
        Test::Networks(all) => {
            left(all, |network| one(Test::Networks(vec![*network]))).map(Test::Networks)
        }
        Test::Numbers(all) => {
            left(all, |range| one(Test::Numbers(vec![*range]))).map(Test::Numbers)
        }
        Test::All(_) | Test::Not(_) => return None,
    })
}

/// What is new comes first: of long lists only the first are shown.
fn joined<T: Clone>(old: &[T], new: Vec<T>) -> Vec<T> {
    new.into_iter().chain(old.iter().cloned()).collect()
}

/// Intervals with a number beside them: one interval grows, of more one is added.
fn stretched(old: &[(u64, u64)], new: &[(u64, u64)]) -> Vec<(u64, u64)> {
    match (old, new) {
        ([(low, high)], [(number, _)]) if low < high => {
            vec![((*low).min(*number), (*high).max(*number))]
        }
        _ => joined(old, new.to_vec()),
    }
}
