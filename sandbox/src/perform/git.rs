//! Repositories of git, read and written here and by no program of git's: `.git/config` is never opened,
//! so that nothing it names is run, included or followed; hooks, filters and signatures are passed over.
//! Begin with [`Repository::open`]; `super::folder` is how files are reached, `store` the objects, `index` what
//! the next commit will hold, `worktree` the files themselves, `make` the verbs that write.
//!
//! Absent: links' targets, repositories in repositories, worktrees beside the repository, alternates,
//! names of objects in SHA-256 (docs/decisions/0014).

mod change;
mod ignore;
mod index;
pub(super) mod make;
mod object;
mod pack;
mod patch;
mod refs;
mod revision;
mod store;
mod worktree;

use super::filesystem::{number, open, place, text};
use super::folder::{self, Folder, shown};
use super::{Answer, Performed};
use capabilities::{Accepted, Argument};
use contract::base64;
use index::Index;
use object::{Commit, Id, Kind, MODE_REPOSITORY, MODE_TREE, Side, tree};
use patch::{Patch, Version};
use refs::Head;
use rustix::fs::{Mode, OFlags};
use serde_json::{Value as Json, json};
use std::collections::{BTreeSet, BinaryHeap};
use store::Store;
use worktree::Worktree;

/// Most commits of a log, and how many without being asked.
const LOG_MAX: u64 = 500;
const LOG_DEFAULT: u64 = 20;
/// Most files that a status names.
const LISTED_MAX: usize = 10_000;
/// Longest file of a commit that is shown.
const SHOWN_BYTES_MAX: usize = 4 << 20;
/// How much of a message a log shows.
const SUBJECT_CHARS: usize = 200;

/// A repository and its files.
struct Repository {
    /// Where its files are.
    top: Folder,
    /// Its `.git` directory.
    git: Folder,
    store: Store,
}

impl Repository {
    /// That of a call.
    fn of(input: &Accepted) -> Answer<Self> {
        Self::open(top(input)?)
    }

    fn open(top: Folder) -> Answer<Self> {
        let git = match top.folder(b".git") {
            // a file that names another place: of a worktree, or of a repository in a repository
            Err("wrong_kind") => return Err("unsupported"),
            git => git?.ok_or("no_repository")?,
        };
        if git.status(b"commondir")?.is_some() {
            return Err("unsupported");
        }
        let store = Store::new(&git)?;
        Ok(Self { top, git, store })
    }

    /// A version of a file that is an object.
    fn version(&mut self, side: Option<Side>) -> Answer<Option<Version>> {
        let Some(Side { mode, id }) = side else { return Ok(None) };
        let content = match mode {
            MODE_REPOSITORY => Vec::new(),
            _ => or_binary(self.store.data(&id, Kind::Blob))?,
        };
        Ok(Some(Version { mode, content }))
    }

    /// The patch of these changes, all of whose versions are objects.
    fn patch(&mut self, changes: Vec<change::Change>) -> Answer<Patch> {
        let mut patch = Patch::default();
        for change in changes {
            let (before, after) = (self.version(change.before)?, self.version(change.after)?);
            patch.add(&change.path, change.name(), before.as_ref(), after.as_ref());
        }
        Ok(patch)
    }
}

/// The tree of `HEAD`, if it has a commit yet.
fn head_tree(git: &Folder, store: &mut Store) -> Answer<Option<Id>> {
    let Some(id) = refs::head_id(git)? else { return Ok(None) };
    Ok(Some(Commit::read(&store.data(&id, Kind::Commit)?)?.tree))
}

