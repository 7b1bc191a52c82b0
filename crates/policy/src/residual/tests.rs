//! Each special range by itself, with a control; whose yes stands for what; and what is an error. The set against
//! the plain interpreter is in a file of its own.

mod interpreter;

use super::*;
use crate::parse::parse;
use contract::effect::Form;

const CALL: Call<'_> = Call { agent: "a", capability: "network.http_request", version: 1 };
const SYSTEM: &str = include_str!("../../../../policies/system.yaml");

fn set(rules: &str, limits: &[&str]) -> Set {
    let text = format!("policy: box\nversion: 1\nrules:\n{rules}");
    let granting = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    Set::new(granting, limits.iter().map(|text| parse(text).unwrap()).collect()).unwrap()
}

fn engine(rules: &str, limits: &[&str]) -> Compiled {
    Compiled::new(set(rules, limits)).unwrap()
}

fn connect(host: &str, address: Option<&str>, port: u64) -> Effect {
    let text = |text: &str| Value::Text(text.to_owned());
    let fields = [(Field::Host, text(host)), (Field::Port, Value::Number(port))];
    let address = address.map(|address| (Field::Address, text(address)));
    Effect::new(Kind::Connect, Form::Exact, fields.into_iter().chain(address)).unwrap()
}

/// What is left of a call that a policy let through, or a person whom it asks.
fn reach(engine: &Compiled, effects: &[Effect]) -> Result<Vec<AddressRange>, NoReach> {
    let facts = Facts::default();
    let decision = engine.decide(&CALL, effects, &facts);
    engine.reach(&CALL, effects, &facts, &decision, false)
}

fn by_name(engine: &Compiled) -> Result<Vec<AddressRange>, NoReach> {
    reach(engine, &[connect("x.example", None, 443)])
}

fn has(ranges: &[AddressRange], address: &str) -> bool {
    let address = address.parse().unwrap();
    ranges.iter().any(|range| range.contains(address))
}

const ALL: &str = "  - { name: all, agents: [any], effects: [connect], decision: notify }\n";

/// A rule on addresses.
fn rule(name: &str, address: &str, decision: &str) -> String {
    format!(
        "  - {{ name: {name}, agents: [any], effects: [connect], where: {{ address: {address} }}, \
         decision: {decision} }}\n"
    )
}

/// The special networks, one in another left out, as the table's test shows.
fn special() -> impl Iterator<Item = (String, Special)> {
    SPECIAL.iter().map(|(network, special)| (network.to_string(), *special))
}

/// The first, one in the middle and the last address of a network.
fn some(network: &str) -> [String; 3] {
    let network = Network::read(network).unwrap();
    let last = last(network.address(), network.behind());
    let middle = match (network.address(), last) {
        (IpAddr::V4(low), IpAddr::V4(high)) => {
            IpAddr::V4(u32::midpoint(low.into(), high.into()).into())
        }
        (IpAddr::V6(low), IpAddr::V6(high)) => {
            IpAddr::V6(u128::midpoint(low.into(), high.into()).into())
        }
        _ => unreachable!("one network, two families"),
    };
    [network.address(), middle, last].map(|address| address.to_string())
}

#[test]
fn a_special_address_is_left_out_unless_a_rule_of_the_box_names_it() {
    let everything = engine(ALL, &[]);
    for (network, special) in special() {
        let left = by_name(&everything).unwrap();
        let named =
            engine(&format!("{ALL}{}", rule("named", &format!("\"{network}\""), "notify")), &[]);
        let named = by_name(&named).unwrap();
        for address in some(&network) {
            assert!(!has(&left, &address), "{network}: {address}");
            // the control: named, it is there; what stands for another never is
            assert_eq!(has(&named, &address), special == Special::Named, "{network}: {address}");
        }
    }
    let left = by_name(&everything).unwrap();
    for public in [
        "1.1.1.1",
        "192.0.2.1",
        "203.0.113.9",
        "2001:db8::1",
        "2606:4700::1111",
        "9.255.255.255",
        "11.0.0.0",
    ] {
        assert!(has(&left, public), "a control: {public}");
    }
    for disguised in ["::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1", "2001:0:101:101::"] {
        assert!(!has(&left, disguised), "{disguised}");
    }
}

