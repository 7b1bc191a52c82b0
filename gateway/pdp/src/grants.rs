//! Grants: standing answers to what a policy asks a person for. One is signed by an operator, made from a
//! call that waits, bounded in what it covers, how often and for how long, and over with the boot. It is no
//! rule: what is blocked stays blocked, and what its rules say is never granted is asked for each time. With
//! another policy all of them are over: they were answers to what the one before asked.

use capabilities::{Declaration, Risk};
use contract::digits::{hex, unhex_array};
use contract::effect::{Effect, Kind};
use contract::perform::CallId;
use ledger::Envelope;
use policy::{Answer, Because, Call, Decision, Facts, Grants as May, Set, decide};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most grants at once.
pub(crate) const GRANTS_MAX: usize = 64;
/// Most calls that one lets through.
pub(crate) const CALLS_MAX: u32 = 1_000;
/// Longest that one lasts: a day.
pub(crate) const SECONDS_MAX: u64 = 86_400;
/// Longest text of a scope.
const SCOPE_BYTES_MAX: usize = 4 << 10;
const SECOND_US: u64 = 1_000_000;

/// A call for which a person would be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) agent: &'a str,
    pub(crate) declaration: &'static Declaration,
    pub(crate) effects: &'a [Effect],
}

/// What effects a grant covers.
#[derive(Debug, Clone)]
enum Scope {
    /// Those that were asked for, and no other.
    Exact(Vec<Effect>),
    /// Those of which this set says so: one rule, and everything else blocked. A region is covered if
    /// every point of it is.
    Region(Box<Set>),
}

/// A grant.
#[derive(Debug, Clone)]
struct Grant {
    agent: String,
    capability: String,
    scope: Scope,
    /// The scope as it was signed; none for exactly what was asked.
    text: Option<String>,
    calls: u32,
    /// Calls that it let through, as the ledger has them.
    used: BTreeSet<CallId>,
    until_us: u64,
    operator: String,
}

/// Those of this boot.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    all: BTreeMap<CallId, Grant>,
    /// Calls that one let through and whose record is on its way.
    expected: BTreeMap<CallId, CallId>,
}

impl Grants {
    /// Takes the record of one that was made.
    pub(crate) fn made(&mut self, record: &Envelope) {
        let fact = |name: &str| record.facts.get(name).cloned().unwrap_or_default();
        let text = record.facts.get("scope").cloned();
        let scope = match text.as_deref() {
            // of what was there it says nothing: it is for calls that nobody is shown
            None => Some(Scope::Exact(record.effects.iter().map(Effect::bare).collect())),
            Some(text) => {
                region(text, &record.effects).ok().map(|set| Scope::Region(Box::new(set)))
            }
        };
        // what cannot be read covers nothing
        let (Some(id), Some(scope)) = (record.call, scope) else { return };
        let seconds = fact("seconds").parse().unwrap_or(0).min(SECONDS_MAX);
        let grant = Grant {
            agent: fact("agent"),
            capability: fact("capability"),
            scope,
            text,
            calls: fact("calls").parse().unwrap_or(0).min(CALLS_MAX),
            used: BTreeSet::new(),
            until_us: record.boot_us.saturating_add(seconds.saturating_mul(SECOND_US)),
            operator: fact("operator"),
        };
        self.all.retain(|_, grant| record.boot_us < grant.until_us);
        self.all.insert(id, grant);
    }

    /// One is taken back.
    pub(crate) fn revoked(&mut self, grant: &str) {
        if let Some(id) = unhex_array(grant) {
            self.all.remove(&id);
        }
    }

    /// Another policy is in force.
    pub(crate) fn end(&mut self) {
        self.all.clear();
    }

    /// A call was let through, and its record is on its way.
    pub(crate) fn expect(&mut self, call: CallId, grant: CallId) {
        self.expected.insert(call, grant);
    }

    /// Its record is there, and names the grant; or it was not made.
    pub(crate) fn settle(&mut self, call: CallId, grant: Option<&str>) {
        self.expected.remove(&call);
        let grant = grant.and_then(unhex_array);
        if let Some(grant) = grant.and_then(|id: CallId| self.all.get_mut(&id)) {
            grant.used.insert(call);
        }
    }

    /// No record that is not here will be.
    pub(crate) fn forget_unrecorded(&mut self) {
        self.expected.clear();
    }

