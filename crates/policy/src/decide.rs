//! The plain interpreter: every rule of every layer is asked about every effect, and the most
//! restrictive answer counts. It is the specification of any engine that is faster.

use crate::answer::{Answer, Because, Call, Decided, Decision, Facts};
use crate::point::at_point;
use crate::region;
use crate::rule::Rule;
use crate::set::{Layer, Set};
use contract::effect::{Effect, Field, Form, Kind, Value};

/// Decides a call.
#[must_use]
pub fn decide(set: &Set, call: &Call<'_>, effects: &[Effect], facts: &Facts) -> Decision {
    over(effects, |effect| decide_effect(set, call, effect, facts))
}

/// The answer to a call, `decide` being the answer to each of its effects.
pub(crate) fn over(effects: &[Effect], decide: impl Fn(&Effect) -> Decided) -> Decision {
    let mut decided: Vec<Decided> = effects.iter().map(decide).collect();
    let together = effects.iter().any(|e| e.kind == Kind::Code)
        && effects.iter().any(|e| e.kind == Kind::Secret);
    if decided.is_empty() {
        decided.push(Decided { answer: Answer::Blocked, because: vec![Because::NoEffect] });
    } else if together {
        // code never comes together with a secret, whatever rules say
        decided.push(Decided { answer: Answer::Blocked, because: vec![Because::CouldNotDecide] });
    }
    let answer = decided.iter().map(|one| one.answer).max().unwrap_or(Answer::Blocked);
    Decision { answer, effects: decided }
}

pub(crate) fn decide_effect(set: &Set, call: &Call<'_>, effect: &Effect, facts: &Facts) -> Decided {
    let speaking: Vec<(&Layer, Vec<&Rule>)> = set
        .layers_for(call.agent)
        .map(|layer| {
            (layer, layer.rules.iter().filter(|r| r.speaks_of(call, effect.kind)).collect())
        })
        .collect();
    match (effect.form, effect.get(Field::Path)) {
        (Form::Region, Some(Value::Path(root))) => region::worst(root, &speaking, effect, facts)
            .unwrap_or_else(|| Decided {
                answer: Answer::Blocked,
                because: vec![Because::CouldNotDecide],
            }),
        (Form::Region, _) => {
            Decided { answer: Answer::Blocked, because: vec![Because::CouldNotDecide] }
        }
        _ => at_point(&speaking, facts, |rule| {
            rule.conditions
                .0
                .iter()
                .all(|(field, test)| effect.get(*field).is_some_and(|value| test.holds(value)))
        }),
    }
}
