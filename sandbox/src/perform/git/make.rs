//! The verbs that write: each writes beneath `.git` alone, what is new first and its name last.

use super::folder::Folder;
use super::index::{Entry, Index};
use super::object::{Commit, Id, Kind, Person};
use super::refs::{self, Head, Locked};
use super::store::Store;
use super::worktree::{self, Change, Worktree};
use super::{Answer, Repository, change, head_tree, revision, shown, top};
use crate::perform::Performed;
use crate::perform::filesystem::text;
use capabilities::{Accepted, Argument};
use contract::digits::hex;
use rustix::fs::FileType;
use serde_json::json;

/// Who commits when the caller does not say.
const NAME: &str = "agent";
const EMAIL: &str = "agent@box";
/// What a new repository says of itself; no verb here ever reads it again.
const CONFIG: &[u8] = b"[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n";
const HEAD: &[u8] = b"ref: refs/heads/main\n";
/// What there is while a merge, or the like, is not finished.
const UNFINISHED: [&[u8]; 5] =
    [b"MERGE_HEAD", b"CHERRY_PICK_HEAD", b"REVERT_HEAD", b"rebase-merge", b"rebase-apply"];

/// `git.init`.
pub(in crate::perform) fn init(input: &Accepted) -> Performed {
    init_in(&top(input)?)
}

pub(super) fn init_in(top: &Folder) -> Performed {
    if top.status(b".git")?.is_some() {
        return Err("exists");
    }
    for folder in [
        ".git",
        ".git/objects",
        ".git/objects/pack",
        ".git/refs",
        ".git/refs/heads",
        ".git/refs/tags",
    ] {
        top.make_folder(folder.as_bytes())?;
    }
    top.make_file(b".git/config", CONFIG, 0o644)?;
    // last: until then it is no repository
    top.make_file(b".git/HEAD", HEAD, 0o644)?;
    Ok(json!({ "branch": "main" }))
}

/// `git.add`.
pub(in crate::perform) fn add(input: &Accepted, call: [u8; 16]) -> Performed {
    let mut repository = Repository::of(input)?;
    let within = match (input.get("path"), input.get("file")) {
        (Some(Argument::Path(top)), Some(Argument::Path(file))) => {
            let rest = file.as_str().strip_prefix(top.as_str()).filter(|_| file.is_under(top));
            rest.ok_or("outside")?.trim_start_matches('/').to_owned()
        }
        _ => String::new(),
    };
    add_in(&mut repository, within.as_bytes(), &hex(&call))
}

