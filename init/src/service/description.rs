//! Service descriptions and the table of edges: TOML of the verified root, every key known.

use crate::error::{BootError, While};
use contract::limits::NAME_BYTES_MAX;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

const SERVICES_MAX: usize = 32;

/// One service, as `/usr/lib/kruxos/services/NAME.toml` describes it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// Its name: the file's, without `.toml`.
    #[serde(skip)]
    pub(crate) name: String,
    /// The program; static, executed without arguments.
    pub(crate) program: String,
    /// User and group id.
    pub(crate) uid: u32,
    /// Capabilities that it keeps, as capabilities(7) names them, lower case, without `cap_`.
    pub(crate) capabilities: Vec<String>,
    /// A cgroup below the root that it may make others in; emptied before each start.
    #[serde(default)]
    pub(crate) delegated_cgroup: Option<String>,
    /// Directories that are its own: made and given to it, for it alone, before each start.
    #[serde(default)]
    pub(crate) owns: Vec<String>,
    /// Devices that are its own, where they are there.
    #[serde(default)]
    pub(crate) devices: Vec<String>,
    /// It may give init one descriptor to keep for its later runs.
    #[serde(default)]
    pub(crate) keeps: bool,
    /// Services that must be ready before this one is told to start.
    pub(crate) after: Vec<String>,
    /// It is told to start only when the boot's own calls went through: every ring of a cage held.
    #[serde(default)]
    pub(crate) after_diagnosis: bool,
    /// Time from its start to its `Ready`, in milliseconds.
    pub(crate) ready_ms_max: u64,
    /// Longest silence of a ready service, in milliseconds.
    pub(crate) watchdog_ms_max: u64,
    /// The seccomp allowlist: see [`linux::seccomp`].
    pub(crate) syscalls: Vec<String>,
    /// Landlock rules for files.
    pub(crate) files: Files,
    /// Landlock rules for TCP ports.
    pub(crate) tcp: Tcp,
    /// Bounds on what it uses.
    pub(crate) limits: Limits,
    /// When it is started again.
    pub(crate) restart: Restart,
}

/// Paths under which a service may read or write.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Files {
    /// It mounts, so it enters no Landlock domain: one that handles files forbids mounting, and any
    /// other forbids its children to rename between directories (docs/decisions/0005).
    pub(crate) mounts: bool,
    pub(crate) read: Vec<String>,
    pub(crate) write: Vec<String>,
}

/// TCP ports of a service.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tcp {
    pub(crate) bind: Vec<u16>,
    pub(crate) connect: Connect,
}

/// Where a service may connect to by TCP: `connect = "any"`, or a list of ports, which may be empty.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`connect` is a list of ports or \"any\"")]
pub(crate) enum Connect {
    Word(AnyPort),
    Ports(Vec<u16>),
}

/// The word for every port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AnyPort {
    Any,
}

/// Bounds of a service's cgroup and process.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    pub(crate) memory_bytes_max: u64,
    pub(crate) tasks_max: u64,
    pub(crate) open_files_max: u64,
}

/// Exits sooner than `healthy_ms_min` after the start double the wait before the next one.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    pub(crate) backoff_ms_min: u64,
    pub(crate) backoff_ms_max: u64,
    pub(crate) healthy_ms_min: u64,
}

/// One row of the table of edges: a pair of sockets between two services.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edge {
    pub(crate) name: String,
    pub(crate) between: [String; 2],
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EdgeTable {
    #[serde(default)]
    edge: Vec<Edge>,
}

/// Everything that runs on this box, in an order in which each service follows those it needs.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) services: Vec<Description>,
    pub(crate) edges: Vec<Edge>,
}

/// Reads a folder of descriptions and the table of edges.
pub(crate) fn load(folder: &str, edges: &str) -> Result<Plan, BootError> {
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).during("list", folder)?.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let text = std::fs::read_to_string(entry.path()).during("read", &name)?;
        texts.push((name, text));
    }
    let table = std::fs::read_to_string(edges).during("read", edges)?;
    parse(texts, &table)
}

fn parse(texts: Vec<(String, String)>, table: &str) -> Result<Plan, BootError> {
    if texts.len() > SERVICES_MAX {
        return Err(BootError::new("read", "services", format!("more than {SERVICES_MAX}")));
    }
    let mut services = BTreeMap::new();
    for (file, text) in texts {
        let mut service: Description = toml::from_str(&text).during("read description", &file)?;
        let name = file.strip_suffix(".toml").filter(|n| n.len() <= NAME_BYTES_MAX);
        let name =
            name.ok_or_else(|| BootError::new("read description", &file, "not NAME.toml"))?;
        name.clone_into(&mut service.name);
        services.insert(name.to_owned(), service);
    }
    let EdgeTable { edge: edges } = toml::from_str(table).during("read", "table of edges")?;
    let mut names = BTreeSet::new();
    for edge in &edges {
        let [a, b] = &edge.between;
        let exists = |name: &String| name == super::own::NAME || services.contains_key(name);
        if a == b || !exists(a) || !exists(b) {
            return Err(BootError::new("edge", &edge.name, "it needs two services that exist"));
        }
        if !names.insert(edge.name.clone()) || edge.name.len() > NAME_BYTES_MAX {
            return Err(BootError::new("edge", &edge.name, "its name is taken or too long"));
        }
    }
    Ok(Plan { services: in_order(services)?, edges })
}