#[test]
fn only_a_rule_that_fits_and_names_the_network_names_it() {
    let reaches = |rules: &str, limits: &[&str]| {
        let ranges = by_name(&engine(&format!("{ALL}{rules}"), limits)).unwrap();
        assert!(has(&ranges, "203.0.113.1"), "a control: {rules}");
        has(&ranges, "10.1.2.3")
    };
    assert!(reaches(&rule("named", "10.0.0.0/8", "notify"), &[]), "a control");
    assert!(reaches(&rule("named", "{ in: 0.0.0.0/0, not: 10.2.0.0/16 }", "autonomous"), &[]));
    assert!(!reaches(&rule("named", "10.0.0.0/8", "blocked"), &[]), "it blocks");
    assert!(!reaches(&rule("named", "{ not: 192.0.2.0/24 }", "notify"), &[]), "not is no name");
    assert!(!reaches(&rule("named", "{ in: 0.0.0.0/0, not: 10.0.0.0/8 }", "notify"), &[]));
    let of = |more: &str| {
        format!(
            "  - {{ name: named, agents: [any], effects: [connect], where: {{ address: 10.0.0.0/8, {more} }}, \
             decision: notify }}\n"
        )
    };
    assert!(reaches(&of("port: 443"), &[]), "a control");
    assert!(!reaches(&of("port: 80"), &[]), "another port");
    assert!(!reaches(&of("host: other.example"), &[]), "another host");
    let limits =
        format!("limits: agent/a\nversion: 1\nrules:\n{}", rule("l", "10.0.0.0/8", "notify"));
    assert!(!reaches("", &[&limits]), "a layer of limits grants nothing");
}

#[test]
fn a_private_address_takes_a_persons_yes_under_the_systems_limits() {
    let asks = ALL.replace("notify", "approval");
    let named = rule("named", "10.0.0.0/8", "notify");
    let notify = engine(&format!("{ALL}{named}"), &[SYSTEM]);
    let asked = engine(&format!("{asks}{named}"), &[SYSTEM]);
    let silent = engine(&asks, &[SYSTEM]);
    for (engine, private, what) in [
        (&notify, false, "nobody was asked"),
        (&asked, true, "the box names it, and a person says yes"),
        (&silent, false, "the box does not name it"),
    ] {
        let ranges = by_name(engine).unwrap();
        assert_eq!(has(&ranges, "10.1.2.3"), private, "{what}");
        assert!(has(&ranges, "203.0.113.1"), "a control: {what}");
    }
    // a grant stands for no rule that does not say so
    let effects = [connect("x.example", None, 443)];
    let bounded =
        ALL.replace("decision: notify", "decision: approval, approval: { grants: bounded }");
    let engine = engine(&format!("{bounded}{named}"), &[SYSTEM]);
    let decision = engine.decide(&CALL, &effects, &Facts::default());
    let of = |granted| engine.reach(&CALL, &effects, &Facts::default(), &decision, granted);
    assert!(has(&of(false).unwrap(), "10.1.2.3") && !has(&of(true).unwrap(), "10.1.2.3"));
    assert!(has(&of(true).unwrap(), "203.0.113.1"), "a control");
}

#[test]
fn an_address_for_which_more_persons_are_asked_is_left_out() {
    let asks = ALL.replace("notify", "approval");
    let two = "decision: approval, approval: { votes: 2 }";
    let rules = format!("{asks}{}", rule("two", "203.0.113.0/24", "notify"));
    let left = by_name(&engine(&rules, &[])).unwrap();
    assert!(has(&left, "203.0.113.1"), "a control");
    let left = by_name(&engine(&rules.replace("decision: notify", two), &[])).unwrap();
    assert!(!has(&left, "203.0.113.1") && has(&left, "203.0.114.1"));
    // where they were asked, it is there
    let left = by_name(&engine(&asks.replace("decision: approval", two), &[])).unwrap();
    assert!(has(&left, "203.0.113.1"));
}

