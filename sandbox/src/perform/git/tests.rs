//! The verbs of git on real directories, beside git itself where that is what shows that both mean the
//! same; `hostile` holds repositories that mean harm.

mod hostile;
mod same;

use super::folder::Folder;
use super::object::Person;
use super::*;
use rustix::fs::CWD;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of a test, gone with it.
pub(super) struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Place {
    fn empty() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("git-{}-{number}", std::process::id()));
        std::fs::create_dir_all(path.join("repository")).unwrap();
        Self(path)
    }

    /// With an empty repository that was made here.
    fn new() -> Self {
        let place = Self::empty();
        make::init_in(&place.folder()).unwrap();
        place
    }

    fn top(&self) -> PathBuf {
        self.0.join("repository")
    }

    fn folder(&self) -> Folder {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        Folder::new(rustix::fs::openat(CWD, self.top(), flags, Mode::empty()).unwrap())
    }

    fn open(&self) -> Repository {
        Repository::open(self.folder()).unwrap()
    }

    fn fails(&self) -> &'static str {
        Repository::open(self.folder()).map(drop).unwrap_err()
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.top().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.top().join(path)).unwrap();
    }

    fn link(&self, target: impl AsRef<Path>, path: &str) {
        std::os::unix::fs::symlink(target, self.top().join(path)).unwrap();
    }

    fn status(&self) -> Json {
        status_of(&mut self.open()).unwrap()
    }

    fn add(&self) -> Json {
        make::add_in(&mut self.open(), b"", "ca11").unwrap()
    }

    fn commit(&self, message: &str, time: i64) -> String {
        let author = Person { name: "A B".to_owned(), email: "a@b".to_owned(), time };
        let answer = make::commit_in(&mut self.open(), message, author, "ca11").unwrap();
        answer.get("id").and_then(Json::as_str).unwrap().to_owned()
    }

    /// What git says, without any configuration but the repository's own.
    fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(["-c", "user.name=A B", "-c", "user.email=a@b", "-c", "gc.auto=0"]);
        command.args(arguments).current_dir(self.top());
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_COMMITTER_DATE", "@1700000000 +0000"),
            ("GIT_AUTHOR_DATE", "@1700000000 +0000"),
        ] {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn list<'a>(answer: &'a Json, name: &str) -> &'a Vec<Json> {
    answer.get(name).and_then(Json::as_array).unwrap()
}

fn word<'a>(answer: &'a Json, name: &str) -> &'a str {
    answer.get(name).and_then(Json::as_str).unwrap()
}

#[test]
fn a_repository_has_a_life_and_git_finds_nothing_wrong_with_it() {
    let place = Place::new();
    assert_eq!(make::init_in(&place.folder()).unwrap_err(), "exists");
    let nobody = || Person { name: "a".to_owned(), email: "b".to_owned(), time: 0 };
    let empty = make::commit_in(&mut place.open(), "m", nobody(), "ca11").unwrap_err();
    assert_eq!(empty, "nothing_to_commit");
    assert_eq!(log_of(&mut place.open(), "HEAD", 9).unwrap_err(), "unknown_revision");
    place.write("a.txt", "one\ntwo\n");
    place.write("d/e/f.txt", "deep\n");
    place.write("d.txt", "sorts between d and d/\n");
    place.write(".gitignore", "*.o\n");
    place.write("x.o", "left out");
    let status = place.status();
    assert_eq!(*list(&status, "untracked"), [".gitignore", "a.txt", "d.txt", "d/"]);
    assert_eq!(status.get("branch"), Some(&json!("main")));
    assert_eq!(make::add_in(&mut place.open(), b"x.o", "ca11").unwrap_err(), "ignored");
    assert_eq!(make::add_in(&mut place.open(), b"y", "ca11").unwrap_err(), "not_found");
    assert_eq!(list(&place.add(), "added").len(), 4);
    assert_eq!(list(&place.status(), "staged").len(), 4);
    let first = place.commit("begin\n\nwith a body", 1_000);
    let clean = place.status();
    for name in ["staged", "unstaged", "untracked", "conflicted"] {
        assert!(list(&clean, name).is_empty(), "{clean}");
    }
    place.write("a.txt", "one\n2\n");
    place.remove("d.txt");
    let diff = diff_files(&mut place.open()).unwrap();
    let patch =
        "diff --git a/a.txt b/a.txt\n--- a/a.txt\n+++ b/a.txt\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n";
    assert!(word(&diff, "patch").starts_with(patch), "{diff}");
    assert!(word(&diff, "patch").contains("deleted file mode 100644"), "{diff}");
    assert_eq!(list(&place.status(), "unstaged").len(), 2);
    assert_eq!(*list(&place.add(), "removed"), ["d.txt"]);
    assert!(word(&diff_staged(&mut place.open()).unwrap(), "patch").starts_with(patch));
    let second = place.commit("change", 2_000);
    let log = log_of(&mut place.open(), "HEAD", 9).unwrap();
    let ids: Vec<&str> = list(&log, "commits").iter().map(|it| word(it, "id")).collect();
    assert_eq!(ids, [second.as_str(), first.as_str()]);
    let show = show_of(&mut place.open(), "HEAD~1", None).unwrap();
    assert_eq!(
        (word(&show, "id"), word(&show, "message")),
        (first.as_str(), "begin\n\nwith a body\n")
    );
    let file = show_of(&mut place.open(), first.split_at(7).0, Some("d/e/f.txt")).unwrap();
    assert_eq!(word(&file, "content"), "deep\n");
    make::branch_in(&mut place.open(), "feature/one", "HEAD^").unwrap();
    for (name, code) in [
        ("feature/one", "exists"),
        ("feature", "exists"),
        ("main/x", "exists"),
        ("../x", "bad_name"),
        ("a..b", "bad_name"),
        ("x.lock", "bad_name"),
    ] {
        assert_eq!(make::branch_in(&mut place.open(), name, "HEAD").unwrap_err(), code, "{name}");
    }
    let branches = branches_of(&place.open()).unwrap();
    assert_eq!(
        *list(&branches, "branches"),
        [
            json!({"name": "feature/one", "commit": first}),
            json!({"name": "main", "commit": second})
        ]
    );
    place.git(&["fsck", "--strict"]);
    assert_eq!(place.git(&["status", "--porcelain"]), "");
    assert_eq!(
        place.git(&["log", "--format=%H %an %ae %ct"]).lines().next().unwrap(),
        format!("{second} A B a@b 2000")
    );
    assert!(!place.git(&["ls-files", "-s"]).is_empty());
}

