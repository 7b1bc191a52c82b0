//! What git made is read as git reads it, and what is said here is what git says.

use super::*;
use std::collections::BTreeSet;

/// A history with what is seldom: many versions of long files, a file that is executed, one that is no
/// text, one without an end of line, one that is gone.
fn history() -> Place {
    let place = Place::empty();
    place.git(&["init", "-q", "-b", "main"]);
    let long = |version: usize| -> String {
        (0..2_000)
            .map(|line| format!("line {line} {}\n", if line % 97 == version { "new" } else { "" }))
            .collect()
    };
    for version in 0..12 {
        place.write("long.txt", long(version));
        place.write("src/deep/er/file.rs", format!("fn a() {{ {version} }}"));
        place.write(&format!("src/{version}.txt"), "x\n".repeat(version));
        place.write("data.bin", [0, 1, u8::try_from(version).unwrap()]);
        if version == 6 {
            place.remove("src/3.txt");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(place.top().join("src/5.txt"), mode).unwrap();
        }
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", &format!("version {version}")]);
    }
    place.git(&["tag", "-a", "-m", "a tag", "v1", "HEAD~3"]);
    place.git(&["branch", "old", "HEAD~5"]);
    place
}

fn reads_as_git_does(place: &Place) {
    let log = log_of(&mut place.open(), "HEAD", 500).unwrap();
    let ids: Vec<&str> = list(&log, "commits").iter().map(|it| word(it, "id")).collect();
    assert_eq!(ids.join("\n"), place.git(&["rev-list", "HEAD"]).trim());
    for revision in ["HEAD", "HEAD~11", "v1", "old", "main~2", "refs/heads/old", "v1^0", "old^"] {
        let (id, commit) = revision::commit(&mut place.open(), revision).unwrap();
        let wanted = place.git(&["rev-parse", &format!("{revision}^{{commit}}")]);
        assert_eq!(id.to_string(), wanted.trim(), "{revision}");
        let files = change::trees(&mut place.open().store, None, Some(commit.tree)).unwrap();
        let ours: Vec<String> = files
            .iter()
            .map(|it| {
                let side = it.after.unwrap();
                format!("{:06o} blob {}\t{}", side.mode, side.id, shown(&it.path))
            })
            .collect();
        assert_eq!(ours.join("\n"), place.git(&["ls-tree", "-r", revision]).trim(), "{revision}");
        for file in files {
            let data = place.open().store.data(&file.after.unwrap().id, Kind::Blob).unwrap();
            assert_eq!(
                data.len().to_string(),
                place.git(&["cat-file", "-s", &format!("{revision}:{}", shown(&file.path))]).trim()
            );
        }
    }
    assert_eq!(list(&branches_of(&place.open()).unwrap(), "branches").len(), 2);
    let short = place.git(&["rev-parse", "--short=8", "HEAD~4"]);
    let (id, _) = revision::commit(&mut place.open(), short.trim()).unwrap();
    assert_eq!(id.to_string(), place.git(&["rev-parse", "HEAD~4"]).trim());
}

#[test]
fn objects_are_read_loose_and_packed_either_way() {
    let place = history();
    reads_as_git_does(&place);
    place.git(&["repack", "-q", "-a", "-d", "-f", "--depth=50", "--window=50"]);
    place.git(&["pack-refs", "--all"]);
    let packed = std::fs::read_dir(place.top().join(".git/objects/pack")).unwrap().count();
    assert!(packed >= 2 && !place.git(&["count-objects"]).is_empty());
    reads_as_git_does(&place);
    // what an object is changed from by its name, and not by its place
    place.git(&["-c", "repack.useDeltaBaseOffset=false", "repack", "-q", "-a", "-d", "-f"]);
    reads_as_git_does(&place);
}

#[test]
fn more_packs_than_may_be_open_are_read() {
    let place = Place::new();
    for number in 0..20 {
        place.write("a.txt", format!("version {number}\n"));
        place.git(&["add", "-A"]);
        place.git(&["commit", "-q", "-m", "m"]);
        place.git(&["repack", "-q", "-d"]);
    }
    let log = log_of(&mut place.open(), "HEAD", 500).unwrap();
    assert_eq!(list(&log, "commits").len(), 20);
    for back in 0..20 {
        let file = show_of(&mut place.open(), &format!("HEAD~{back}"), Some("a.txt")).unwrap();
        assert_eq!(word(&file, "content"), format!("version {}\n", 19 - back));
    }
    let short = place.git(&["rev-parse", "--short=10", "HEAD~17"]);
    assert!(revision::commit(&mut place.open(), short.trim()).is_ok());
}