#[test]
fn a_limit_on_addresses_counts_as_used_up() {
    let limited = rule("few", "203.0.113.0/24", "notify");
    let left = by_name(&engine(&format!("{ALL}{limited}"), &[])).unwrap();
    assert!(has(&left, "203.0.113.1"), "a control");
    let limited = limited.replace(" }\n", ", limits: { calls: 3/hour } }\n");
    let left = by_name(&engine(&format!("{ALL}{limited}"), &[])).unwrap();
    assert!(!has(&left, "203.0.113.1") && has(&left, "203.0.112.255") && has(&left, "203.0.114.0"));
}

#[test]
fn a_literal_address_is_all_that_there_is() {
    let engine = engine(ALL, &[]);
    let one = |text: &str| connect("x.example", Some(text), 443);
    for text in ["203.0.113.1", "2001:db8::1", "10.0.0.1"] {
        let address = text.parse().unwrap();
        let only = vec![AddressRange { first: address, last: address }];
        assert_eq!(reach(&engine, &[one(text), one(text)]), Ok(only));
    }
    let both = [one("203.0.113.1"), connect("y.example", None, 443)];
    assert_eq!(reach(&engine, &both).unwrap().len(), 1, "where the name may lead, too");
    let private = [one("10.0.0.1"), connect("y.example", None, 443)];
    assert!(matches!(reach(&engine, &private), Err(NoReach::Nothing { .. })));
    let two = [one("203.0.113.1"), one("203.0.113.2")];
    assert!(matches!(reach(&engine, &two), Err(NoReach::Nothing { .. })));
    assert_eq!(reach(&engine, &[one("no")]), Err(NoReach::NoAddress("no".to_owned())));
    assert_eq!(reach(&engine, &[]), Ok(Vec::new()), "it connects to nothing");
}

#[test]
fn of_several_names_what_all_leave_is_left() {
    let rules = format!(
        "{ALL}  - {{ name: x, agents: [any], effects: [connect], where: {{ host: x.example, address: 203.0.113.0/24 }}, \
         decision: blocked }}\n  - {{ name: y, agents: [any], effects: [connect], where: {{ host: y.example, \
         address: 198.51.100.0/24 }}, decision: blocked }}\n"
    );
    let engine = engine(&rules, &[]);
    let of = |hosts: &[&str]| {
        let effects: Vec<Effect> = hosts.iter().map(|host| connect(host, None, 443)).collect();
        let left = reach(&engine, &effects).unwrap();
        [has(&left, "203.0.113.1"), has(&left, "198.51.100.1"), has(&left, "192.0.2.1")]
    };
    assert_eq!(of(&["x.example"]), [false, true, true]);
    assert_eq!(of(&["y.example"]), [true, false, true]);
    assert_eq!(of(&["x.example", "y.example"]), [false, false, true]);
}

#[test]
fn what_leaves_nothing_or_too_much_is_an_error_with_the_rules() {
    let none = rule("closed", "[0.0.0.0/0, \"::/0\"]", "blocked");
    let nothing = engine(&format!("{ALL}{none}"), &[]);
    let Err(NoReach::Nothing { rules }) = by_name(&nothing) else { panic!("something is left") };
    assert!(rules.contains(&"box/closed".to_owned()), "{rules:?}");
    let effects = [connect("x.example", None, 443)];
    let answer =
        |engine: &Compiled| engine.decide_reaching(&CALL, &effects, &Facts::default()).answer;
    assert_eq!(answer(&nothing), Answer::Blocked);
    assert_eq!(answer(&engine(ALL, &[])), Answer::Notify, "a control");
    let many = |count: usize| {
        let each: Vec<String> =
            (0..count).map(|n| format!("\"203.{}.{}.0/24\"", n / 128, n % 128 * 2)).collect();
        engine(&format!("{ALL}{}", rule("many", &format!("[{}]", each.join(", ")), "blocked")), &[])
    };
    // as many gaps as make one range more
    let before = by_name(&engine(ALL, &[])).unwrap().len();
    let most = many(RANGES_MAX - before);
    assert_eq!(by_name(&most).map(|ranges| ranges.len()), Ok(RANGES_MAX));
    let error = by_name(&many(RANGES_MAX - before + 1)).unwrap_err();
    assert_eq!(error, NoReach::TooMany { rules: vec!["box/many".to_owned()] });
    assert!(error.to_string().contains("512 ranges"), "{error}");
    assert_eq!(answer(&many(RANGES_MAX)), Answer::Blocked);
    let blocked = Decision { answer: Answer::Blocked, effects: Vec::new() };
    let asked = most.reach(&CALL, &effects, &Facts::default(), &blocked, false);
    assert_eq!(asked, Err(NoReach::Blocked));
}