pub(super) fn add_in(repository: &mut Repository, within: &[u8], call: &str) -> Performed {
    let Repository { top, git, store } = repository;
    let lock = Locked::take(git, "index")?;
    let mut index = Index::open(git)?;
    let worktree = Worktree::read(top, &index, false)?;
    let wanted = |path: &[u8]| {
        let rest = path.strip_prefix(within);
        within.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    let changes = worktree::changes(top, &index, &worktree)?;
    let changed = changes.iter().map(|(entry, change)| (entry.path.clone(), Some(*change)));
    let conflicted = index.entries.iter().filter(|entry| entry.stage() != 0);
    let conflicted = conflicted.map(|entry| (entry.path.clone(), None));
    let tracked: Vec<(Vec<u8>, Option<Change>)> =
        changed.chain(conflicted).filter(|(path, _)| wanted(path)).collect();
    let new: Vec<_> = worktree.unknown.iter().filter(|(path, _)| wanted(path)).collect();
    let known = index.entries.iter().any(|entry| wanted(&entry.path));
    if tracked.is_empty() && new.is_empty() && !known && !within.is_empty() {
        let there = top.status(within)?.is_some();
        return Err(if there { "ignored" } else { "not_found" });
    }
    let (mut added, mut removed, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
    for (path, change) in tracked {
        let is_file = top.status(&path)?.map(|it| FileType::from_raw_mode(it.st_mode));
        match (is_file, change) {
            (Some(FileType::RegularFile), _) => {
                take_in(top, store, &mut index, &path, call)?;
                added.push(shown(&path));
            }
            (Some(FileType::Symlink), _) => skipped.push(shown(&path)),
            _ => {
                index.remove(&path);
                removed.push(shown(&path));
            }
        }
    }
    for (path, kind) in new {
        if *kind == FileType::RegularFile {
            take_in(top, store, &mut index, path, call)?;
            added.push(shown(path));
        } else {
            skipped.push(shown(path));
        }
    }
    index.write(lock)?;
    Ok(json!({ "added": added, "removed": removed, "skipped": skipped }))
}

fn take_in(
    top: &Folder,
    store: &mut Store,
    index: &mut Index,
    path: &[u8],
    call: &str,
) -> Answer<()> {
    let Some((content, status)) = worktree::content(top, path)? else {
        // gone meanwhile
        index.remove(path);
        return Ok(());
    };
    let side = worktree::side(&content, &status)?;
    store.put(Kind::Blob, &content, call)?;
    index.put(Entry::new(path, side, &status));
    Ok(())
}

/// `git.commit`.
pub(in crate::perform) fn commit(input: &Accepted, call: [u8; 16]) -> Performed {
    let author = Person {
        name: text(input, "author").unwrap_or(NAME).to_owned(),
        email: text(input, "email").unwrap_or(EMAIL).to_owned(),
        time: i64::try_from(linux::clock::wall_us() / 1_000_000).unwrap_or(0),
    };
    commit_in(&mut Repository::of(input)?, text(input, "message")?, author, &hex(&call))
}

pub(super) fn commit_in(
    repository: &mut Repository,
    message: &str,
    author: Person,
    call: &str,
) -> Performed {
    let odd = |text: &str| {
        text.trim().is_empty() || text.contains(|c: char| c.is_control() || "<>".contains(c))
    };
    if odd(&author.name) || odd(&author.email) {
        return Err("bad_author");
    }
    if message.trim().is_empty() || message.contains('\0') {
        return Err("no_message");
    }
    let Repository { git, store, .. } = repository;
    for name in UNFINISHED {
        if git.status(name)?.is_some() {
            return Err("unfinished");
        }
    }
    let index = Index::open(git)?;
    if index.entries.iter().any(|entry| entry.stage() != 0) {
        return Err("unfinished");
    }
    let head = refs::head(git)?;
    let name = match &head {
        Head::Branch(name) => name.as_str(),
        Head::Detached(_) => "HEAD",
    };
    // from here on nobody else gives it another commit
    let lock = Locked::take(git, name)?;
    if refs::head(git)? != head {
        return Err("locked");
    }
    let parent = refs::head_id(git)?;
    let before = head_tree(git, store)?;
    let tree = change::write(store, &index, call)?;
    if before == Some(tree) || before.is_none() && index.entries.is_empty() {
        return Err("nothing_to_commit");
    }
    let files = change::trees(store, before, Some(tree))?.len();
    let message = format!("{}\n", message.trim_end());
    let (parents, committer) = (parent.into_iter().collect(), author.clone());
    let commit = Commit { tree, parents, author, committer, message };
    let id = store.put(Kind::Commit, &commit.write(), call)?;
    lock.set(format!("{id}\n").as_bytes())?;
    Ok(json!({ "id": id.to_string(), "branch": super::branch(&head), "files": files }))
}

/// `git.branch_create`.
pub(in crate::perform) fn branch_create(input: &Accepted) -> Performed {
    let at = text(input, "at").unwrap_or("HEAD");
    branch_in(&mut Repository::of(input)?, text(input, "name")?, at)
}

pub(super) fn branch_in(repository: &mut Repository, name: &str, at: &str) -> Performed {
    let full = format!("{}{name}", refs::BRANCHES);
    if !refs::is_name(&full) || name.starts_with('-') || name == "HEAD" {
        return Err("bad_name");
    }
    let (id, _): (Id, _) = revision::commit(repository, at)?;
    // one branch is no directory of another
    let beneath = |one: &str, other: &str| {
        one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let branches = refs::branches(&repository.git)?;
    if branches.keys().any(|it| beneath(it, name) || beneath(name, it)) {
        return Err("exists");
    }
    let lock = Locked::take(&repository.git, &full)?;
    if refs::find(&repository.git, &full)?.is_some() {
        return Err("exists");
    }
    lock.set(format!("{id}\n").as_bytes())?;
    Ok(json!({ "commit": id.to_string() }))
}