    /// How many are in force.
    pub(crate) fn count(&self, now_us: u64) -> usize {
        self.all.values().filter(|grant| now_us < grant.until_us).count()
    }

    /// Whether there is one of this number.
    pub(crate) fn has(&self, grant: &str) -> bool {
        unhex_array(grant).is_some_and(|id: CallId| self.all.contains_key(&id))
    }

    /// Those in force, with what is left of each.
    pub(crate) fn list(&self, now_us: u64) -> Vec<Json> {
        let live = self.all.iter().filter(|(_, grant)| now_us < grant.until_us);
        let one = |(id, grant): (&CallId, &Grant)| {
            let effects: Vec<String> = match &grant.scope {
                Scope::Exact(effects) => effects.iter().map(ToString::to_string).collect(),
                Scope::Region(_) => Vec::new(),
            };
            json!({ "grant": hex(id), "agent": grant.agent, "capability": grant.capability,
                "scope": grant.text, "effects": effects, "calls": grant.calls,
                "left": self.left(id, grant), "operator": grant.operator,
                "seconds_left": grant.until_us.saturating_sub(now_us) / SECOND_US })
        };
        live.map(one).collect()
    }

    fn left(&self, id: &CallId, grant: &Grant) -> usize {
        let expected = self.expected.values().filter(|of| *of == id).count();
        let calls = usize::try_from(grant.calls).unwrap_or(usize::MAX);
        calls.saturating_sub(grant.used.len()).saturating_sub(expected)
    }

    /// The grant that lets a call through for which a person would be asked: it covers every effect that
    /// asks, and no rule forbids it.
    pub(crate) fn covering(
        &self,
        set: &Set,
        asked: &Question<'_>,
        decision: &Decision,
        now_us: u64,
    ) -> Option<CallId> {
        let asks = decision.answer == Answer::Approval && !self.all.is_empty();
        if !asks || never(set, asked, decision).is_some() {
            return None;
        }
        let id = asked.declaration.id();
        let of_call = |grant: &Grant| {
            grant.agent == asked.agent && grant.capability == id && now_us < grant.until_us
        };
        let grants = self.all.iter().filter(|(id, grant)| {
            of_call(grant) && self.left(id, grant) > 0 && grant.covers(asked, decision)
        });
        grants.map(|(id, _)| *id).next()
    }
}

impl Grant {
    fn covers(&self, asked: &Question<'_>, decision: &Decision) -> bool {
        let (capability, version) = (asked.declaration.name, asked.declaration.version);
        let call = Call { agent: asked.agent, capability, version };
        asked_for(asked.effects, decision).all(|effect| match &self.scope {
            Scope::Exact(effects) => effects.contains(effect),
            Scope::Region(set) => {
                let one = std::slice::from_ref(effect);
                decide(set, &call, one, &Facts::default()).answer == Answer::Autonomous
            }
        })
    }
}

/// The effects that a person is asked for.
pub(crate) fn asked_for<'a>(
    effects: &'a [Effect],
    decision: &'a Decision,
) -> impl Iterator<Item = &'a Effect> {
    let asked = effects.iter().zip(&decision.effects);
    asked.filter(|(_, decided)| decided.answer == Answer::Approval).map(|(effect, _)| effect)
}

/// The set of a scope: what must hold of effects of these kinds, a JSON object in the policy's own
/// grammar.
pub(crate) fn region(text: &str, effects: &[Effect]) -> Result<Set, String> {
    if text.len() > SCOPE_BYTES_MAX {
        return Err(format!("longer than {SCOPE_BYTES_MAX} bytes"));
    }
    let scope: Json = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if scope.as_object().is_none_or(serde_json::Map::is_empty) {
        return Err("it must say something of a field".to_owned());
    }
    let kinds: BTreeSet<Kind> = effects.iter().map(|effect| effect.kind).collect();
    let rule = json!({ "name": "granted", "agents": ["any"], "effects": kinds, "where": scope,
        "decision": Answer::Autonomous });
    // JSON is YAML
    let layer = json!({ "policy": "box", "version": 1, "rules": [rule] }).to_string();
    let layer = policy::parse(&layer).map_err(|error| error.message)?;
    Set::new(layer, Vec::new()).map_err(|error| error.to_string())
}