#[test]
fn what_cannot_be_committed_is_refused() {
    let place = Place::new();
    place.write("a", "a");
    place.add();
    let person = |name: &str, email: &str| Person {
        name: name.to_owned(),
        email: email.to_owned(),
        time: 0,
    };
    let commit = |message: &str, who: Person| {
        make::commit_in(&mut place.open(), message, who, "ca11").map(drop)
    };
    for (name, email) in [("", "b"), ("a\nparent 0", "b"), ("a <x>", "b"), ("a", "b> 0 +0000\n")] {
        assert_eq!(commit("m", person(name, email)), Err("bad_author"), "{name:?} {email:?}");
    }
    assert_eq!(commit(" \n", person("a", "b")), Err("no_message"));
    place.write(".git/MERGE_HEAD", "");
    assert_eq!(commit("m", person("a", "b")), Err("unfinished"));
    place.remove(".git/MERGE_HEAD");
    place.write(".git/refs/heads/main.lock", "");
    assert_eq!(commit("m", person("a", "b")), Err("locked"));
    place.remove(".git/refs/heads/main.lock");
    place.write(".git/index.lock", "");
    assert_eq!(make::add_in(&mut place.open(), b"", "ca11").unwrap_err(), "locked");
    place.remove(".git/index.lock");
    assert_eq!(commit("m", person("a", "b")), Ok(()));
    assert_eq!(commit("m", person("a", "b")), Err("nothing_to_commit"));
    assert!(!place.top().join(".git/refs/heads/main.lock").exists());
}

#[test]
fn the_longest_file_is_kept_and_a_longer_one_refused() {
    let place = Place::new();
    // what deflating makes longer
    let mut state = 1_u32;
    let mut odd = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    let longest: Vec<u8> = (0..object::OBJECT_BYTES_MAX).map(|_| odd()).collect();
    place.write("a", &longest);
    place.add();
    place.commit("one", 1);
    let blob = object::id(Kind::Blob, &longest).unwrap();
    assert!(place.open().store.data(&blob, Kind::Blob).unwrap() == longest);
    assert_eq!(show_of(&mut place.open(), "HEAD", Some("a")).unwrap_err(), "too_large");
    place.write("b", [longest.as_slice(), b"x"].concat());
    assert_eq!(make::add_in(&mut place.open(), b"", "ca11").unwrap_err(), "too_large");
    assert!(!place.top().join(".git/index.lock").exists());
}

#[test]
fn a_patch_has_a_bound_and_says_so() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        place.write(name, "x\n".repeat(10));
    }
    place.write("lines", "");
    place.add();
    place.commit("one", 1);
    place.write("a", "y\n".repeat(10));
    place.write("b", format!("{}\n", "z".repeat(1 << 20)));
    place.write("c", "y\n".repeat(10));
    place.write("lines", "x\n".repeat(50_001));
    let diff = diff_files(&mut place.open()).unwrap();
    assert!(word(&diff, "patch").contains("+++ b/a\n") && !word(&diff, "patch").contains("b/c"));
    assert_eq!(diff.get("truncated"), Some(&json!(true)));
    let counts: Vec<&Json> = list(&diff, "files").iter().map(|it| &it["added"]).collect();
    assert_eq!(counts, [&json!(10), &json!(1), &Json::Null, &Json::Null]);
    assert_eq!(list(&diff, "files")[3]["binary"], true);
}

#[test]
fn a_file_that_becomes_a_directory_and_one_that_becomes_a_file() {
    let place = Place::new();
    place.write("a", "file");
    place.write("b/c", "beneath");
    place.add();
    place.commit("one", 1);
    place.remove("a");
    place.write("a/x", "beneath");
    std::fs::remove_dir_all(place.top().join("b")).unwrap();
    place.write("b", "file");
    assert_eq!(list(&place.status(), "unstaged").len(), 2);
    place.add();
    place.commit("two", 2);
    assert_eq!(place.git(&["ls-tree", "-r", "--name-only", "HEAD"]), "a/x\nb\n");
    assert_eq!(place.git(&["status", "--porcelain"]), "");
    assert!(list(&place.status(), "unstaged").is_empty());
}
