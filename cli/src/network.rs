//! The network as egress uses it: name servers of an operator's own, and private authorities, each for the hosts that
//! it may speak for.

use crate::ended::Ended;
use crate::remote::Desk;
use crate::{render, sealing};
use anyhow::Result;
use clap::Subcommand;
use contract::effect::visible;
use serde_json::{Value as Json, json};
use std::net::IpAddr;

#[derive(Debug, Subcommand)]
#[command(after_help = "Examples:
  krux network status
  krux network trust corp --host git.corp.example,'*.api.corp.example' < authority.pem
  krux network trust lab --host 192.0.2.7 < authority.pem
  krux network distrust corp
  krux network resolver 192.0.2.53 2001:db8::53
  krux network resolver                  those of the leases again

Servers are verified always. A private authority is believed for its own hosts alone, beside the public ones. To let an
agent connect is the policy's: krux policy explain.")]
pub(crate) enum Command {
    /// The name servers and authorities that operators set.
    Status,
    /// A private authority, its certificates as PEM from standard input; the one of this name is replaced.
    Trust {
        /// Lower-case letters, digits and `-`.
        name: String,
        /// Hosts in lower case, `*.corp.example` for each name beneath it, or addresses.
        #[arg(long = "host", required = true, value_delimiter = ',', value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// A private authority is believed no more.
    Distrust {
        /// Which.
        name: String,
    },
    /// Name servers in place of those of the leases; without one those of the leases are asked again.
    Resolver {
        /// At most four.
        #[arg(value_name = "ADDRESS")]
        servers: Vec<IpAddr>,
    },
}

pub(crate) fn run(desk: &Desk, command: &Command, as_json: bool) -> Result<Ended> {
    let status = match command {
        Command::Status => desk.perform("egress.status", "{}")?,
        Command::Trust { name, hosts } => {
            let trusted = json!({ "name": name, "hosts": hosts, "pem": sealing::input()? });
            desk.perform_with("egress.trust", &trusted.to_string())?
        }
        Command::Distrust { name } => {
            desk.perform("egress.distrust", &json!({ "name": name }).to_string())?
        }
        Command::Resolver { servers } => {
            desk.perform("egress.resolver", &json!({ "servers": servers }).to_string())?
        }
    };
    if as_json {
        render::object(&status);
    } else {
        lines(&status).iter().for_each(|line| render::line(line));
    }
    Ok(Ended::Done)
}

/// What is set, for people.
fn lines(status: &Json) -> Vec<String> {
    let list = |of: &Json, name: &str| {
        let entries = of.get(name).and_then(Json::as_array).into_iter().flatten();
        let entries: Vec<String> = entries.map(render::text).collect();
        visible(&entries.join(", "))
    };
    let servers = list(status, "servers");
    let servers = if servers.is_empty() { "those of the leases".to_owned() } else { servers };
    let mut lines = vec![format!("name servers  {servers}")];
    for authority in status.get("authorities").and_then(Json::as_array).into_iter().flatten() {
        let name = authority.get("name").map(render::text).unwrap_or_default();
        lines.push(format!("authority     {name} for {}", list(authority, "hosts")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_said() {
        assert_eq!(lines(&json!({})), ["name servers  those of the leases"]);
        let status = json!({
            "servers": ["192.0.2.53", "2001:db8::53"],
            "authorities": [{ "name": "corp", "hosts": ["git.corp.example", "192.0.2.7"] }],
        });
        let shown = lines(&status);
        assert_eq!(shown[0], "name servers  192.0.2.53, 2001:db8::53");
        assert_eq!(shown[1], "authority     corp for git.corp.example, 192.0.2.7");
    }
}
