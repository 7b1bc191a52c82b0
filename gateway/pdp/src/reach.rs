//! Where the names may lead that a call connects to, as far as a service performs it: what it sends, it sends
//! over the box's own network, to addresses that nobody knew when the call was decided. A cage's own network is
//! cut to its effects by the forker.

use crate::refusal::Refusal;
use capabilities::{Declaration, Performer};
use contract::perform::{AddressRange, CallId};
use ledger::writer::Draft;
use policy::{Answer, Call, Compiled, Decision, Facts, NoReach};

/// The fact that says why a call was blocked that rules let through.
const FACT: &str = "unreachable";

/// Where a call may lead, or why nowhere.
pub(crate) type Reach = Result<Vec<AddressRange>, NoReach>;

/// Whether a call of this is one whose names may lead somewhere.
pub(crate) const fn is_asked(declaration: &Declaration) -> bool {
    matches!(declaration.performer, Performer::Service(_))
}

/// What lets a call through, and where to. A grant that leaves it no address is none: a person may say yes to more.
/// Without an address the call is blocked.
pub(crate) fn through(
    set: &Compiled,
    (call, facts): (&Call<'_>, &Facts),
    effects: &[contract::effect::Effect],
    decision: &mut Decision,
    grant: Option<CallId>,
) -> (Option<CallId>, Reach) {
    if decision.answer == Answer::Blocked {
        return (None, Ok(Vec::new()));
    }
    let reach = |granted| set.reach(call, effects, facts, decision, granted);
    let (grant, reach) = match (grant, reach(grant.is_some())) {
        (Some(_), Err(_)) => (None, reach(false)),
        found => found,
    };
    if reach.is_err() {
        decision.answer = Answer::Blocked;
    }
    (grant, reach)
}

/// Says in a record why a call reaches nothing.
pub(crate) fn explain(draft: &mut Draft, reach: &Reach) {
    draft.facts.extend(reach.as_ref().err().map(|why| (FACT.to_owned(), why.to_string())));
}

/// What a caller is told of a blocked call, and the word for it in the record.
pub(crate) fn refusal(
    call: CallId,
    (decision, held): (&Decision, bool),
    reach: &Reach,
) -> (&'static str, Refusal) {
    match reach {
        Err(why) => ("unreachable", Refusal::Unreachable { call, message: why.to_string() }),
        Ok(_) if held => ("held", Refusal::denied(call, decision, held)),
        Ok(_) => ("denied", Refusal::denied(call, decision, held)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::effect::{Effect, Field, Form, Kind, Value};
    use policy::Set;

    const CALL: Call<'_> = Call { agent: "a", capability: "network.http_request", version: 1 };

    fn engine(rules: &str) -> Compiled {
        let text = format!("policy: box\nversion: 1\nrules:\n{rules}");
        let system = policy::parse(include_str!("../../../policies/system.yaml")).unwrap();
        Compiled::new(Set::new(policy::parse(&text).unwrap(), vec![system]).unwrap()).unwrap()
    }

    fn by(rules: &str, grant: Option<CallId>) -> (Answer, Option<CallId>, Reach) {
        let host = (Field::Host, Value::Text("x.example".to_owned()));
        let effects = [Effect::new(Kind::Connect, Form::Exact, [host]).unwrap()];
        let (set, facts) = (engine(rules), Facts::default());
        let mut decision = set.decide(&CALL, &effects, &facts);
        let (grant, reach) = through(&set, (&CALL, &facts), &effects, &mut decision, grant);
        (decision.answer, grant, reach)
    }

    const ASKS: &str = "  - { name: asks, agents: [any], effects: [connect], decision: approval, approval: { \
                        grants: bounded } }\n";
    const NOWHERE: &str = "  - { name: nowhere, agents: [any], effects: [connect], where: { address: [0.0.0.0/0, \
                           \"::/0\"] }, decision: blocked }\n";

    #[test]
    fn a_call_whose_name_may_lead_nowhere_is_blocked_and_says_why() {
        let (answer, _, reach) =
            by(&ASKS.replace("approval, approval: { grants: bounded }", "notify"), None);
        assert!(answer == Answer::Notify && reach.is_ok_and(|it| !it.is_empty()), "a control");
        let (answer, grant, reach) = by(&format!("{ASKS}{NOWHERE}"), Some([1; 16]));
        assert!(answer == Answer::Blocked && grant.is_none());
        let (why, refusal) =
            refusal([2; 16], (&Decision { answer, effects: Vec::new() }, false), &reach);
        assert_eq!((why, refusal.code()), ("unreachable", "unreachable"));
        assert!(refusal.message().contains("box/nowhere"), "{}", refusal.message());
        let mut draft = Draft::new(ledger::Kind::Decision, &[]);
        explain(&mut draft, &reach);
        assert_eq!(draft.facts.get(FACT), Some(&refusal.message()));
        explain(&mut Draft::new(ledger::Kind::Decision, &[]), &Ok(Vec::new()));
    }

    #[test]
    fn a_grant_that_leaves_no_address_leaves_the_question_to_a_person() {
        let (answer, grant, reach) = by(ASKS, Some([1; 16]));
        assert!(answer == Answer::Approval && grant.is_some() && reach.is_ok(), "a control");
        let only_private = "  - { name: outside, agents: [any], effects: [connect], where: { address: { not: 10.0.0.0/8 \
                            } }, decision: blocked }\n  - { name: inside, agents: [any], effects: [connect], where: { \
                            address: 10.0.0.0/8 }, decision: notify }\n";
        let (answer, grant, reach) = by(&format!("{ASKS}{only_private}"), Some([1; 16]));
        assert!(
            answer == Answer::Approval && grant.is_none(),
            "the system's limits say no `grants: bounded`"
        );
        let [ten] = ["10.1.2.3"].map(|text| text.parse().unwrap());
        assert!(reach.unwrap().iter().all(|range| range.contains(ten)));
    }
}