#[test]
fn a_patch_makes_of_one_commit_the_other() {
    let place = history();
    for (from, to) in [("main~11", "main~1"), ("main", "main~7"), ("main~6", "main~5")] {
        // git itself takes no patch of what is no text without its content
        place.git(&["checkout", "-q", "--detach", from]);
        let answer = diff_commits(&mut place.open(), from, to).unwrap();
        let patch = word(&answer, "patch");
        let texts: String = patch
            .split_inclusive("diff --git ")
            .collect::<Vec<_>>()
            .concat()
            .split("diff --git ")
            .filter(|part| !part.is_empty() && !part.contains("Binary files"))
            .map(|part| format!("diff --git {part}"))
            .collect();
        std::fs::write(place.0.join("patch"), texts).unwrap();
        place.git(&["apply", "--index", "../patch"]);
        let left = place.git(&["diff", "--cached", "--name-only", to]);
        assert_eq!(left.trim(), "data.bin", "{from} {to}");
        place.git(&["reset", "-q", "--hard"]);
    }
}

#[test]
fn a_status_is_what_git_says() {
    let place = history();
    place.write(".gitignore", "*.log\n/build/\n!keep.log\n");
    place.write("src/.gitignore", "0.txt\nlocal\n");
    for (path, content) in [
        ("new.txt", "new"),
        ("a.log", "left out"),
        ("deep/keep.log", "kept"),
        ("build/x", "left out"),
        ("src/build/x", "taken in"),
        ("src/local", "left out"),
        ("fresh/a/b", "new"),
        ("long.txt", "short"),
        ("src/deep/er/file.rs", "staged"),
    ] {
        place.write(path, content);
    }
    place.git(&["add", "src/deep/er/file.rs"]);
    place.write("src/deep/er/file.rs", "staged and changed");
    place.git(&["rm", "-q", "--cached", "data.bin"]);
    place.remove("src/7.txt");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.top().join("src/8.txt"), mode).unwrap();
    for version in ["2", "3", "4"] {
        place.git(&["update-index", "--index-version", version]);
        let status = place.status();
        let mut ours: BTreeSet<(String, String)> = BTreeSet::new();
        let letter = |change: &str| change.chars().next().unwrap().to_ascii_uppercase();
        for (name, blank_first) in [("staged", false), ("unstaged", true)] {
            for one in list(&status, name) {
                let letter = letter(word(one, "change"));
                let mark = if blank_first { format!(" {letter}") } else { format!("{letter} ") };
                ours.insert((mark, word(one, "path").to_owned()));
            }
        }
        for path in list(&status, "untracked") {
            ours.insert(("??".to_owned(), path.as_str().unwrap().to_owned()));
        }
        let mut theirs = BTreeSet::new();
        for line in place.git(&["-c", "status.renames=false", "status", "--porcelain"]).lines() {
            let (mark, path) = line.split_at(2);
            let path = path.trim_start().to_owned();
            if mark == "??" {
                theirs.insert((mark.to_owned(), path));
                continue;
            }
            let (one, two) = mark.split_at(1);
            for mark in [format!("{one} "), format!(" {two}")] {
                if mark != "  " {
                    theirs.insert((mark, path.clone()));
                }
            }
        }
        assert_eq!(ours, theirs, "version {version}");
        assert!(ours.len() > 8);
    }
    place.add();
    assert_eq!(place.git(&["diff", "--name-only"]), "");
    place.git(&["fsck", "--strict"]);
}

#[test]
fn conflicts_are_named_and_taken_in_when_they_are_gone() {
    let place = Place::new();
    place.write("a", "base\n");
    place.add();
    place.commit("base", 1);
    place.git(&["checkout", "-q", "-b", "other"]);
    place.write("a", "other\n");
    place.git(&["commit", "-q", "-a", "-m", "other"]);
    place.git(&["checkout", "-q", "main"]);
    place.write("a", "main\n");
    place.git(&["commit", "-q", "-a", "-m", "main"]);
    let merged =
        Command::new("git").args(["merge", "-q", "other"]).current_dir(place.top()).output();
    assert!(!merged.unwrap().status.success());
    assert_eq!(*list(&place.status(), "conflicted"), ["a"]);
    place.write("a", "both\n");
    place.add();
    assert!(list(&place.status(), "conflicted").is_empty());
    assert_eq!(place.git(&["ls-files", "-u"]), "");
}
