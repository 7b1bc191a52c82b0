//! Whether a binding admits a use. This is the vault's own check, behind policy and pdp's: it shares no code with them,
//! and links no engine of policies.

use contract::secret::{Binding, is_plain_path};

/// A place that a call uses a secret for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// As an effect has it.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u64,
    /// Method of HTTP.
    pub(crate) method: String,
    /// Path of the URL.
    pub(crate) path: String,
}

/// Whether an agent's call of a capability may use what is bound so at this place. Expiry and uses are counted apart.
pub(crate) fn admits(binding: &Binding, agent: &str, capability: &str, place: &Place) -> bool {
    let name = capability.split_once('@').map_or(capability, |(name, _version)| name);
    let path = place.path.split_once('?').map_or(place.path.as_str(), |(path, _query)| path);
    let any = |entries: &[String], fits: &dyn Fn(&str) -> bool| entries.iter().any(|e| fits(e));
    any(&binding.agents, &|entry| entry == "any" || matches(entry, agent))
        && any(&binding.capabilities, &|entry| entry == name || entry == capability)
        && any(&binding.hosts, &|entry| is_host(entry, &place.host))
        && binding.ports.iter().any(|port| u64::from(*port) == place.port)
        && any(&binding.methods, &|entry| entry == place.method)
        && is_plain_path(path)
        && any(&binding.paths, &|entry| matches(entry, path))
}

/// `*.example.com` is each name beneath it, and not the name itself; anything else is one host.
fn is_host(entry: &str, host: &str) -> bool {
    let Some(suffix) = entry.strip_prefix('*') else { return entry == host };
    host.strip_suffix(suffix).is_some_and(|label| !label.is_empty() && !label.ends_with('.'))
}

/// Whether all of `text` is what `pattern` stands for: `*` any bytes but `/`, `**` any bytes.
fn matches(pattern: &str, text: &str) -> bool {
    // at[i]: the pattern so far stands for the first i bytes of the text
    let text = text.as_bytes();
    let mut at = vec![false; text.len() + 1];
    if let Some(first) = at.first_mut() {
        *first = true;
    }
    let mut rest = pattern.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let across = after.strip_prefix(b"*").filter(|_| byte == b'*');
        rest = across.unwrap_or(after);
        let mut next = vec![false; at.len()];
        for (index, stands) in next.iter_mut().enumerate() {
            let before = index.checked_sub(1).and_then(|before| text.get(before));
            *stands = match before {
                _ if byte == b'*' && at.get(index) == Some(&true) => true,
                Some(_) if across.is_some() => at.iter().take(index).any(|stood| *stood),
                Some(_) if byte == b'*' => within(&at, text, index),
                Some(last) => *last == byte && at.get(index.saturating_sub(1)) == Some(&true),
                None => false,
            };
        }
        at = next;
    }
    at.last() == Some(&true)
}

/// Whether some bytes without `/` before `index` follow a place where the pattern stood.
fn within(at: &[bool], text: &[u8], index: usize) -> bool {
    let segment = text.get(..index).unwrap_or_default();
    let begin = segment.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    at.get(begin..index).is_some_and(|places| places.contains(&true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    fn binding() -> Binding {
        Binding {
            agents: list(&["build-*"]),
            capabilities: list(&["network.http_request"]),
            hosts: list(&["api.example.com", "*.example.org"]),
            ports: vec![443],
            methods: list(&["GET"]),
            paths: list(&["/v1/**"]),
            uses_per_hour: None,
            expires_s: None,
        }
    }

    fn place() -> Place {
        let (host, method) = ("api.example.com".to_owned(), "GET".to_owned());
        Place { host, port: 443, method, path: "/v1/a?b=/../c".to_owned() }
    }

    #[test]
    fn each_part_of_a_use_is_bound() {
        let name = "network.http_request@1";
        assert!(admits(&binding(), "build-1", name, &place()));
        assert!(!admits(&binding(), "other", name, &place()));
        assert!(!admits(&binding(), "build-1", "network.download@1", &place()));
        assert!(!admits(&binding(), "build-1", "network.http_request2@1", &place()));
        let second = Binding { capabilities: list(&["network.http_request@2"]), ..binding() };
        assert!(!admits(&second, "build-1", name, &place()));
        assert!(admits(&second, "build-1", "network.http_request@2", &place()));
        let any = Binding { agents: list(&["any"]), ..binding() };
        assert!(admits(&any, "other", name, &place()));
        let check = |change: fn(&mut Place)| {
            let mut changed = place();
            change(&mut changed);
            admits(&binding(), "build-1", name, &changed)
        };
        assert!(!check(|p| p.port = 80));
        assert!(!check(|p| p.method = "POST".to_owned()));
        for (host, expected) in [
            ("a.example.org", true),
            ("a.b.example.org", true),
            ("example.org", false),
            (".example.org", false),
            ("badexample.org", false),
            ("api.example.com.evil.example", false),
            ("API.example.com", false),
        ] {
            let place = Place { host: host.to_owned(), ..place() };
            assert_eq!(admits(&binding(), "build-1", name, &place), expected, "{host}");
        }
        for (path, expected) in [
            ("/v1/", true),
            ("/v1/a/b", true),
            ("/v2/a", false),
            ("/v1/../v2", false),
            ("/v1/%2E%2e/v2", false),
            ("/v1/..%2fv2", false),
            ("/v1/..\\v2", false),
            ("/v1", false),
        ] {
            let place = Place { path: path.to_owned(), ..place() };
            assert_eq!(admits(&binding(), "build-1", name, &place), expected, "{path}");
        }
    }

    /// The definition, as it is.
    fn plainly(pattern: &[u8], text: &[u8]) -> bool {
        let ends = |from: usize, within: bool| {
            (from..=text.len()).take_while(move |end| !within || !text[..*end].contains(&b'/'))
        };
        match pattern {
            [] => text.is_empty(),
            [b'*', b'*', rest @ ..] => ends(0, false).any(|end| plainly(rest, &text[end..])),
            [b'*', rest @ ..] => ends(0, true).any(|end| plainly(rest, &text[end..])),
            [byte, rest @ ..] => text.first() == Some(byte) && plainly(rest, &text[1..]),
        }
    }

    #[test]
    fn stars_stay_in_their_segment_and_double_stars_do_not() {
        for (pattern, text, expected) in [
            ("/v1/*", "/v1/a", true),
            ("/v1/*", "/v1/", true),
            ("/v1/*", "/v1/a/b", false),
            ("/v1/**", "/v1/a/b", true),
            ("/a/*/b", "/a/x/b", true),
            ("/a/*/b", "/a/x/y/b", false),
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_is_its_definition(pattern in "[a/*]{0,8}", text in "[ab/]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), plainly(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