/// The directory that a call names.
fn top(input: &Accepted) -> Answer<Folder> {
    let place = place(input, "path")?;
    Ok(Folder::new(open(&place, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?))
}

/// What is too long to be compared is shown as what is no text.
fn or_binary(content: Answer<Vec<u8>>) -> Answer<Vec<u8>> {
    match content {
        Err("too_large") => Ok(vec![0]),
        content => content,
    }
}

/// `git.status`.
pub(super) fn status(input: &Accepted) -> Performed {
    status_of(&mut Repository::of(input)?)
}

fn status_of(repository: &mut Repository) -> Performed {
    let head = refs::head(&repository.git)?;
    let commit = refs::head_id(&repository.git)?;
    let tree = head_tree(&repository.git, &mut repository.store)?;
    let index = Index::open(&repository.git)?;
    let staged = change::staged(&mut repository.store, tree, &index)?;
    let worktree = Worktree::read(&repository.top, &index, true)?;
    let changes = worktree::changes(&repository.top, &index, &worktree)?;
    if staged.len() + changes.len() + worktree.unknown.len() > LISTED_MAX {
        return Err("too_large");
    }
    let changed = |path: &[u8], change: &str| json!({ "path": shown(path), "change": change });
    let staged: Vec<Json> = staged.iter().map(|it| changed(&it.path, it.name())).collect();
    let unstaged: Vec<Json> =
        changes.iter().map(|(it, how)| changed(&it.path, how.name())).collect();
    let untracked: Vec<String> = worktree.unknown.iter().map(|(path, _)| shown(path)).collect();
    let conflicted = index.entries.iter().filter(|entry| entry.stage() != 0);
    let conflicted: BTreeSet<String> = conflicted.map(|entry| shown(&entry.path)).collect();
    Ok(json!({
        "branch": branch(&head), "commit": commit.map(|id| id.to_string()), "staged": staged,
        "unstaged": unstaged, "untracked": untracked, "conflicted": conflicted,
    }))
}

/// The name of the branch that `HEAD` is on.
fn branch(head: &Head) -> Option<&str> {
    match head {
        Head::Branch(name) => Some(name.strip_prefix(refs::BRANCHES).unwrap_or(name)),
        Head::Detached(_) => None,
    }
}

/// `git.log`.
pub(super) fn log(input: &Accepted) -> Performed {
    let limit = number(input, "limit").unwrap_or(LOG_DEFAULT).min(LOG_MAX);
    let limit = usize::try_from(limit).unwrap_or(0);
    log_of(&mut Repository::of(input)?, text(input, "revision").unwrap_or("HEAD"), limit)
}

/// Newest first; a parent that is not there, as behind a shallow clone, ends its line.
fn log_of(repository: &mut Repository, revision: &str, limit: usize) -> Performed {
    let (first, commit) = revision::commit(repository, revision)?;
    let mut seen = BTreeSet::from([first]);
    let mut next = BinaryHeap::from([(commit.committer.time, first)]);
    let mut commits = Vec::new();
    let mut incomplete = false;
    while let Some((_, id)) = next.pop().filter(|_| commits.len() < limit) {
        let commit = Commit::read(&repository.store.data(&id, Kind::Commit)?)?;
        for parent in &commit.parents {
            if !seen.insert(*parent) {
                continue;
            }
            match repository.store.data(parent, Kind::Commit) {
                Ok(data) => next.push((Commit::read(&data)?.committer.time, *parent)),
                Err("missing") => incomplete = true,
                Err(code) => return Err(code),
            }
        }
        let subject = commit.message.lines().next().unwrap_or_default();
        let subject: String = subject.chars().take(SUBJECT_CHARS).collect();
        let parents: Vec<String> = commit.parents.iter().map(ToString::to_string).collect();
        commits.push(json!({
            "id": id.to_string(), "parents": parents, "author": commit.author.name,
            "email": commit.author.email, "time": commit.author.time, "subject": subject,
        }));
    }
    Ok(json!({ "commits": commits, "more": !next.is_empty(), "incomplete": incomplete }))
}

/// `git.show`.
pub(super) fn show(input: &Accepted) -> Performed {
    let revision = text(input, "revision").unwrap_or("HEAD");
    show_of(&mut Repository::of(input)?, revision, text(input, "file").ok())
}

fn show_of(repository: &mut Repository, revision: &str, file: Option<&str>) -> Performed {
    let (id, commit) = revision::commit(repository, revision)?;
    if let Some(file) = file {
        return file_at(repository, commit.tree, file);
    }
    let parent = commit.parents.first().map(|id| repository.store.data(id, Kind::Commit));
    let parent = match parent {
        // behind a shallow clone
        Some(Err("missing")) | None => None,
        Some(data) => Some(Commit::read(&data?)?.tree),
    };
    let changes = change::trees(&mut repository.store, parent, Some(commit.tree))?;
    let mut answer = repository.patch(changes)?.into_answer();
    let parents: Vec<String> = commit.parents.iter().map(ToString::to_string).collect();
    let more = json!({
        "id": id.to_string(), "parents": parents, "author": commit.author.name,
        "email": commit.author.email, "time": commit.author.time, "message": commit.message,
    });
    if let (Some(answer), Json::Object(more)) = (answer.as_object_mut(), more) {
        answer.extend(more);
    }
    Ok(answer)
}

/// A file as a tree has it.
fn file_at(repository: &mut Repository, mut folder: Id, file: &str) -> Performed {
    let mut names = file.split('/').peekable();
    while let Some(name) = names.next() {
        let entries = tree(&repository.store.data(&folder, Kind::Tree)?)?;
        let entry = entries.into_iter().find(|(it, _)| it == name.as_bytes());
        let (_, Side { mode, id }) = entry.ok_or("not_found")?;
        match (mode, names.peek()) {
            (MODE_TREE, Some(_)) => folder = id,
            (MODE_TREE | MODE_REPOSITORY, None) => return Err("wrong_kind"),
            (_, Some(_)) => return Err("not_found"),
            (_, None) => {
                let data = repository.store.data(&id, Kind::Blob)?;
                let size = data.len();
                if size > SHOWN_BYTES_MAX {
                    return Err("too_large");
                }
                let (content, base64) = match String::from_utf8(data) {
                    Ok(text) => (text, false),
                    Err(bytes) => (base64::write(bytes.as_bytes()), true),
                };
                return Ok(json!({ "content": content, "base64": base64, "size": size }));
            }
        }
    }
    Err("not_found")
}

/// `git.diff`.
pub(super) fn diff(input: &Accepted) -> Performed {
    let staged = matches!(input.get("staged"), Some(Argument::Flag(true)));
    match (text(input, "from").ok(), text(input, "to").ok()) {
        (Some(from), Some(to)) if !staged => diff_commits(&mut Repository::of(input)?, from, to),
        (None, None) if staged => diff_staged(&mut Repository::of(input)?),
        (None, None) => diff_files(&mut Repository::of(input)?),
        _ => Err("contradiction"),
    }
}

fn diff_commits(repository: &mut Repository, from: &str, to: &str) -> Performed {
    let (_, from) = revision::commit(repository, from)?;
    let (_, to) = revision::commit(repository, to)?;
    let changes = change::trees(&mut repository.store, Some(from.tree), Some(to.tree))?;
    Ok(repository.patch(changes)?.into_answer())
}

fn diff_staged(repository: &mut Repository) -> Performed {
    let tree = head_tree(&repository.git, &mut repository.store)?;
    let index = Index::open(&repository.git)?;
    let changes = change::staged(&mut repository.store, tree, &index)?;
    Ok(repository.patch(changes)?.into_answer())
}

/// The files as they are now against the index.
fn diff_files(repository: &mut Repository) -> Performed {
    let index = Index::open(&repository.git)?;
    let worktree = Worktree::read(&repository.top, &index, true)?;
    let mut patch = Patch::default();
    for (entry, how) in worktree::changes(&repository.top, &index, &worktree)? {
        let before = repository.version(Some(entry.side).filter(|_| !entry.is_intent()))?;
        let now = match how {
            worktree::Change::Modified => repository.top.file(&entry.path)?,
            worktree::Change::Deleted | worktree::Change::Kind => None,
        };
        let after = match now {
            None => None,
            Some((_, status)) => {
                let content = worktree::content(&repository.top, &entry.path);
                let content = content.map(|it| it.map(|(bytes, _)| bytes).unwrap_or_default());
                let mode = worktree::mode(&status).ok_or("wrong_kind")?;
                Some(Version { mode, content: or_binary(content)? })
            }
        };
        patch.add(&entry.path, how.name(), before.as_ref(), after.as_ref());
    }
    Ok(patch.into_answer())
}

/// `git.branch_list`.
pub(super) fn branch_list(input: &Accepted) -> Performed {
    branches_of(&Repository::of(input)?)
}

fn branches_of(repository: &Repository) -> Performed {
    let head = refs::head(&repository.git)?;
    let branches = refs::branches(&repository.git)?;
    let branches: Vec<Json> = branches
        .iter()
        .map(|(name, id)| json!({ "name": name, "commit": id.to_string() }))
        .collect();
    Ok(json!({ "branches": branches, "current": branch(&head) }))
}

#[cfg(test)]
mod tests;
