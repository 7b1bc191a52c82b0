//! What differs between two trees, or between a tree and the index.

use super::Answer;
use super::folder::join;
use super::index::Index;
use super::object::{Id, Kind, MODE_TREE, Side, tree};
use super::store::Store;
use std::collections::{BTreeMap, BTreeSet};

/// Most files that differ, and most trees that are read to find them.
const CHANGES_MAX: usize = 50_000;
const TREES_MAX: usize = 50_000;
const LEVELS_MAX: usize = 64;

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) path: Vec<u8>,
    pub(super) before: Option<Side>,
    pub(super) after: Option<Side>,
}

impl Change {
    pub(super) const fn name(&self) -> &'static str {
        match (self.before, self.after) {
            (None, _) => "added",
            (_, None) => "deleted",
            _ => "modified",
        }
    }
}

/// Two trees, read side by side where they differ.
struct Compared<'a> {
    store: &'a mut Store,
    room: usize,
    found: Vec<Change>,
}

/// What differs between two trees, of which either may be none, sorted by path.
pub(super) fn trees(
    store: &mut Store,
    before: Option<Id>,
    after: Option<Id>,
) -> Answer<Vec<Change>> {
    let mut compared = Compared { store, room: TREES_MAX, found: Vec::new() };
    compared.trees(b"", before, after, 0)?;
    compared.found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(compared.found)
}

impl Compared<'_> {
    fn trees(
        &mut self,
        above: &[u8],
        before: Option<Id>,
        after: Option<Id>,
        level: usize,
    ) -> Answer<()> {
        if before == after {
            return Ok(());
        }
        if level >= LEVELS_MAX {
            return Err("too_large");
        }
        let (before, after) = (self.entries(before)?, self.entries(after)?);
        let names: BTreeSet<&Vec<u8>> = before.keys().chain(after.keys()).collect();
        for name in names {
            let sides = (before.get(name).copied(), after.get(name).copied());
            if sides.0 == sides.1 {
                continue;
            }
            let path = join(above, name);
            let is_tree = |side: &Side| side.mode == MODE_TREE;
            let tree = |side: Option<Side>| side.filter(is_tree).map(|side| side.id);
            let file = |side: Option<Side>| side.filter(|side| !is_tree(side));
            self.trees(&path, tree(sides.0), tree(sides.1), level + 1)?;
            let (before, after) = (file(sides.0), file(sides.1));
            if before.is_some() || after.is_some() {
                self.found.push(Change { path, before, after });
            }
            if self.found.len() > CHANGES_MAX {
                return Err("too_large");
            }
        }
        Ok(())
    }

    fn entries(&mut self, id: Option<Id>) -> Answer<BTreeMap<Vec<u8>, Side>> {
        let Some(id) = id else { return Ok(BTreeMap::new()) };
        self.room = self.room.checked_sub(1).ok_or("too_large")?;
        let data = self.store.data(&id, Kind::Tree)?;
        Ok(tree(&data)?.into_iter().collect())
    }
}

/// What differs between a tree, which may be none, and the index.
pub(super) fn staged(store: &mut Store, head: Option<Id>, index: &Index) -> Answer<Vec<Change>> {
    let all = trees(store, None, head)?.into_iter();
    let mut before: BTreeMap<Vec<u8>, Side> =
        all.filter_map(|it| Some((it.path, it.after?))).collect();
    let mut found = Vec::new();
    for entry in index.entries.iter().filter(|entry| !entry.is_intent()) {
        let there = before.remove(&entry.path);
        if entry.stage() == 0 && there != Some(entry.side) {
            let path = entry.path.clone();
            found.push(Change { path, before: there, after: Some(entry.side) });
        }
    }
    let gone = before.into_iter();
    found.extend(gone.map(|(path, side)| Change { path, before: Some(side), after: None }));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

/// Writes the trees of an index; returns the outermost one.
pub(super) fn write(store: &mut Store, index: &Index, call: &str) -> Answer<Id> {
    let files = index.entries.iter().filter(|entry| !entry.is_intent());
    let files: Vec<(&[u8], Side)> = files.map(|it| (it.path.as_slice(), it.side)).collect();
    write_tree(store, &files, call, 0)
}

/// One tree, of files that are sorted by path: those of one directory are beside each other.
fn write_tree(store: &mut Store, files: &[(&[u8], Side)], call: &str, level: usize) -> Answer<Id> {
    if level >= LEVELS_MAX {
        return Err("too_large");
    }
    let mut data = Vec::new();
    let mut rest = files;
    while let Some((&(path, side), after)) = rest.split_first() {
        let end = path.iter().position(|byte| *byte == b'/');
        let Some(end) = end else {
            entry(&mut data, path, side);
            rest = after;
            continue;
        };
        let (folder, _) = path.split_at(end);
        let beginning = path.get(..=end).unwrap_or_default();
        let count = rest.iter().take_while(|(path, _)| path.starts_with(beginning)).count();
        let (within, after) = rest.split_at(count);
        let within: Vec<(&[u8], Side)> =
            within.iter().filter_map(|(path, side)| Some((path.get(end + 1..)?, *side))).collect();
        let id = write_tree(store, &within, call, level + 1)?;
        entry(&mut data, folder, Side { mode: MODE_TREE, id });
        rest = after;
    }
    store.put(Kind::Tree, &data, call)
}

fn entry(data: &mut Vec<u8>, name: &[u8], side: Side) {
    data.extend_from_slice(format!("{:o} ", side.mode).as_bytes());
    data.extend_from_slice(name);
    data.push(0);
    data.extend_from_slice(&side.id.0);
}