/// Sorts by dependency; a name that is not there, or a circle, ends the boot.
fn in_order(mut waiting: BTreeMap<String, Description>) -> Result<Vec<Description>, BootError> {
    let mut ordered: Vec<Description> = Vec::new();
    while !waiting.is_empty() {
        let next = waiting
            .values()
            .find(|service| {
                service.after.iter().all(|need| ordered.iter().any(|s| s.name == *need))
            })
            .map(|service| service.name.clone());
        let Some(service) = next.and_then(|name| waiting.remove(&name)) else {
            let names: Vec<&str> = waiting.keys().map(String::as_str).collect();
            let cause = "each waits for one that does not exist or waits for it";
            return Err(BootError::new("order services", names.join(" "), cause));
        };
        ordered.push(service);
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(after: &str) -> String {
        format!(
            "program = \"/usr/bin/x\"\nuid = 900\ncapabilities = []\nafter = {after}\n\
             ready_ms_max = 1\nwatchdog_ms_max = 1\nsyscalls = []\n[files]\nmounts = false\nread = []\nwrite = []\n\
             [tcp]\nbind = []\nconnect = []\n[limits]\nmemory_bytes_max = 1\ntasks_max = 1\n\
             open_files_max = 1\n[restart]\nbackoff_ms_min = 1\nbackoff_ms_max = 2\nhealthy_ms_min = 3\n"
        )
    }

    fn check(services: &[(&str, &str)], edges: &str) -> Result<Vec<String>, String> {
        let texts = services.iter().map(|(n, a)| (format!("{n}.toml"), service(a))).collect();
        let plan = parse(texts, edges).map_err(|error| error.to_string())?;
        Ok(plan.services.into_iter().map(|service| service.name).collect())
    }

    #[test]
    fn services_follow_what_they_need() {
        let order = check(&[("a", "[\"c\"]"), ("b", "[]"), ("c", "[\"b\"]")], "").unwrap();
        assert_eq!(order, ["b", "c", "a"]);
    }

    #[test]
    fn circles_and_strangers_end_the_boot() {
        assert!(check(&[("a", "[\"b\"]"), ("b", "[\"a\"]")], "").is_err());
        assert!(check(&[("a", "[\"ghost\"]")], "").is_err());
        let edge =
            |a: &str, b: &str| format!("[[edge]]\nname = \"e\"\nbetween = [\"{a}\", \"{b}\"]\n");
        assert!(check(&[("a", "[]"), ("b", "[]")], &edge("a", "b")).is_ok());
        assert!(check(&[("a", "[]")], &edge("a", "ghost")).is_err());
        assert!(check(&[("a", "[]")], &edge("a", "a")).is_err());
        assert!(check(&[("a", "[]"), ("b", "[]")], &edge("a", "b").repeat(2)).is_err());
    }

    #[test]
    fn the_services_of_the_image_are_described_whole_and_their_filters_compile() {
        let tree = concat!(env!("CARGO_MANIFEST_DIR"), "/../mkosi.extra/usr/lib/kruxos");
        let plan = load(&format!("{tree}/services"), &format!("{tree}/edges.toml")).unwrap();
        for service in plan.services {
            let filter = linux::seccomp::Filter::allow(&service.syscalls);
            assert!(filter.is_ok(), "{}: {filter:?}", service.name);
        }
    }

    #[test]
    fn a_service_connects_to_the_ports_of_a_list_or_to_any() {
        let with = |word: &str| {
            let text = service("[]").replace("connect = []", &format!("connect = {word}"));
            parse(vec![("a.toml".to_owned(), text)], "").map(|mut plan| plan.services.remove(0).tcp)
        };
        assert_eq!(with("\"any\"").unwrap().connect, Connect::Word(AnyPort::Any));
        assert_eq!(with("[443, 53]").unwrap().connect, Connect::Ports(vec![443, 53]));
        assert_eq!(with("[]").unwrap().connect, Connect::Ports(Vec::new()));
        for wrong in ["\"all\"", "\"\"", "[\"any\"]", "[70000]", "443", "true"] {
            let error = with(wrong).unwrap_err().to_string();
            assert!(error.contains("a list of ports or \"any\""), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let text = service("[]").replace("uid", "user");
        assert!(parse(vec![("a.toml".to_owned(), text)], "").is_err());
    }
}
