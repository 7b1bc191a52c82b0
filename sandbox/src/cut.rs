//! `cut`: from the effects of a call to the smallest cage that the kernel can express. Pure. Every
//! widening beyond the effects is a row of docs/threats.md.

use capabilities::programs::{OPEN, PROGRAMS};
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::path::WORKSPACE;
use contract::perform::{Access, Grant, Limits};
use contract::rings;
use std::net::SocketAddr;

/// Where a program's folder of the toolbox is in the cage that runs it.
pub(crate) const PROGRAM: &str = "/usr";

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

/// A call's cage, beyond what every cage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Which files are mounted.
    pub(crate) view: View,
    /// Whether they are mounted writable.
    pub(crate) writable: bool,
    /// The program of the toolbox whose folder is mounted.
    pub(crate) program: Option<&'static str>,
    /// What Landlock lets the worker keep.
    pub(crate) grants: Vec<Grant>,
    /// What it may connect to.
    pub(crate) places: Vec<SocketAddr>,
    /// What it may use: no more than its call was given.
    pub(crate) limits: Limits,
    /// Longest answer, in bytes.
    pub(crate) answer_bytes_max: u64,
    /// Of a ring that is tried: the code that it ends with where the ring holds.
    pub(crate) tries: Option<&'static str>,
}

/// The cage for these effects of a call that was given `given`, with paths as the cage's view has them.
pub(crate) fn cut(capability: &str, effects: &[Effect], given: &Limits) -> Cut {
    let view = view(capability, effects);
    let program = program(effects);
    let mut grants = grants(effects, view);
    grants.extend(program.map(|_| Grant { path: PROGRAM.to_owned(), access: Access::Execute }));
    grants.sort();
    grants.dedup();
    let changes = |effect: &Effect| matches!(effect.kind, Kind::Write | Kind::Delete | Kind::Code);
    let writable = view == View::WithTrash || effects.iter().any(changes);
    let tries = (capability == rings::CAPABILITY).then(|| tried(effects)).flatten();
    let (limits, answer_bytes_max) = limits(effects, given);
    let places = places(effects);
    Cut { view, writable, program, grants, places, limits, answer_bytes_max, tries }
}

/// What is connected to: each address and port that an effect has, and nothing that has only one of both.
pub(crate) fn places(effects: &[Effect]) -> Vec<SocketAddr> {
    let of = |effect: &Effect| match (effect.get(Field::Address)?, effect.get(Field::Port)?) {
        (Value::Text(address), Value::Number(port)) => {
            Some(SocketAddr::new(address.parse().ok()?, u16::try_from(*port).ok()?))
        }
        _ => None,
    };
    effects.iter().filter(|effect| effect.kind == Kind::Connect).filter_map(of).collect()
}

/// Memory, time and the length of an answer, by what a call does at most.
pub(crate) fn limits(effects: &[Effect], given: &Limits) -> (Limits, u64) {
    const MIB: u64 = 1 << 20;
    let most = effects.iter().map(|effect| match effect.kind {
        Kind::Observe => (16 * MIB, 10_000, MIB),
        Kind::Run => (96 * MIB, 30_000, 32 * MIB),
        Kind::Code => (96 * MIB, 120_000, 32 * MIB),
        _ => (96 * MIB, 30_000, 64 * MIB),
    });
    // a call that does nothing that can be named gets what one that looks does
    let none = (16 * MIB, 10_000, MIB);
    let max = |a: (u64, u64, u64), b: (u64, u64, u64)| (a.0.max(b.0), a.1.max(b.1), a.2.max(b.2));
    let (memory_bytes, wall_ms, answer_bytes_max) = most.fold(none, max);
    let limits = Limits {
        memory_bytes: memory_bytes.min(given.memory_bytes),
        wall_ms: wall_ms.min(given.wall_ms),
        ..*given
    };
    (limits, answer_bytes_max)
}

/// How a call that tries a ring ends where the ring holds.
fn tried(effects: &[Effect]) -> Option<&'static str> {
    let subject = effects.iter().find_map(|effect| effect.get(Field::Subject));
    match subject {
        Some(Value::Text(name)) => rings::find(name).map(|ring| ring.ends),
        _ => None,
    }
}

