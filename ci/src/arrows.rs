//! Which crate may depend on which: the table of ARCHITECTURE.md as data. An arrow that is not here
//! fails the build, and so does a package of the trusted core that links what it must not.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// Package, then the packages of ours that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("certificate", &[]),
    ("contract", &[]),
    ("linux", &[]),
    ("channel", &["contract", "linux"]),
    ("ledger", &["contract"]),
    ("acts", &["contract", "ledger"]),
    ("capabilities", &["contract"]),
    ("policy", &["contract"]),
    ("hours", &["contract", "policy"]),
    ("init", &["channel", "contract", "linux"]),
    ("net", &["channel", "contract", "linux"]),
    ("sandbox", &["capabilities", "channel", "contract", "linux"]),
    ("gateway", &["capabilities", "channel", "contract", "linux"]),
    ("pdp", &["acts", "capabilities", "channel", "contract", "hours", "ledger", "linux", "policy"]),
    ("audit", &["channel", "contract", "ledger", "linux"]),
    ("vault", &["channel", "contract", "ledger", "linux"]),
    ("console", &["channel", "contract", "linux"]),
    ("egress", &["capabilities", "channel", "contract", "linux"]),
    ("krux", &["acts", "capabilities", "certificate", "contract", "hours", "ledger", "policy"]),
    ("probe", &["capabilities", "channel", "contract", "ledger", "linux"]),
    ("tests", &["contract", "ledger"]),
    ("bench", &["contract", "ledger", "linux", "policy", "tests"]),
    ("ci", &[]),
];

/// Packages that never come into these, however far away (DESIGN: init and forker know no tokio).
const NEVER: &[(&str, &[&str])] = &[
    ("init", &["tokio", "serde_yaml", "serde_norway", "rustls"]),
    ("sandbox", &["tokio", "serde_yaml", "serde_norway", "rustls"]),
    ("pdp", &["tokio", "rustls", "ring", "age"]),
    ("audit", &["tokio", "serde_norway", "rustls", "ring", "age"]),
    ("vault", &["tokio", "serde_norway", "rustls"]),
    ("egress", &["age", "serde_norway", "ed25519-dalek", "policy"]),
    ("gateway", &["age", "serde_norway", "ed25519-dalek", "policy"]),
];

/// Most packages that may be linked into these, all of theirs and ours counted.
const PACKAGES_MAX: &[(&str, usize)] = &[("init", 42)];

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform=x86_64-unknown-linux-musl",
        ])
        .current_dir(root)
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    judge(&serde_json::from_slice(&output.stdout)?)
}

fn judge(metadata: &Value) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let graph = Graph::read(metadata).context("cargo metadata has another form than expected")?;
    for member in &graph.members {
        let name = graph.name(member);
        let Some((_, allowed)) = ARROWS.iter().find(|(package, _)| *package == name) else {
            wrong.push(format!("`{name}` has no row in ci/src/arrows.rs"));
            continue;
        };
        for target in graph.edges.get(member).into_iter().flatten() {
            let target_name = graph.name(target);
            if graph.members.contains(target) && !allowed.contains(&target_name) {
                wrong.push(format!("`{name}` may not depend on `{target_name}`"));
            }
        }
        let all: BTreeSet<&str> = graph.reach(member).iter().map(|id| graph.name(id)).collect();
        for (_, banned) in NEVER.iter().filter(|(package, _)| *package == name) {
            for banned in banned.iter().filter(|banned| all.contains(*banned)) {
                wrong.push(format!("`{name}` links `{banned}`"));
            }
        }
        for (_, most) in PACKAGES_MAX.iter().filter(|(package, _)| *package == name) {
            if all.len() > *most {
                wrong.push(format!("`{name}` links {} packages, at most {most}", all.len()));
            }
        }
    }
    Ok(wrong)
}

/// Package ids, their names, and the packages that each links (normal dependencies only).
struct Graph {
    members: BTreeSet<String>,
    names: BTreeMap<String, String>,
    edges: BTreeMap<String, Vec<String>>,
}

impl Graph {
    fn read(metadata: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let members = metadata.get("workspace_members")?.as_array()?.iter().filter_map(text);
        let mut names = BTreeMap::new();
        for package in metadata.get("packages")?.as_array()? {
            names.insert(text(package.get("id")?)?, text(package.get("name")?)?);
        }
        let mut edges = BTreeMap::new();
        for node in metadata.get("resolve")?.get("nodes")?.as_array()? {
            let dependencies = node.get("deps")?.as_array()?.iter().filter(|d| is_linked(d));
            let targets = dependencies.filter_map(|d| text(d.get("pkg")?)).collect();
            edges.insert(text(node.get("id")?)?, targets);
        }
        Some(Self { members: members.collect(), names, edges })
    }

    fn name(&self, id: &str) -> &str {
        self.names.get(id).map_or("?", String::as_str)
    }

    fn reach(&self, from: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut next = vec![from.to_owned()];
        while let Some(id) = next.pop() {
            if seen.insert(id.clone()) {
                next.extend(self.edges.get(&id).into_iter().flatten().cloned());
            }
        }
        seen
    }
}

fn is_linked(dependency: &Value) -> bool {
    let kinds = dependency.get("dep_kinds").and_then(Value::as_array);
    kinds.is_some_and(|kinds| kinds.iter().any(|kind| kind.get("kind").is_some_and(Value::is_null)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(from: &str, to: &str) -> Value {
        serde_json::json!({
            "workspace_members": ["a", "b"],
            "packages": [{"id": "a", "name": from}, {"id": "b", "name": to}],
            "resolve": {"nodes": [
                {"id": "a", "deps": [{"pkg": "b", "dep_kinds": [{"kind": null}]}]},
                {"id": "b", "deps": []}
            ]}
        })
    }

    #[test]
    fn an_arrow_that_is_not_in_the_table_is_found() {
        assert!(judge(&metadata("init", "channel")).unwrap().is_empty());
        assert_eq!(judge(&metadata("channel", "init")).unwrap().len(), 1);
        assert_eq!(judge(&metadata("stranger", "init")).unwrap().len(), 1);
    }
}