/// Why a call that a person is asked for can have no standing answer.
pub(crate) fn never(set: &Set, asked: &Question<'_>, decision: &Decision) -> Option<&'static str> {
    let has = |kind: Kind| asked.effects.iter().any(|effect| effect.kind == kind);
    let rules = set.speaking(asked.agent, decision);
    let bounded = |rule: &policy::Rule| {
        rule.approval.as_ref().is_some_and(|approval| approval.grants == Some(May::Bounded))
    };
    let worst = decision.effects.iter().filter(|decided| decided.answer == decision.answer);
    let mut because = worst.flat_map(|decided| &decided.because);
    let by_rules = because.all(|because| matches!(because, Because::Rule { .. }));
    if decision.answer != Answer::Approval {
        Some("nobody is asked for it any more")
    } else if asked.declaration.risk == Risk::R3 {
        Some("what cannot be undone is asked for each time")
    } else if asked.declaration.name == "secrets.read" {
        Some("a secret's value is asked for each time")
    } else if has(Kind::Code) && (has(Kind::Connect) || has(Kind::Secret)) {
        Some("code that connects or has a secret is asked for each time")
    } else if rules.iter().any(|(_, rule)| rule.approval.as_ref().is_some_and(|it| !it.is_one())) {
        Some("more than one person is asked for it each time")
    } else if !by_rules || rules.is_empty() || !rules.iter().all(|(_, rule)| bounded(rule)) {
        Some("a rule that asks does not say `grants: bounded`")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ledger::writer::Draft;

    const ASKS: &str = "policy: box\nversion: 1\nrules:\n  - { name: d, agents: [any], effects: [delete], \
                        decision: approval, approval: { grants: bounded } }\n  - { name: r, agents: \
                        [any], effects: [read, write], decision: autonomous }\n";

    fn set(text: &str) -> Set {
        Set::new(policy::parse(text).unwrap(), Vec::new()).unwrap()
    }

    /// A call with effects of its own.
    struct Asked {
        agent: &'static str,
        declaration: &'static Declaration,
        effects: Vec<Effect>,
    }

    impl Asked {
        fn question(&self) -> Question<'_> {
            Question { agent: self.agent, declaration: self.declaration, effects: &self.effects }
        }
    }

    fn asked(path: &str) -> Asked {
        of("filesystem.delete", &json!({ "path": path }))
    }

    fn of(capability: &str, input: &Json) -> Asked {
        let declaration = capabilities::find(capability).unwrap();
        let effects = declaration.lower(&declaration.accept(input).unwrap()).unwrap();
        Asked { agent: "a", declaration, effects }
    }

    fn decision(set: &Set, asked: &Asked) -> Decision {
        let (capability, version) = (asked.declaration.name, asked.declaration.version);
        let call = Call { agent: asked.agent, capability, version };
        decide(set, &call, &asked.effects, &Facts::default())
    }

    /// A grant of deleting `/workspace/t/x`, or of what `scope` says.
    fn grants(scope: Option<&str>, calls: &str) -> Grants {
        let facts = [
            ("agent", "a"),
            ("capability", "filesystem.delete@1"),
            ("calls", calls),
            ("seconds", "60"),
        ];
        let mut draft = Draft::new(ledger::Kind::Act, &facts);
        draft.facts.extend(scope.map(|text| ("scope".to_owned(), text.to_owned())));
        draft.call = Some([1; 16]);
        // what was there when a person was asked is no part of what is granted
        let seen = |effect: Effect| effect.expecting(contract::found::Found::Nothing);
        draft.effects = asked("t/x").effects.into_iter().map(seen).collect();
        let mut grants = Grants::default();
        grants.made(&draft.into_envelope([0; 16], 0, 0, BTreeMap::new()));
        grants
    }

    fn covers(grants: &Grants, asked: &Asked, now_us: u64) -> bool {
        let set = set(ASKS);
        grants.covering(&set, &asked.question(), &decision(&set, asked), now_us).is_some()
    }

    #[test]
    fn a_grant_covers_what_was_asked_or_its_region_and_nothing_else() {
        let exact = grants(None, "2");
        assert!(covers(&exact, &asked("t/x"), 0));
        assert!(!covers(&exact, &asked("t/y"), 0), "another path");
        let region = grants(Some(r#"{"path":{"under":"/workspace/t"}}"#), "2");
        assert!(covers(&region, &asked("t/y"), 0));
        assert!(!covers(&region, &asked("u/y"), 0), "beside it");
        let other = Asked { agent: "b", ..asked("t/x") };
        assert!(!covers(&exact, &other, 0), "another agent");
        let moved = of("filesystem.move", &json!({ "from": "t/x", "to": "t/z" }));
        assert!(!covers(&region, &moved, 0), "another capability");
        for unreadable in ["{}", "[]", "x", r#"{"host":"a.example"}"#] {
            assert!(!covers(&grants(Some(unreadable), "2"), &asked("t/x"), 0), "{unreadable}");
        }
    }

    #[test]
    fn a_grant_ends_by_count_and_by_time_and_counts_what_is_on_its_way() {
        let mut grants = grants(None, "2");
        let call = asked("t/x");
        assert!(
            covers(&grants, &call, 60 * SECOND_US - 1) && !covers(&grants, &call, 60 * SECOND_US)
        );
        let id = hex(&[1; 16]);
        grants.settle([2; 16], Some(&id));
        grants.settle([2; 16], Some(&id));
        assert!(covers(&grants, &call, 0), "one call counts once");
        grants.expect([3; 16], [1; 16]);
        assert!(!covers(&grants, &call, 0), "the second is on its way");
        grants.settle([3; 16], None);
        assert!(covers(&grants, &call, 0), "and was not recorded");
        grants.settle([4; 16], Some(&id));
        assert!(!covers(&grants, &call, 0));
        let mut revoked = self::grants(None, "2");
        revoked.revoked(&id);
        assert!(!covers(&revoked, &call, 0));
    }

    #[test]
    fn what_is_blocked_irreversible_or_never_granted_has_no_standing_answer() {
        let why = |text: &str, asked: &Asked| {
            let set = set(text);
            never(&set, &asked.question(), &decision(&set, asked))
        };
        assert_eq!(why(ASKS, &asked("t/x")), None);
        let blocked = ASKS.replace("approval, approval: { grants: bounded }", "blocked");
        assert!(why(&blocked, &asked("t/x")).is_some(), "blocked");
        assert!(why(&ASKS.replace("bounded", "never"), &asked("t/x")).is_some(), "never");
        assert!(why(&ASKS.replace("{ grants: bounded }", "{ votes: 1 }"), &asked("t/x")).is_some());
        for more in ["votes: 2", "of: managers"] {
            let asks = ASKS.replace("grants: bounded", more);
            assert_eq!(
                why(&asks, &asked("t/x")),
                Some("more than one person is asked for it each time"),
                "{more}"
            );
            // also where another rule would have one
            let both = format!(
                "{ASKS}  - {{ name: e, agents: [any], effects: [delete], decision: approval, approval: {{ \
                 {more} }} }}\n"
            );
            assert!(why(&both, &asked("t/x")).is_some(), "{more} beside another rule");
        }
        let two = format!(
            "{ASKS}  - {{ name: e, agents: [any], effects: [delete], decision: approval }}\n"
        );
        assert!(why(&two, &asked("t/x")).is_some(), "one of two rules does not say so");
        let otherwise = "policy: box\nversion: 1\notherwise: approval\nrules: []\n";
        assert!(why(otherwise, &asked("t/x")).is_some(), "no rule says so");
        let settings = "policy: box\nversion: 1\nrules:\n  - { name: s, agents: [any], effects: \
                        [setting], decision: approval, approval: { grants: bounded } }\n";
        let reboot = of("system.reboot", &json!({}));
        assert_eq!(reboot.declaration.risk, Risk::R3);
        assert!(why(settings, &reboot).is_some(), "R3");
        let code = "policy: box\nversion: 1\nrules:\n  - { name: c, agents: [any], effects: [code, \
                    connect], decision: approval, approval: { grants: bounded } }\n";
        let input = json!({ "command": ["python3", "a.py"], "expect": "00".repeat(32) });
        // as a capability of lower risk would lower it
        let milder = |asked: Asked| Asked { effects: asked.effects, ..self::asked("t/x") };
        assert_eq!(why(code, &milder(of("process.run_code", &input))), None);
        let mut connects = input;
        connects["connect"] = json!(["203.0.113.9:443"]);
        assert!(why(code, &milder(of("process.run_code", &connects))).is_some(), "it connects");
    }
}
