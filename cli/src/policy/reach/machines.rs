//! Machines as calls name them: addresses, names, ports and paths, one of each sort that rules tell apart.

use anyhow::{Context, Result, bail, ensure};
use contract::effect::{Field, Kind, Value};
use contract::url::{Host, Url};
use policy::{Glob, Network, Set, Test, ValuesAlike, values_alike};
use std::net::IpAddr;

/// Addresses that are of no one machine, which no capability takes: rules do not tell them from others, so that this
/// does.
const NO_MACHINES: [&str; 5] = ["0.0.0.0", "224.0.0.0/3", "::", "::ffff:0.0.0.0/96", "ff00::/8"];
/// What stands where a sample has what no name and no path may have.
const PLAIN: &str = "a";

/// A machine, and how it is named in the words of rules.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    pub(super) host: Host,
    pub(super) place: String,
}

/// What rules ask of a field, of these kinds of effect.
pub(super) fn tests(set: &Set, kinds: &[Kind], field: Field) -> Vec<Test> {
    let rules = set.layers().flat_map(|layer| &layer.rules);
    let rules = rules.filter(|rule| rule.effects.iter().any(|kind| kinds.contains(&kind.0)));
    let tests = rules.flat_map(|rule| &rule.conditions.0).filter(|(of, _)| *of == field);
    tests.map(|(_, test)| test.clone()).collect()
}

/// Which of these hold of a text.
pub(super) fn holding(tests: &[Test], text: &str) -> Vec<bool> {
    let value = Value::Text(text.to_owned());
    tests.iter().map(|test| test.holds(&value)).collect()
}

/// Addresses of every sort; one that a rule names as a host is a sort of its own.
pub(super) fn addresses(set: &Set) -> Result<Vec<Machine>> {
    let none: Option<Vec<Network>> = NO_MACHINES.iter().map(|text| Network::read(text)).collect();
    let none = none.context("a network that is none: a defect in this program")?;
    let mut hosts = Vec::new();
    tests(set, &[Kind::Connect], Field::Host).iter().for_each(|test| named(test, &mut hosts));
    let mut singles: Vec<Network> = Vec::new();
    for host in hosts {
        if !is_numeric(&host) {
            continue;
        }
        ensure!(
            !host.starts_with("*."),
            "`host: {host}` fits some addresses: write `address` and a network instead"
        );
        singles.extend(Network::read(&host));
    }
    let apart: Vec<Test> =
        none.iter().chain(&singles).map(|one| Test::Networks(vec![*one])).collect();
    let alike = values_alike(set, Kind::Connect, Field::Address, &apart)?;
    let mut found: Vec<(IpAddr, String)> = Vec::new();
    for ValuesAlike { value, said } in alike {
        let Value::Text(ip) = &value else { continue };
        let ip: IpAddr = ip.parse().context("an address that is none")?;
        if !none.iter().any(|network| network.contains(ip)) {
            found.push((ip, said));
        }
    }
    let is_any = found.len() == 1;
    let machine = |(ip, said): (IpAddr, String)| {
        let place = format!("machines at {}", if is_any { "any address" } else { &said });
        Machine { host: Host::Address(ip), place }
    };
    Ok(found.into_iter().map(machine).collect())
}

/// The hosts that a test names.
fn named(test: &Test, found: &mut Vec<String>) {
    match test {
        Test::Hosts(hosts) => found.extend(hosts.iter().cloned()),
        Test::All(tests) => tests.iter().for_each(|test| named(test, found)),
        Test::Not(test) => named(test, found),
        Test::OneOf(_) | Test::Under(_) | Test::Numbers(_) | Test::Networks(_) => {}
    }
}

/// Names of every sort, the same whether they are looked up or connected to.
pub(super) fn names(set: &Set) -> Result<Vec<Machine>> {
    let of_lookups = tests(set, &[Kind::Resolve], Field::Host);
    let all = tests(set, &[Kind::Connect, Kind::Resolve], Field::Host);
    let alike = values_alike(set, Kind::Connect, Field::Host, &of_lookups)?;
    let mut found: Vec<(Host, String)> = Vec::new();
    for ValuesAlike { value, said } in alike {
        let Value::Text(sample) = &value else { continue };
        let (_, above) = sample.split_once('.').unwrap_or((sample, ""));
        let beneath = if above.is_empty() { PLAIN.to_owned() } else { format!("{PLAIN}.{above}") };
        let tried = [sample.clone(), beneath, format!("{PLAIN}.{sample}")];
        let same = |text: &&String| holding(&all, text) == holding(&all, sample);
        let name = tried
            .iter()
            .filter(same)
            .find_map(|text| Host::parse(text).ok().filter(|host| host.address().is_none()));
        match name {
            Some(host) => found.push((host, said)),
            // addresses, and texts that look like some, are no names
            None if is_numeric(sample) => {}
            None => {
                bail!("no name is known to be {said}: no rule may name a host that none can have")
            }
        }
    }
    let is_any = found.len() == 1;
    let machine = |(host, said): (Host, String)| {
        let place = if is_any {
            "machines of any name".to_owned()
        } else {
            format!("machines named {said}")
        };
        Machine { host, place }
    };
    Ok(found.into_iter().map(machine).collect())
}

/// Whether it is an address, or looks like one so that no name is like it.
fn is_numeric(text: &str) -> bool {
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_digits = match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    };
    text.contains(':') || is_digits
}

/// Ports of every sort; none is 0.
pub(super) fn ports(set: &Set) -> Result<Vec<u16>> {
    let apart = [Test::Numbers(vec![(0, 0)])];
    let alike = values_alike(set, Kind::Connect, Field::Port, &apart)?;
    let port = |alike: ValuesAlike| match alike.value {
        Value::Number(number) => u16::try_from(number).ok().filter(|port| *port != 0),
        Value::Path(_) | Value::Text(_) | Value::List(_) => None,
    };
    Ok(alike.into_iter().filter_map(port).collect())
}

/// Paths and queries of every sort, as URLs have them in their one form.
pub(super) fn url_paths(set: &Set) -> Result<Vec<String>> {
    let begins = Test::OneOf(vec![Glob::segments("/**")]);
    let all = tests(set, &[Kind::Connect], Field::UrlPath);
    let mut found = Vec::new();
    for ValuesAlike { value, said } in values_alike(set, Kind::Connect, Field::UrlPath, &[begins])?
    {
        let Value::Text(sample) = &value else { continue };
        if !sample.starts_with('/') {
            continue;
        }
        let filled = sample.replace("//", "/a/").replace("//", "/a/");
        let plain =
            |c: char| if c.is_ascii_alphanumeric() || "/?&=-._~".contains(c) { c } else { 'a' };
        let plain: String = filled.chars().map(plain).collect();
        let longer = format!("{plain}{PLAIN}");
        let is_path = |text: &&String| {
            let url = Url::parse(&format!("https://{PLAIN}{text}"));
            url.is_ok_and(|url| url.target == **text)
                && holding(&all, text) == holding(&all, sample)
        };
        let tried = [sample.clone(), filled, plain, longer];
        let path = tried.iter().find(is_path);
        let path = path.with_context(|| {
            format!("no URL is known whose path is {said}: no rule may name one that none can have")
        })?;
        found.push(path.clone());
    }
    Ok(found)
}
