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

/// Whether an agent may connect there, by code or by itself, in the words of the interpreter alone.
fn may(set: &Set, agent: &str, address: &str) -> bool {
    let is_let = |name: &str, input: Json| {
        let declaration = find(name).unwrap();
        let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
        let call = Call { agent, capability: declaration.name, version: declaration.version };
        decide(set, &call, &effects, &Facts::default()).answer <= Answer::Approval
    };
    [1_u16, 80, 443, 999, 1000, 65_535].into_iter().any(|port| {
        let place = std::net::SocketAddr::new(address.parse().unwrap(), port).to_string();
        let code =
            json!({ "command": ["python3", "b.py"], "expect": "1".repeat(64), "connect": [place] });
        is_let("process.run_code", code)
            || is_let("network.tcp_check", json!({ "host": address, "port": port }))
    })
}

/// The address that a call connects to; no rule of these sets speaks of names, so that there is one.
fn address(input: &Json) -> std::net::IpAddr {
    use contract::url::{Host, Url};
    let text = |at: &str| input.pointer(at).and_then(Json::as_str);
    let place = text("/connect/0").map(|it| it.parse::<std::net::SocketAddr>().unwrap().ip());
    let url = text("/url").map(|url| Url::parse(url).unwrap().host);
    let host = url.or_else(|| text("/host").map(|host| Host::parse(host).unwrap()));
    place.or_else(|| host.and_then(|host| host.address())).unwrap()
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
            let address = address(&edge.by.input).to_string();
            for other in graph.edges.iter().filter(|o| !o.is_told && o.place == edge.place) {
                let name = NAMES.get(other.agent).unwrap();
                assert!(may(&set, name, &address), "{name} {address}\n{text}");
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

const URLS: [&str; 10] = [
    "https://api.example.org/v1/a",
    "https://api.example.org/v2",
    "https://api.example.org:8443/v1/a",
    "https://b.api.example.org/",
    "https://example.org/v1/a?b=c",
    "https://other.example/v1/a/b",
    "https://other.example:8443/",
    "https://203.0.113.1/v1/a",
    "https://203.0.113.2/",
    "https://[2001:db8::1]:8443/",
];
const PLACES: [&str; 11] = [
    "host: api.example.org",
    "host: \"*.example.org\"",
    "host: { not: [other.example, api.example.org] }",
    "host: 203.0.113.1",
    "host: \"2001:db8::1\"",
    "address: 203.0.113.0/24",
    "url_path: /v1/**",
    "url_path: { not: /v1/* }",
    "method: POST",
    "method: { not: [GET, HEAD] }",
    "bytes: { max: 1000 }",
];

fn requests(dice: &mut Dice) -> (Set, String) {
    let mut rules = String::new();
    for number in 0..7 {
        let agents = dice.one(&["any", "\"build-*\"", "build-1", "x, admin", "build-2"]);
        let decision = dice.one(&["notify", "approval", "notify", "blocked"]);
        let (one, other) = (dice.one(&PLACES), dice.one(&["port: 443", "port: { not: 443 }"]));
        let kinds = dice.one(&["connect", "connect", "connect", "resolve"]);
        let conditions = match (kinds, one.starts_with("host")) {
            ("resolve", true) => format!(", where: {{ {one} }}"),
            ("resolve", false) => String::new(),
            _ => format!(", where: {{ {one}, {other} }}"),
        };
        rules.push_str(&format!(
            "  - {{ name: r{number}, agents: [{agents}], effects: [{kinds}]{conditions}, decision: {decision} }}\n"
        ));
    }
    let text = format!("policy: box\nversion: 1\notherwise: blocked\nrules:\n{rules}");
    (Set::new(parse(&text).unwrap(), Vec::new()).unwrap(), text)
}

/// The URLs that an agent may ask by some method and body, in the words of the interpreter.
fn asked(compiled: &Compiled, agent: &str) -> Vec<&'static str> {
    let declaration = find("network.http_request").unwrap();
    let call = Call { agent, capability: declaration.name, version: declaration.version };
    let may = |url: &&&str| {
        [("GET", 0), ("POST", 0), ("DELETE", 0), ("GET", 1001), ("POST", 1001)].iter().any(
            |(method, bytes)| {
                let input = json!({ "url": url, "method": method, "body": "b".repeat(*bytes) });
                let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
                let facts = Facts::default();
                let decision = decide(compiled.set(), &call, &effects, &facts);
                decision.answer <= Answer::Approval
                    && compiled.reach(&call, &effects, &facts, &decision, false).is_ok()
            },
        )
    };
    URLS.iter().filter(may).copied().collect()
}

#[test]
fn two_agents_reach_each_other_if_both_may_ask_one_host() {
    let mut dice = Dice(23);
    let (mut reached, mut apart) = (0, 0);
    for _ in 0..40 {
        let (set, text) = requests(&mut dice);
        let compiled = Compiled::new(set.clone()).unwrap();
        let named = |name: &&str| AgentsAlike {
            name: (*name).to_owned(),
            said: (*name).to_owned(),
            is_one: true,
        };
        let agents: Vec<AgentsAlike> = NAMES.iter().map(named).collect();
        let graph = Graph { edges: edges(&set, &agents, Answer::Approval).unwrap(), agents };
        let host = |url: &str| contract::url::Url::parse(url).unwrap().host;
        for (from, one) in NAMES.iter().enumerate() {
            let ones: Vec<_> = asked(&compiled, one).into_iter().map(host).collect();
            let is_told = graph.edges.iter().any(|edge| edge.agent == from && edge.is_told);
            assert!(is_told || ones.is_empty(), "{one}\n{text}");
            for (to, other) in NAMES.iter().enumerate().filter(|(to, _)| *to != from) {
                let both = asked(&compiled, other).into_iter().any(|url| ones.contains(&host(url)));
                let way = |way: &Way| way.from == from && way.to == Some(to);
                let found = graph.ways().iter().any(way);
                assert!(found || !both, "{one} and {other}\n{text}");
                reached += usize::from(both);
                apart += usize::from(!found);
            }
        }
    }
    assert!(reached > 50 && apart > 50, "{reached} {apart}");
}

fn graph(text: &str, names: &[&str]) -> Graph {
    let set = Set::new(parse(text).unwrap(), Vec::new()).unwrap();
    let named = |name: &&str| AgentsAlike {
        name: (*name).to_owned(),
        said: (*name).to_owned(),
        is_one: true,
    };
    let agents: Vec<AgentsAlike> = names.iter().map(named).collect();
    Graph { edges: edges(&set, &agents, Answer::Approval).unwrap(), agents }
}

#[test]
fn who_asks_for_a_name_tells_who_answers_for_it_and_an_address_is_another_machine() {
    let text = "policy: box
version: 1
otherwise: blocked
rules:
  - { name: a, agents: [a], effects: [connect], where: { host: api.example.org, port: 443, url_path: /v1/**, method: POST }, decision: notify }
  - { name: b, agents: [b], effects: [resolve], where: { host: \"*.example.org\" }, decision: autonomous }
  - { name: c, agents: [c], effects: [connect], where: { address: 203.0.113.7, port: 8443 }, decision: notify }
  - { name: d, agents: [d], effects: [resolve], where: { host: other.example }, decision: notify }
  - { name: e, agents: [e], effects: [connect], where: { host: 203.0.113.7, port: { min: 1 } }, decision: notify }
";
    let graph = graph(text, &["a", "b", "c", "d", "e"]);
    let reaches = |from: usize| {
        let mut to: Vec<usize> =
            graph.ways().iter().filter(|way| way.from == from).filter_map(|way| way.to).collect();
        to.sort_unstable();
        to
    };
    assert_eq!(
        (0..5).map(reaches).collect::<Vec<_>>(),
        [vec![1], vec![0], vec![4], vec![], vec![2]]
    );
    let of = |agent: usize| {
        let edges = graph.edges.iter().filter(|edge| edge.agent == agent && edge.is_told);
        edges.map(|edge| edge.place.as_str()).collect::<Vec<_>>()
    };
    assert!(
        of(0).iter().all(|place| place.starts_with("machines named api.example.org")),
        "{:?}",
        of(0)
    );
    assert!(of(2).iter().all(|place| place.starts_with("machines at 203.0.113.7")), "{:?}", of(2));
    let a = graph.edges.iter().find(|edge| edge.agent == 0).unwrap();
    let url = a.by.input.get("url").and_then(Json::as_str).unwrap();
    assert!(url.starts_with("https://api.example.org/v1/"), "{url}");
    assert_eq!(a.by.input.get("method"), Some(&json!("POST")));
}

#[test]
fn a_name_that_may_lead_nowhere_is_no_way() {
    let rule = |address: &str| {
        format!(
            "policy: box
version: 1
otherwise: blocked
rules:
  - {{ name: a, agents: [any], effects: [connect], where: {{ host: api.example.org }}, decision: notify }}
  - {{ name: b, agents: [any], effects: [connect], where: {{ address: {address} }}, decision: blocked }}
"
        )
    };
    assert!(graph(&rule("[0.0.0.0/0, \"::/0\"]"), &["a", "b"]).edges.is_empty());
    assert!(!graph(&rule("0.0.0.0/0"), &["a", "b"]).edges.is_empty());
}

#[test]
fn too_many_urls_and_names_that_none_can_have_are_refused() {
    let read = |rules: &str| {
        let text = format!("policy: box\nversion: 1\nrules:\n{rules}");
        let set = Set::new(parse(&text).unwrap(), Vec::new()).unwrap();
        let declaration = find("network.http_request").unwrap();
        inputs::all(&set, declaration).map(|all| all.len()).map_err(|error| format!("{error:#}"))
    };
    let rule = |number: usize| {
        format!(
            "  - {{ name: r{number}, agents: [any], effects: [connect], where: {{ host: h{number}.example, port: {}, url_path: /a{number} }}, decision: notify }}\n",
            number + 1
        )
    };
    let rules = |count: usize| (0..count).map(rule).collect::<String>();
    let most = read(&rules(110)).unwrap_err();
    assert!(most.contains("URLs that rules tell apart"), "{most}");
    assert!(read(&rules(5)).unwrap() > 5 * 5 * 5);
    let path = "  - { name: r, agents: [any], effects: [connect], where: { url_path: /a/../b }, decision: notify }\n";
    assert!(read(path).unwrap_err().contains("no URL is known"));
    let host = "  - { name: r, agents: [any], effects: [connect], where: { host: \"*.0.2.1\" }, decision: notify }\n";
    assert!(read(host).unwrap_err().contains("write `address`"));
}