/// The parts of both families that networks cover, as ends in order.
fn covered<'a>(networks: impl Iterator<Item = &'a Network>) -> Vec<AddressRange> {
    let mut ranges: Vec<AddressRange> = networks
        .map(|network| AddressRange {
            first: network.address(),
            last: last(network.address(), network.behind()),
        })
        .collect();
    ranges.sort_by_key(|range| (range.first, range.last));
    let mut merged: Vec<AddressRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(before) if adjoin(*before, range) || before.contains(range.first) => {
                before.last = before.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

#[test]
fn the_systems_limits_and_the_invariant_hold_the_same_special_addresses() {
    let table = covered(SPECIAL.iter().map(|(network, _)| network));
    let limits = parse(SYSTEM).unwrap();
    let rule = limits.rules.iter().find(|rule| rule.name == "metadata-and-private-addresses");
    let test = &rule.unwrap().conditions.0[0].1;
    let mut of_rule = Vec::new();
    networks(test, &mut |network| of_rule.push(*network));
    assert_eq!(covered(of_rule.iter()), table);
    let invariants = include_str!("../../../../policies/invariants.yaml");
    let after = invariants.split_once("neighbourhood-asks").unwrap().1;
    let list = after.split_once("address: [").unwrap().1.split_once(']').unwrap().0;
    let of_invariant: Vec<Network> =
        list.split(", ").map(|text| Network::read(text.trim_matches('"')).unwrap()).collect();
    assert_eq!(covered(of_invariant.iter()), table);
    for (network, _) in &SPECIAL {
        let text = network.to_string();
        assert_eq!(Network::read(&text), Some(*network), "bits beyond the prefix: {text}");
    }
}

/// What it costs: `cargo test --release -p policy --lib -- --ignored --nocapture costs`.
#[test]
#[ignore = "a measurement, which shows something in a release build alone"]
fn what_it_costs() {
    let personal = include_str!("../../../../policies/personal.yaml");
    let many = |count: usize| {
        let each: Vec<String> = (0..count)
            .map(|n| format!("\"{}.{}.{}.0/24\"", 11 + n / 16_384, n / 64 % 256, n % 64 * 4))
            .collect();
        format!(
            "policy: box\nversion: 1\nrules:\n{ALL}{}",
            rule("many", &format!("[{}]", each.join(", ")), "notify")
        )
    };
    for (name, text) in [
        ("personal", personal.to_owned()),
        ("1,000 networks", many(1_000)),
        ("10,000 networks", many(10_000)),
    ] {
        let set = Set::new(parse(&text).unwrap(), vec![parse(SYSTEM).unwrap()]).unwrap();
        let engine = Compiled::new(set.clone()).unwrap();
        let mut effect = connect("x.example", None, 443);
        effect.fields.insert(Field::Method, Value::Text("GET".to_owned()));
        let effects = [effect];
        let decision = engine.decide(&CALL, &effects, &Facts::default());
        let before = std::time::Instant::now();
        let again = 100_u32;
        for _ in 0..again {
            std::hint::black_box(engine.reach(
                &CALL,
                &effects,
                &Facts::default(),
                &decision,
                false,
            ))
            .unwrap();
        }
        let call = before.elapsed() / again;
        let before = std::time::Instant::now();
        std::hint::black_box(Residual::of(&set));
        let intervals = engine.residual.alike.len();
        println!("{name}: {intervals} intervals, {call:?} a call, {:?} at load", before.elapsed());
    }
}
