//! What reach says against what the interpreter says of calls that are made up here: two agents that may connect to
//! one machine reach each other, and whoever reaches another may.

use super::*;
use capabilities::find;
use policy::parse;

const ADDRESSES: [&str; 6] =
    ["203.0.113.1", "203.0.113.200", "198.51.100.7", "2001:db8::1", "2001:db9::1", "8.8.8.8"];
const NETWORKS: [&str; 6] = [
    "203.0.113.0/24",
    "203.0.113.128/25",
    "198.51.100.7",
    "\"2001:db8::/32\"",
    "0.0.0.0/0",
    "[198.51.100.0/24, \"::/0\"]",
];
const NAMES: [&str; 5] = ["build-1", "build-2", "x", "admin", "other"];

/// Numbers that are the same in every run (Marsaglia 2003, xorshift64).
struct Dice(u64);

impl Dice {
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let at = usize::try_from(self.0 >> 33).unwrap_or(0) % of.len();
        of.get(at).copied().unwrap_or_default()
    }
}

fn set(dice: &mut Dice) -> (Set, String) {
    let mut rules = String::new();
    for number in 0..6 {
        let agents = dice.one(&["any", "\"build-*\"", "build-1", "x, admin", "build-2"]);
        let decision = dice.one(&["notify", "approval", "approval", "blocked"]);
        let rule = match dice.one(&["code", "net", "net", "net"]) {
            "code" => {
                let of =
                    dice.one(&["", ", where: { program: python3 }", ", where: { program: perl }"]);
                format!("effects: [code]{of}")
            }
            _ => {
                let port =
                    dice.one(&["", ", port: 443", ", port: { min: 1000 }", ", port: { not: 443 }"]);
                format!("effects: [connect], where: {{ address: {}{port} }}", dice.one(&NETWORKS))
            }
        };
        rules.push_str(&format!(
            "  - {{ name: r{number}, agents: [{agents}], {rule}, decision: {decision} }}\n"
        ));
    }
    rules.push_str("  - { name: code, agents: [any], effects: [code], decision: approval }\n");
    let text = format!("policy: box\nversion: 1\nrules:\n{rules}");
    (Set::new(parse(&text).unwrap(), Vec::new()).unwrap(), text)
}

/// Whether an agent may connect there, in the words of the interpreter alone.
fn may(set: &Set, agent: &str, address: &str) -> bool {
    let declaration = find("process.run_code").unwrap();
    [1_u16, 80, 443, 999, 1000, 65_535].into_iter().any(|port| {
        let place = std::net::SocketAddr::new(address.parse().unwrap(), port).to_string();
        let input =
            json!({ "command": ["python3", "b.py"], "expect": "1".repeat(64), "connect": [place] });
        let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
        let call = Call { agent, capability: declaration.name, version: declaration.version };
        decide(set, &call, &effects, &Facts::default()).answer <= Answer::Approval
    })
}

#[test]
fn two_agents_reach_each_other_exactly_if_one_machine_hears_both() {
    let mut dice = Dice(9);
    let (mut reached, mut apart) = (0, 0);
    for _ in 0..60 {
        let (set, text) = set(&mut dice);
        let named = |name: &&str| AgentsAlike {
            name: (*name).to_owned(),
            said: (*name).to_owned(),
            is_one: true,
        };
        let agents: Vec<AgentsAlike> = NAMES.iter().map(named).collect();
        let graph = Graph { edges: edges(&set, &agents, Answer::Approval).unwrap(), agents };
        // each step stands by itself: the machine of one end is one of the other's
        for edge in graph.edges.iter().filter(|edge| edge.is_told) {
            let address = edge.by.input.pointer("/connect/0").and_then(Json::as_str).unwrap();
            let address: std::net::SocketAddr = address.parse().unwrap();
            for other in graph.edges.iter().filter(|o| !o.is_told && o.place == edge.place) {
                let name = NAMES.get(other.agent).unwrap();
                assert!(may(&set, name, &address.ip().to_string()), "{name} {address}\n{text}");
            }
        }
        let direct = |from: usize, to: usize| {
            graph.edges.iter().any(|one| {
                one.is_told
                    && one.agent == from
                    && graph
                        .edges
                        .iter()
                        .any(|o| !o.is_told && o.agent == to && o.place == one.place)
            })
        };
        for (from, one) in NAMES.iter().enumerate() {
            for (to, other) in NAMES.iter().enumerate().filter(|(to, _)| *to != from) {
                let both = |address: &&str| may(&set, one, address) && may(&set, other, address);
                if ADDRESSES.iter().any(both) {
                    assert!(direct(from, to), "{one} and {other}\n{text}");
                    let way = |way: &Way| way.from == from && way.to == Some(to);
                    assert!(graph.ways().iter().any(way), "{one} and {other}\n{text}");
                    reached += 1;
                } else if !direct(from, to) {
                    apart += 1;
                }
            }
        }
    }
    assert!(reached > 100 && apart > 100, "{reached} {apart}");
}

#[test]
fn sorts_of_agents_stand_for_every_name() {
    let mut dice = Dice(4);
    for _ in 0..60 {
        let (set, text) = set(&mut dice);
        let sorts = agents_alike(&set).unwrap();
        for name in ["build-1", "build-2", "build-3", "x", "admin", "zebra", "b"] {
            let answers = |agent: &str| {
                let of =
                    |rule: &policy::Rule| rule.agents.iter().any(|pattern| pattern.matches(agent));
                set.granting().rules.iter().map(of).collect::<Vec<bool>>()
            };
            let is_named = sorts.iter().any(|sort| sort.is_one && sort.name == name);
            let alike = |sort: &&AgentsAlike| answers(&sort.name) == answers(name);
            let sort = sorts.iter().filter(alike).find(|sort| sort.is_one == is_named);
            assert!(sort.is_some(), "nobody stands for {name}: {sorts:?}\n{text}");
        }
    }
}
