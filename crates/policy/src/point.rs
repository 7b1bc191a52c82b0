//! The answer where it is known which rules' conditions hold.

use crate::answer::{Answer, Because, Decided, Facts};
use crate::rule::Rule;
use crate::set::Layer;

/// The answer where `holds` says which rules' conditions hold.
pub(crate) fn at_point(
    speaking: &[(&Layer, Vec<&Rule>)],
    facts: &Facts,
    holds: impl Fn(&Rule) -> bool,
) -> Decided {
    let mut worst = Decided { answer: Answer::Autonomous, because: Vec::new() };
    let mut add = |answer: Answer, because: Because| {
        if answer > worst.answer {
            worst = Decided { answer, because: vec![because] };
        } else if answer == worst.answer {
            worst.because.push(because);
        }
    };
    for (layer, rules) in speaking {
        let mut matched = false;
        for rule in rules.iter().filter(|rule| holds(rule)) {
            matched = true;
            let key = (layer.kind.clone(), rule.name.clone());
            let exhausted = rule.limits.is_some() && facts.exhausted.contains(&key);
            let over = || rule.limits.as_ref().and_then(|l| l.over).unwrap_or(Answer::Blocked);
            let answer = if exhausted { over() } else { rule.decision };
            let (name, reason) = (rule.name.clone(), rule.reason.clone());
            add(answer, Because::Rule { layer: layer.kind.clone(), name, reason, exhausted });
        }
        if let Some(otherwise) = layer.otherwise.filter(|_| !matched) {
            add(otherwise, Because::Otherwise);
        }
    }
    worst
}
