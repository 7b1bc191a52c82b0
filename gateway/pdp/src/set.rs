//! The policy in force, and the one that decides operators' own acts.

use hours::{Hours, ZoneError};
use ledger::Digest;
use policy::{
    Answer, Compiled, Counterexample, Layer, LayerKind, ParseError, Property, QuestionError, Set,
    SetError, TooManyStates, Verdict,
};

/// The limits of the verified image, and the policy that it offers at the first boot.
const SYSTEM: &str = "/usr/lib/kruxos/policies/system.yaml";
/// What holds of every set.
const INVARIANTS: &str = "/usr/lib/kruxos/policies/invariants.yaml";
const PERSONAL: &str = "/usr/lib/kruxos/policies/personal.yaml";
/// What the box tells by itself, to receivers that operators added: all that decides it, and a part of this program.
const WEBHOOKS: &str = include_str!("../../../policies/webhooks.yaml");

/// Why a text is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    #[error("{0}: {1}")]
    File(&'static str, std::io::Error),
    #[error("{0}")]
    Parse(#[from] ParseError),
    #[error("{0}")]
    Set(#[from] SetError),
    #[error("{0}")]
    TooMany(#[from] TooManyStates),
    #[error("{0}")]
    Question(#[from] QuestionError),
    #[error("{0}")]
    Zone(#[from] ZoneError),
    #[error("the invariant `{0}` would not hold: {1}")]
    Invariant(String, Box<Counterexample>),
    #[error("the invariant `{0}` cannot be read by this version; remove it")]
    Unreadable(String),
    #[error("the invariants were not proved within {0} s; have fewer of them, or fewer patterns")]
    TooLong(u64),
}

/// A set, its text and the text's digest.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) set: Compiled,
    /// The zones of its windows of time.
    pub(crate) hours: Hours,
    pub(crate) text: String,
    pub(crate) digest: Digest,
}

/// What the verified image says: the limits above every set, and the text to begin with.
#[derive(Debug)]
pub(crate) struct Shipped {
    system: Layer,
    /// The invariants.
    invariants: Vec<Property>,
    /// Those that the limits alone do not give to every set.
    open: Vec<Property>,
    personal: String,
    /// The system's limits alone: for operators' own acts and for the principal `boot`.
    pub(crate) operators: Compiled,
    /// What the box tells by itself.
    pub(crate) webhooks: Compiled,
}

impl Shipped {
    /// Reads all of it.
    pub(crate) fn read() -> Result<Self, NotTaken> {
        let text =
            |path| std::fs::read_to_string(path).map_err(|error| NotTaken::File(path, error));
        Self::of(&text(SYSTEM)?, &text(INVARIANTS)?, text(PERSONAL)?)
    }

    pub(crate) fn of(system: &str, invariants: &str, personal: String) -> Result<Self, NotTaken> {
        let system = policy::parse(system)?;
        let otherwise = Some(Answer::Autonomous);
        let granting = Layer { kind: LayerKind::Box, version: 1, otherwise, rules: Vec::new() };
        let limits = Set::new(granting, vec![system.clone()])?;
        let mut open = Vec::new();
        let invariants = policy::parse_properties(invariants)?;
        for property in &invariants {
            let given = policy::prove(&limits, property)? == Verdict::Holds;
            if !(given && property.survives_tightening()) {
                open.push(property.clone());
            }
        }
        let operators = Compiled::new(limits)?;
        let webhooks = Compiled::new(Set::new(policy::parse(WEBHOOKS)?, Vec::new())?)?;
        Ok(Self { system, invariants, open, personal, operators, webhooks })
    }

    /// The invariants that the image ships.
    pub(crate) fn invariants(&self) -> &[Property] {
        &self.invariants
    }

    /// The text that a box begins with.
    pub(crate) fn personal(&self) -> &str {
        &self.personal
    }

    /// The set that a box begins with.
    pub(crate) fn first(&self) -> Result<Applied, NotTaken> {
        self.apply(&self.personal)
    }

    /// The set with `text` as its granting layer, if it has every invariant that ships.
    pub(crate) fn apply(&self, text: &str) -> Result<Applied, NotTaken> {
        let set = Set::new(policy::parse(text)?, vec![self.system.clone()])?;
        for property in &self.open {
            has(&set, property)?;
        }
        let (hours, set) = (Hours::of(&set)?, Compiled::new(set)?);
        Ok(Applied { set, hours, text: text.to_owned(), digest: Digest::of(text.as_bytes()) })
    }
}

impl Applied {
    /// Whether it has a property.
    pub(crate) fn has(&self, property: &Property) -> Result<(), NotTaken> {
        has(self.set.set(), property)
    }
}

fn has(set: &Set, property: &Property) -> Result<(), NotTaken> {
    match policy::prove(set, property)? {
        Verdict::Holds => Ok(()),
        Verdict::Fails(call) => Err(NotTaken::Invariant(property.name.clone(), call)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: [&str; 3] = [
        include_str!("../../../policies/system.yaml"),
        include_str!("../../../policies/invariants.yaml"),
        include_str!("../../../policies/personal.yaml"),
    ];

    #[test]
    fn a_receiver_may_be_in_the_neighbourhood_and_nowhere_else_that_is_special() {
        use contract::effect::{Effect, Field, Form, Kind, Value};
        use policy::{Call, Facts};
        let [system, invariants, personal] = SHIPPED;
        let shipped = Shipped::of(system, invariants, personal.to_owned()).unwrap();
        let host = (Field::Host, Value::Text("hooks.example".to_owned()));
        let effects = [Effect::new(Kind::Connect, Form::Exact, [host]).unwrap()];
        let (set, facts) = (&shipped.webhooks, Facts::default());
        let reach = |agent, capability| {
            let call = Call { agent, capability, version: 1 };
            let decision = set.decide(&call, &effects, &facts);
            set.reach(&call, &effects, &facts, &decision, true)
        };
        let leads = reach("box", "network.webhook").unwrap();
        let to = |text: &str| leads.iter().any(|range| range.contains(text.parse().unwrap()));
        for text in
            ["203.0.113.7", "10.1.2.3", "192.168.1.1", "172.31.0.1", "fd00::1", "2001:db8::1"]
        {
            assert!(to(text), "{text}");
        }
        for text in
            ["169.254.169.254", "127.0.0.1", "100.64.0.1", "::1", "fe80::1", "64:ff9b::a00:1"]
        {
            assert!(!to(text), "{text}");
        }
        assert!(reach("a", "network.webhook").is_err(), "of another principal");
        assert!(reach("box", "network.http_request").is_err(), "of another capability");
    }

    #[test]
    fn a_policy_that_breaks_an_invariant_is_refused_with_a_call() {
        let [system, invariants, personal] = SHIPPED;
        let code = "policy: box\nversion: 1\nrules:\n  - { name: code, agents: [builder], effects: \
                    [code], decision: autonomous }\n";
        let shipped = Shipped::of(system, invariants, personal.to_owned()).unwrap();
        assert!(shipped.first().is_ok() && shipped.apply(code).is_ok(), "the limits see to it");
        assert!(shipped.open.is_empty(), "once for every text");
        let (before, after) = system.split_once("  - name: code-asks\n").unwrap();
        let rest = after.split_once("  - name: ").unwrap().1;
        let without = format!("{before}  - name: {rest}");
        let shipped = Shipped::of(&without, invariants, personal.to_owned()).unwrap();
        assert!(shipped.first().is_ok(), "it says so itself");
        let open: Vec<&str> = shipped.open.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(open, ["code-asks", "files-are-its-own"], "what code does counts as files");
        let refused = shipped.apply(code).unwrap_err().to_string();
        for part in ["code-asks", "builder calls", "runs code that the agent wrote"] {
            assert!(refused.contains(part), "no `{part}` in {refused}");
        }
    }
}
