//! `cut`: from the effects of a call to the smallest rules that Landlock can express. Pure. Every
//! widening beyond the effects is a row of docs/threats.md.

use contract::effect::{Effect, Field, Kind, Value};
use contract::path::WORKSPACE;
use contract::perform::{Access, Grant};

/// What of the agent's directory is mounted in the cage, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// No file at all.
    Nothing,
    /// The workspace, at `/workspace`.
    Workspace,
    /// The workspace and the trash beside it, in one mount at `/agent`, so that a name can move.
    WithTrash,
}

/// The view that a capability gets.
pub(crate) fn view(capability: &str) -> View {
    match capability {
        "filesystem.delete@1" | "filesystem.restore@1" => View::WithTrash,
        other if other.starts_with("filesystem.") => View::Workspace,
        _ => View::Nothing,
    }
}

/// Whether a call may change its files at all; they are mounted read-only otherwise.
pub(crate) fn writes(effects: &[Effect], view: View) -> bool {
    let changes = |effect: &Effect| matches!(effect.kind, Kind::Write | Kind::Delete);
    view == View::WithTrash || effects.iter().any(changes)
}

/// The rules for these effects, with paths as the cage's view has them. A name is made and removed
/// in the directory above it, since that is what the kernel's rights on names belong to.
pub(crate) fn cut(effects: &[Effect], view: View) -> Vec<Grant> {
    let mut grants = Vec::new();
    let renames = view == View::WithTrash || effects.iter().any(|e| e.kind == Kind::Delete);
    for effect in effects {
        let Some(Value::Path(path)) = effect.get(Field::Path) else { continue };
        let path = path.as_str();
        let above = path.rsplit_once('/').map_or("/", |(above, _)| above);
        let above = if above.len() < WORKSPACE.len() { WORKSPACE } else { above };
        let (path, access) = match effect.kind {
            Kind::Read => (path, Access::Read),
            Kind::Write | Kind::Delete if renames => (above, Access::Rename),
            Kind::Write => (above, Access::Write),
            _ => continue,
        };
        let prefix = if view == View::WithTrash { "/agent" } else { "" };
        grants.push(Grant { path: format!("{prefix}{path}"), access });
    }
    if view == View::WithTrash {
        grants.push(Grant { path: "/agent/trash".to_owned(), access: Access::Rename });
        // a directory is deleted only when it is empty, which takes reading its names
        let deleted = effects.iter().filter(|effect| effect.kind == Kind::Delete);
        for path in deleted.filter_map(|effect| effect.get(Field::Path)) {
            if let Value::Path(path) = path {
                let path = format!("/agent{}", path.as_str());
                grants.push(Grant { path, access: Access::Read });
            }
        }
    }
    grants.sort();
    grants.dedup();
    grants
}

#[cfg(test)]
mod tests {
    use super::*;
    use capabilities::find;
    use serde_json::json;

    fn check(name: &str, input: &serde_json::Value) -> Vec<(String, Access)> {
        let declaration = find(name).unwrap();
        let effects = declaration.lower(&declaration.accept(input).unwrap()).unwrap();
        let grants = cut(&effects, view(&declaration.id()));
        grants.into_iter().map(|grant| (grant.path, grant.access)).collect()
    }

    #[test]
    fn a_read_is_cut_to_its_file() {
        let grants = check("filesystem.read", &json!({"path": "a/b"}));
        assert_eq!(grants, [("/workspace/a/b".to_owned(), Access::Read)]);
    }

    #[test]
    fn names_are_made_and_removed_in_the_directory_above() {
        let grants = check("filesystem.move", &json!({"from": "a/x", "to": "b/y"}));
        let path = |path: &str| path.to_owned();
        assert_eq!(
            grants,
            [
                (path("/workspace/a"), Access::Rename),
                (path("/workspace/a/x"), Access::Read),
                (path("/workspace/b"), Access::Rename),
            ]
        );
    }

    #[test]
    fn a_call_that_only_reads_gets_its_files_read_only() {
        for (name, input, changes) in [
            ("filesystem.read", json!({"path": "a"}), false),
            ("filesystem.list", json!({"path": "a"}), false),
            ("filesystem.stat", json!({"path": "a"}), false),
            ("filesystem.append", json!({"path": "a", "content": ""}), true),
            ("filesystem.mkdir", json!({"path": "a"}), true),
            ("filesystem.copy", json!({"from": "a", "to": "b"}), true),
            ("filesystem.delete", json!({"path": "a"}), true),
        ] {
            let declaration = find(name).unwrap();
            let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
            assert_eq!(writes(&effects, view(&declaration.id())), changes, "{name}");
        }
    }

    #[test]
    fn only_delete_and_restore_see_the_trash() {
        let trash = |name: &str, input: serde_json::Value| {
            check(name, &input).iter().any(|(path, _)| path == "/agent/trash")
        };
        assert!(trash("filesystem.delete", json!({"path": "a"})));
        assert!(!trash("filesystem.write", json!({"path": "a", "content": ""})));
    }

    #[test]
    fn nothing_above_the_workspace_is_ever_granted() {
        let grants = check("filesystem.write", &json!({"path": "/workspace", "content": ""}));
        assert_eq!(grants, [("/workspace".to_owned(), Access::Write)]);
    }
}