fn view(capability: &str, effects: &[Effect]) -> View {
    match capability {
        "filesystem.delete@1" | "filesystem.restore@1" => View::WithTrash,
        _ if effects.iter().any(|it| it.kind == Kind::Code || it.get(Field::Path).is_some()) => {
            View::Workspace
        }
        _ => View::Nothing,
    }
}

/// The program that is run, if it is one of the toolbox's.
fn program(effects: &[Effect]) -> Option<&'static str> {
    let run = effects.iter().find(|effect| matches!(effect.kind, Kind::Run | Kind::Code))?;
    let Some(Value::Text(name)) = run.get(Field::Program) else { return None };
    let programs = if run.kind == Kind::Code { OPEN } else { PROGRAMS };
    programs.iter().map(|program| program.name).find(|known| known == name)
}

/// A name is made and removed in the directory above it, since that is what the kernel's rights on
/// names belong to.
fn grants(effects: &[Effect], view: View) -> Vec<Grant> {
    let mut grants = Vec::new();
    let renames = view == View::WithTrash || effects.iter().any(|e| e.kind == Kind::Delete);
    // code has its roots whole, of which there is one
    let roots = effects.iter().filter_map(|effect| effect.get(Field::Roots));
    if roots.into_iter().any(|roots| *roots == Value::List(vec![WORKSPACE.to_owned()])) {
        grants.push(Grant { path: WORKSPACE.to_owned(), access: Access::Own });
        // an interpreter looks for its library's modules by listing
        grants.push(Grant { path: PROGRAM.to_owned(), access: Access::Region });
    }
    for effect in effects {
        let Some(Value::Path(path)) = effect.get(Field::Path) else { continue };
        let path = path.as_str();
        let above = path.rsplit_once('/').map_or("/", |(above, _)| above);
        let above = if above.len() < WORKSPACE.len() { WORKSPACE } else { above };
        let (path, access) = match effect.kind {
            Kind::Read if effect.form == Form::Region => (path, Access::Region),
            Kind::Read => (path, Access::Read),
            // a region of anything but the workspace is not for writing, and the workspace itself not for moving
            Kind::Write | Kind::Delete
                if effect.form == Form::Region && !is_of_workspace(path, renames) =>
            {
                continue;
            }
            Kind::Write | Kind::Delete if renames => (above, Access::Rename),
            // what is made and written in it belongs to the directory itself
            Kind::Write if effect.form == Form::Region => (path, Access::Fill),
            Kind::Write => (above, Access::Write),
            _ => continue,
        };
        let prefix = if view == View::WithTrash { "/agent" } else { "" };
        grants.push(Grant { path: format!("{prefix}{path}"), access });
    }
    // what a person was shown is read again before anything is done
    for effect in effects.iter().filter(|effect| effect.expects.is_some()) {
        let Some(Value::Path(path)) = effect.get(Field::Path) else { continue };
        let access = if effect.form == Form::Region { Access::Region } else { Access::Read };
        let prefix = if view == View::WithTrash { "/agent" } else { "" };
        grants.push(Grant { path: format!("{prefix}{}", path.as_str()), access });
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
    grants
}

/// Whether a path lies beneath the workspace, or is the workspace itself unless it is to be moved.
fn is_of_workspace(path: &str, moves: bool) -> bool {
    let rest = path.strip_prefix(WORKSPACE);
    rest.is_some_and(|rest| (rest.is_empty() && !moves) || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use capabilities::find;
    use contract::found::Found;
    use serde_json::json;

    fn check(name: &str, input: &serde_json::Value) -> Vec<(String, Access)> {
        let declaration = find(name).unwrap();
        let effects = declaration.lower(&declaration.accept(input).unwrap()).unwrap();
        let Cut { grants, .. } = cut(&declaration.id(), &effects, &Limits::MOST);
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
            ("filesystem.search", json!({"path": "a"}), false),
            ("filesystem.archive", json!({"from": "a", "to": "b"}), true),
            ("filesystem.extract", json!({"from": "a", "to": "b"}), true),
            ("filesystem.move_directory", json!({"from": "a", "to": "b"}), true),
            ("git.status", json!({"path": "a"}), false),
            ("git.show", json!({"path": "a"}), false),
            ("git.commit", json!({"path": "a", "message": "m"}), true),
        ] {
            let declaration = find(name).unwrap();
            let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
            let cut = cut(&declaration.id(), &effects, &Limits::MOST);
            assert_eq!(cut.writable, changes, "{name}");
        }
    }

    #[test]
    fn what_a_person_was_shown_can_be_read_again_and_nothing_beside_it() {
        let grants_of = |name: &str, input: serde_json::Value, found: Option<&Found>| {
            let declaration = find(name).unwrap();
            let mut effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
            for at in declaration.expects(&effects) {
                if let (Some(found), Some(effect)) = (found, effects.get_mut(at)) {
                    *effect = effect.clone().expecting(found.clone());
                }
            }
            let Cut { grants, .. } = cut(&declaration.id(), &effects, &Limits::MOST);
            grants.into_iter().map(|grant| (grant.path, grant.access)).collect::<Vec<_>>()
        };
        let found = Found::Directory { names: 0 };
        let path = |path: &str| path.to_owned();
        let write = json!({"path": "a/b", "content": "x"});
        assert_eq!(
            grants_of("filesystem.write", write.clone(), None),
            [(path("/workspace/a"), Access::Write)]
        );
        assert_eq!(
            grants_of("filesystem.write", write, Some(&found)),
            [(path("/workspace/a"), Access::Write), (path("/workspace/a/b"), Access::Read)]
        );
        let delete = json!({"path": "a/b"});
        let moves = json!({"from": "a/x", "to": "b/y"});
        for (name, input) in [("filesystem.delete", delete), ("filesystem.move_directory", moves)] {
            // what is removed is read anyway: whether it is empty, how much it is
            let bare = grants_of(name, input.clone(), None);
            assert_eq!(grants_of(name, input, Some(&found)), bare, "{name}");
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
    fn a_program_gets_its_folder_and_the_files_that_its_command_names() {
        let path = |path: &str| path.to_owned();
        let sort = json!({"command": ["sort", "-o", "out/x", "in/y"]});
        assert_eq!(
            check("process.run", &sort),
            [
                (path("/usr"), Access::Execute),
                (path("/workspace/in/y"), Access::Read),
                (path("/workspace/out"), Access::Write),
            ]
        );
        let declaration = find("process.run").unwrap();
        let input = declaration.accept(&json!({"command": ["jq", "."], "stdin": "1"})).unwrap();
        let cut = cut("process.run@1", &declaration.lower(&input).unwrap(), &Limits::MOST);
        assert_eq!((cut.view, cut.writable, cut.program), (View::Nothing, false, Some("jq")));
    }

    #[test]
    fn code_has_the_workspace_and_its_program_and_nothing_else() {
        let path = |path: &str| path.to_owned();
        let input = json!({"command": ["python3", "a.py"], "expect": "00".repeat(32)});
        assert_eq!(
            check("process.run_code", &input),
            [
                (path("/usr"), Access::Region),
                (path("/usr"), Access::Execute),
                (path("/workspace"), Access::Own),
            ]
        );
        let declaration = find("process.run_code").unwrap();
        let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
        let cut = cut(&declaration.id(), &effects, &Limits::MOST);
        assert_eq!((cut.view, cut.writable, cut.program), (View::Workspace, true, Some("python3")));
    }

    #[test]
    fn a_call_gets_what_its_effects_need_and_no_more_than_it_was_given() {
        let of = |name: &str, input: serde_json::Value, given: &Limits| {
            let declaration = find(name).unwrap();
            let effects = declaration.lower(&declaration.accept(&input).unwrap()).unwrap();
            let cut = cut(&declaration.id(), &effects, given);
            (cut.limits.memory_bytes >> 20, cut.limits.wall_ms, cut.answer_bytes_max >> 20)
        };
        let code = json!({"command": ["python3", "a.py"], "expect": "00".repeat(32)});
        assert_eq!(of("system.time", json!({}), &Limits::MOST), (16, 10_000, 1));
        assert_eq!(of("filesystem.read", json!({"path": "a"}), &Limits::MOST), (96, 30_000, 64));
        assert_eq!(of("process.run_code", code, &Limits::MOST), (96, 120_000, 32));
        let given = Limits { memory_bytes: 4 << 20, wall_ms: 7, ..Limits::MOST };
        assert_eq!(of("filesystem.read", json!({"path": "a"}), &given), (4, 7, 64));
    }

    #[test]
    fn a_region_is_read_and_an_exact_directory_only_listed() {
        let grants = check("filesystem.list", &json!({"path": "a"}));
        assert_eq!(grants, [("/workspace/a".to_owned(), Access::Region)]);
    }

    #[test]
    fn a_region_that_is_written_is_the_directory_and_nothing_beside_it() {
        let path = |path: &str| path.to_owned();
        assert_eq!(
            check("git.add", &json!({"path": "a"})),
            [(path("/workspace/a"), Access::Region), (path("/workspace/a/.git"), Access::Fill)]
        );
        assert_eq!(
            check("git.commit", &json!({"path": "a", "message": "m"})),
            [
                (path("/workspace/a/.git"), Access::Region),
                (path("/workspace/a/.git"), Access::Fill),
            ]
        );
        assert_eq!(
            check("git.log", &json!({"path": "a"})),
            [(path("/workspace/a/.git"), Access::Region)]
        );
        // made in the directory above, since it is not there yet
        assert_eq!(
            check("git.init", &json!({"path": "a"})),
            [(path("/workspace/a"), Access::Write), (path("/workspace/a/.git"), Access::Fill)]
        );
        assert_eq!(
            check("filesystem.extract", &json!({"from": "a.tar", "to": "b"})),
            [
                (path("/workspace/a.tar"), Access::Read),
                (path("/workspace/b"), Access::Read),
                (path("/workspace/b"), Access::Fill),
            ]
        );
        let changes = [Access::Write, Access::Fill, Access::Rename];
        for outside in ["/", "/etc", "/workspaces"] {
            for (name, input) in [
                ("git.commit", json!({"path": outside, "message": "m"})),
                ("filesystem.extract", json!({"from": "a.tar", "to": outside})),
                ("filesystem.move_directory", json!({"from": outside, "to": outside})),
            ] {
                let grants = check(name, &input);
                assert!(grants.iter().all(|(_, it)| !changes.contains(it)), "{name} {outside}");
            }
        }
    }

    #[test]
    fn a_directory_moves_between_two_others_and_nothing_is_written() {
        let path = |path: &str| path.to_owned();
        assert_eq!(
            check("filesystem.move_directory", &json!({"from": "a/x", "to": "b/y"})),
            [
                (path("/workspace/a"), Access::Rename),
                (path("/workspace/a/x"), Access::Region),
                (path("/workspace/b"), Access::Rename),
            ]
        );
        // the workspace itself has no place to go from, and is no place to go to
        let whole = check("filesystem.move_directory", &json!({"from": "/workspace", "to": "b"}));
        assert_eq!(
            whole,
            [(path("/workspace"), Access::Region), (path("/workspace"), Access::Rename)]
        );
        let onto = check("filesystem.move_directory", &json!({"from": "a/x", "to": "/workspace"}));
        assert_eq!(onto.iter().filter(|(_, it)| *it == Access::Rename).count(), 1);
    }

    #[test]
    fn a_packed_region_is_read_and_one_file_written_beside() {
        let path = |path: &str| path.to_owned();
        assert_eq!(
            check("filesystem.archive", &json!({"from": "a", "to": "b/a.tar"})),
            [(path("/workspace/a"), Access::Region), (path("/workspace/b"), Access::Write)]
        );
        let search = check("filesystem.search", &json!({"path": "a", "text": "x"}));
        assert_eq!(search, [(path("/workspace/a"), Access::Region)]);
    }

    #[test]
    fn nothing_above_the_workspace_is_ever_granted() {
        let grants = check("filesystem.write", &json!({"path": "/workspace", "content": ""}));
        assert_eq!(grants, [("/workspace".to_owned(), Access::Write)]);
    }
}
