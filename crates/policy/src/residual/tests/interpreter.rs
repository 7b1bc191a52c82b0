//! The set against the plain interpreter, asked about addresses beside every bound, under random sets.

use super::*;
use crate::compiled::tests::Dice;
use crate::decide::decide_effect;

const NETWORKS: [&str; 12] = [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "0.0.0.0/0",
    "192.0.2.0/24",
    "192.0.2.128/25",
    "203.0.113.7",
    "255.255.255.255",
    "::/0",
    "2001:db8::/32",
    "fd00::/8",
    "64:ff9b::/96",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// A random test on addresses.
fn test(dice: &mut Dice) -> String {
    let list =
        |dice: &mut Dice| format!("[\"{}\", \"{}\"]", dice.one(&NETWORKS), dice.one(&NETWORKS));
    match dice.below(4) {
        0 => format!("{{ not: {} }}", list(dice)),
        1 => format!("{{ in: {}, not: {} }}", list(dice), list(dice)),
        _ => list(dice),
    }
}

/// Random rules on connections, mostly on their addresses.
fn rules(dice: &mut Dice) -> String {
    let mut rules = String::new();
    for number in 0..=dice.below(5) {
        let mut fields = Vec::new();
        if dice.below(4) > 0 {
            fields.push(format!("address: {}", test(dice)));
        }
        if dice.below(3) == 0 {
            fields.push(format!("host: {}", dice.one(&["x.example", "\"*.example\"", "y.test"])));
        }
        if dice.below(4) == 0 {
            fields.push("port: 443".to_owned());
        }
        let fields = if fields.is_empty() {
            String::new()
        } else {
            format!("where: {{ {} }}, ", fields.join(", "))
        };
        let decision = dice.one(&["autonomous", "notify", "notify", "approval", "blocked"]);
        let approval = match (decision, dice.below(4)) {
            ("approval", 0) => ", approval: { votes: 2 }",
            ("approval", 1) => ", approval: { grants: bounded }",
            _ => "",
        };
        let limits = match (decision, dice.below(5)) {
            ("autonomous" | "notify", 0) => ", limits: { calls: 3/hour, over: approval }",
            ("autonomous" | "notify", 1) => ", limits: { open: \"mon-fri 09:00-17:00 UTC\" }",
            _ => "",
        };
        let agents = dice.one(&["any", "any", "b"]);
        rules += &format!(
            "  - {{ name: r{number}, agents: [{agents}], effects: [connect], {fields}decision: \
             {decision}{approval}{limits} }}\n"
        );
    }
    rules
}

/// Whether the interpreter leaves an address to a name, asked about that one alone.
fn leaves(asked: &Asked<'_>, effect: &Effect, address: IpAddr) -> bool {
    let (set, mut effect) = (asked.engine.set(), effect.clone());
    effect.fields.insert(Field::Address, Value::Text(address.to_string()));
    let decided = decide_effect(set, asked.call, &effect, &asked.facts);
    let rules = |because: &Because| {
        let Because::Rule { layer, name, .. } = because else { return None };
        let layer = set.layers().find(|of| of.kind == *layer).unwrap();
        Some((layer, layer.rules.iter().find(|rule| rule.name == *name).unwrap()))
    };
    let asks_more = decided.answer == Answer::Approval
        && decided.because.iter().any(|because| match rules(because) {
            None => asked.granted,
            Some((_, rule)) => {
                let is_bounded =
                    rule.approval.as_ref().is_some_and(|it| it.grants == Some(Grants::Bounded));
                let is_two = rule.approval.as_ref().is_some_and(|it| it.votes == Some(2));
                let spoke = asked.decision.answer == Answer::Approval
                    && asked.decision.effects.iter().any(|it| it.because.contains(because));
                (asked.granted && !is_bounded) || (is_two && !spoke)
            }
        });
    let special = SPECIAL.iter().find(|(network, _)| network.contains(address));
    let is_named = || {
        // what the granting layer alone says, rule by rule
        set.granting().rules.iter().any(|rule| {
            let alone =
                Layer { rules: vec![rule.clone()], otherwise: None, ..set.granting().clone() };
            let alone = Set::new(alone, Vec::new()).unwrap();
            let decided = decide_effect(&alone, asked.call, &effect, &asked.facts);
            let fits = !decided.because.is_empty() && decided.answer != Answer::Blocked;
            fits && rule
                .conditions
                .0
                .iter()
                .any(|(field, test)| *field == Field::Address && names_address(test, address))
        })
    };
    let special = match special {
        None => true,
        Some((_, Special::Never)) => false,
        Some((_, Special::Named)) => is_named(),
    };
    decided.answer <= asked.decision.answer && !asks_more && special
}

/// Addresses beside every bound that a rule or the table has, and a few more.
fn universe(dice: &mut Dice) -> Vec<IpAddr> {
    let read = |text: &&str| Network::read(text).unwrap();
    let networks = NETWORKS.iter().map(read).chain(SPECIAL.iter().map(|(network, _)| *network));
    let mut found: BTreeSet<IpAddr> = BTreeSet::new();
    for network in networks {
        for bound in [Some(network.address()), network.behind()].into_iter().flatten() {
            match bound {
                IpAddr::V4(at) => {
                    let at = u32::from(at);
                    let beside = [at.wrapping_sub(1), at, at.wrapping_add(1)];
                    found.extend(beside.map(|at| IpAddr::V4(at.into())));
                }
                IpAddr::V6(at) => {
                    let at = u128::from(at);
                    let beside = [at.wrapping_sub(1), at, at.wrapping_add(1)];
                    found.extend(beside.map(|at| IpAddr::V6(at.into())));
                }
            }
        }
    }
    for _ in 0..20 {
        let bits = u32::try_from(dice.below(1 << 31)).unwrap();
        found.insert(IpAddr::V4((bits << 1).into()));
        found.insert(IpAddr::V6((u128::from(bits) << 97).into()));
    }
    found.into_iter().collect()
}

#[test]
fn the_set_is_what_the_interpreter_leaves_address_by_address() {
    let mut dice = Dice(0x5EED_0024);
    let addresses = universe(&mut dice);
    let (mut compared, mut partial, mut private) = (0, 0, 0);
    for _ in 0..1_500 {
        let otherwise = dice.one(&["blocked", "approval"]);
        let mut texts = vec![format!(
            "policy: box\nversion: 1\notherwise: {otherwise}\nrules:\n{}",
            rules(&mut dice)
        )];
        for head in ["limits: system", "limits: agent/a", "limits: agent/b"] {
            if dice.below(2) == 0 {
                texts.push(format!("{head}\nversion: 1\nrules:\n{}", rules(&mut dice)));
            }
        }
        let mut layers =
            texts.iter().map(|text| parse(text).unwrap_or_else(|error| panic!("{error}\n{text}")));
        let granting = layers.next().unwrap();
        let engine = Compiled::new(Set::new(granting, layers.collect()).unwrap()).unwrap();
        let mut exhausted = BTreeSet::new();
        if dice.below(3) == 0 {
            exhausted.insert((LayerKind::Box, "r1".to_owned()));
        }
        let facts = Facts { exhausted };
        let mut effects = vec![connect(dice.one(&["x.example", "y.test"]), None, 443)];
        if dice.below(3) == 0 {
            effects.push(connect("z.example", None, 80));
        }
        let decision = engine.decide(&CALL, &effects, &facts);
        if decision.answer == Answer::Blocked {
            continue;
        }
        let granted = decision.answer == Answer::Approval && dice.below(2) == 0;
        let found = engine.reach(&CALL, &effects, &facts, &decision, granted);
        let mut facts = facts;
        for layer in engine.set().layers() {
            for rule in &layer.rules {
                let counts = rule.limits.as_ref().is_some_and(|it| it.calls.is_some());
                if counts && rule.conditions.0.iter().any(|(field, _)| *field == Field::Address) {
                    facts.exhausted.insert((layer.kind.clone(), rule.name.clone()));
                }
            }
        }
        let (call, decision, against) = (&CALL, &decision, BTreeSet::new());
        let asked = Asked { engine: &engine, call, facts, decision, granted, against };
        let ranges = found.unwrap_or_default();
        assert!(ranges.is_sorted_by(|one, other| one.last < other.first && !adjoin(*one, *other)));
        let mut count = 0;
        for address in &addresses {
            let wanted = effects.iter().all(|effect| leaves(&asked, effect, *address));
            let has = ranges.iter().any(|range| range.contains(*address));
            assert_eq!(has, wanted, "{address} {decision:?} {granted}\n{}", texts.join("\n"));
            count += usize::from(has);
            let in_ten = Network::read("10.0.0.0/8").unwrap().contains(*address);
            private += usize::from(has && in_ten);
        }
        compared += 1;
        partial += usize::from(count > 0 && count < addresses.len() / 2);
    }
    assert!(compared > 400 && partial > 50 && private > 50, "{compared} {partial} {private}");
}
