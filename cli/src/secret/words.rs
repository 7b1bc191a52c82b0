//! A binding in the words of the command line, and back.

use crate::ended::{Ended, failed};
use anyhow::Result;
use clap::Args;
use contract::effect::visible;
use contract::secret::Binding;
use std::time::{SystemTime, UNIX_EPOCH};

const DAY_S: u64 = 86_400;

/// For what a secret may be lent. Flags take several values, with commas or again.
#[derive(Debug, Args)]
pub(crate) struct Bound {
    /// Agents: names, patterns with `*`, or `any`.
    #[arg(long = "agent", required = true, value_delimiter = ',', value_name = "AGENT")]
    agents: Vec<String>,
    /// Hosts in lower case, or `*.example.com` for each name beneath it.
    #[arg(long = "host", required = true, value_delimiter = ',', value_name = "HOST")]
    hosts: Vec<String>,
    /// Paths of URLs, without what follows `?`: `*` within a segment, `**` across.
    #[arg(long = "path", required = true, value_delimiter = ',', value_name = "PATH")]
    paths: Vec<String>,
    /// Ports.
    #[arg(long = "port", default_value = "443", value_delimiter = ',', value_name = "PORT")]
    ports: Vec<u16>,
    /// Methods of HTTP.
    #[arg(long = "method", default_value = "GET", value_delimiter = ',', value_name = "METHOD")]
    methods: Vec<String>,
    /// Capabilities that use it.
    #[arg(
        long = "capability",
        default_value = "network.http_request",
        value_delimiter = ',',
        value_name = "CAPABILITY"
    )]
    capabilities: Vec<String>,
    /// How often it is lent: `100/hour`. Not counted without it.
    #[arg(long, value_name = "N/hour")]
    uses: Option<String>,
    /// When it is lent no more: a day (`2027-01-01`, from its begin in UTC on), or in so long (`30d`, `12h`).
    #[arg(long, value_name = "WHEN")]
    expires: Option<String>,
}

impl Bound {
    /// The binding; what is not one is said before anything is sent.
    pub(crate) fn binding(&self) -> Result<Binding> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let wrong = |message: &str| failed(Ended::Usage, message.to_owned());
        let uses = |text: &String| text.strip_suffix("/hour").and_then(|count| count.parse().ok());
        let uses = self
            .uses
            .as_ref()
            .map(|text| uses(text).ok_or_else(|| wrong("--uses: N/hour, such as 100/hour")));
        let expires = self.expires.as_ref().map(|text| {
            let next = "--expires: a day to come (2027-01-01), or in so long (30d, 12h)";
            moment(text, now_s).filter(|end| *end > now_s).ok_or_else(|| wrong(next))
        });
        let binding = Binding {
            agents: self.agents.clone(),
            capabilities: self.capabilities.clone(),
            hosts: self.hosts.clone(),
            ports: self.ports.clone(),
            methods: self.methods.clone(),
            paths: self.paths.clone(),
            uses_per_hour: uses.transpose()?,
            expires_s: expires.transpose()?,
        };
        binding.check().map_err(|error| wrong(&error.to_string()))?;
        Ok(binding)
    }
}

/// The moment that `--expires` says, in seconds since 1970.
fn moment(text: &str, now_s: u64) -> Option<u64> {
    for (unit, seconds) in [("d", DAY_S), ("h", 3_600)] {
        if let Some(count) = text.strip_suffix(unit) {
            let count: u64 = count.parse().ok()?;
            return now_s.checked_add(count.checked_mul(seconds)?);
        }
    }
    Some(hours::moment(&format!("{text}T00:00:00Z"))? / 1_000_000)
}

/// A binding for people.
pub(crate) fn lines(binding: &Binding) -> Vec<String> {
    let several = |entries: &[String]| visible(&entries.join(", "));
    let ports: Vec<String> = binding.ports.iter().map(u16::to_string).collect();
    let mut lines = vec![
        format!("    for   {} by {}", several(&binding.agents), several(&binding.capabilities)),
        format!("    to    {} port {}", several(&binding.hosts), ports.join(", ")),
        format!("    as    {} {}", several(&binding.methods), several(&binding.paths)),
    ];
    lines.extend(binding.uses_per_hour.map(|uses| format!("    most  {uses}/hour")));
    let time = |end: u64| hours::written(end.saturating_mul(1_000_000));
    lines.extend(binding.expires_s.map(|end| format!("    until {}", time(end))));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> Bound {
        let list = |entry: &str| vec![entry.to_owned()];
        Bound {
            agents: list("any"),
            hosts: list("api.example.com"),
            paths: list("/**"),
            ports: vec![443],
            methods: list("GET"),
            capabilities: list("network.http_request"),
            uses: Some("100/hour".to_owned()),
            expires: Some("2100-01-01".to_owned()),
        }
    }

    #[test]
    fn a_binding_is_what_the_flags_say_or_a_mistake() {
        let binding = bound().binding().unwrap();
        assert_eq!((binding.uses_per_hour, binding.expires_s), (Some(100), Some(4_102_444_800)));
        assert_eq!(lines(&binding).last().unwrap(), "    until 2100-01-01T00:00:00Z");
        let wrong = |change: fn(&mut Bound)| {
            let mut bound = bound();
            change(&mut bound);
            bound.binding().unwrap_err().to_string()
        };
        assert!(wrong(|b| b.uses = Some("100".to_owned())).contains("--uses"));
        assert!(wrong(|b| b.uses = Some("0/hour".to_owned())).contains("uses_per_hour"));
        for text in ["2020-01-01", "tomorrow", "0d", "99999999999999999999d"] {
            let bound = Bound { expires: Some(text.to_owned()), ..bound() };
            assert!(bound.binding().unwrap_err().to_string().contains("--expires"), "{text}");
        }
        assert!(wrong(|b| b.hosts = vec!["API.example.com".to_owned()]).contains("hosts"));
    }

    #[test]
    fn a_moment_is_a_day_or_a_time_from_now() {
        assert_eq!(moment("30d", 5), Some(5 + 30 * DAY_S));
        assert_eq!(moment("12h", 5), Some(5 + 12 * 3_600));
        assert_eq!(moment("1970-01-02", 5), Some(DAY_S));
        assert_eq!(moment("1970-13-02", 5), None);
    }
}
