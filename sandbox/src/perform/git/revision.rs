//! Names of commits as a caller writes them: `HEAD`, a branch, a tag, a ref, an object's name or the
//! beginning of one, and from there `~2` and `^1`.

use super::Answer;
use super::object::{Commit, Id, Kind, tagged};
use super::refs;
use super::{Repository, folder::Folder};

/// Most steps back in one name, and most tags that each name the next.
const STEPS_MAX: u32 = 10_000;
const TAGS_MAX: usize = 5;
/// Fewest digits of an object's name.
const DIGITS_MIN: usize = 4;

/// The commit that a name stands for.
pub(super) fn commit(repository: &mut Repository, name: &str) -> Answer<(Id, Commit)> {
    let (base, steps) = match name.find(['~', '^']) {
        Some(at) => name.split_at_checked(at).ok_or("unknown_revision")?,
        None => (name, ""),
    };
    let mut id = named(repository, base)?;
    let mut commit = peeled(repository, &mut id)?;
    let mut left = STEPS_MAX;
    for (kind, count) in read(steps)? {
        // `~3` is three times the first parent, `^2` once the second
        let (times, parent) = if kind == '~' { (count, 0) } else { (1, count.saturating_sub(1)) };
        if kind == '^' && count == 0 {
            continue;
        }
        left = left.checked_sub(times).ok_or("too_large")?;
        for _ in 0..times {
            let parent = usize::try_from(parent).unwrap_or(usize::MAX);
            id = *commit.parents.get(parent).ok_or("unknown_revision")?;
            commit = Commit::read(&repository.store.data(&id, Kind::Commit)?)?;
        }
    }
    Ok((id, commit))
}

/// What follows a name: `~` or `^`, each with a number.
fn read(steps: &str) -> Answer<Vec<(char, u32)>> {
    let mut read: Vec<(char, Option<u32>)> = Vec::new();
    for character in steps.chars() {
        match (character, character.to_digit(10), read.last_mut()) {
            ('~' | '^', ..) => read.push((character, None)),
            (_, Some(digit), Some((_, count))) => {
                let more = count.unwrap_or(0).checked_mul(10).and_then(|it| it.checked_add(digit));
                *count = Some(more.ok_or("unknown_revision")?);
            }
            _ => return Err("unknown_revision"),
        }
    }
    Ok(read.into_iter().map(|(kind, count)| (kind, count.unwrap_or(1))).collect())
}

fn named(repository: &mut Repository, name: &str) -> Answer<Id> {
    if let Some(id) = of_ref(&repository.git, name)? {
        return Ok(id);
    }
    let digits = name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !digits || !(DIGITS_MIN..=40).contains(&name.len()) {
        return Err("unknown_revision");
    }
    if let Some(id) = Id::read(name.as_bytes()) {
        return Ok(id);
    }
    match repository.store.beginning(name)?.as_slice() {
        [id] => Ok(*id),
        [] => Err("unknown_revision"),
        _ => Err("ambiguous"),
    }
}

fn of_ref(git: &Folder, name: &str) -> Answer<Option<Id>> {
    if name == "HEAD" {
        return refs::head_id(git);
    }
    for place in ["", "refs/", "refs/tags/", refs::BRANCHES, "refs/remotes/"] {
        if let Some(id) = refs::find(git, &format!("{place}{name}"))? {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// The commit of an object that is one, or a tag of one.
fn peeled(repository: &mut Repository, id: &mut Id) -> Answer<Commit> {
    for _ in 0..TAGS_MAX {
        let object = match repository.store.get(id) {
            Err("missing") => return Err("unknown_revision"),
            object => object?,
        };
        match object.kind {
            Kind::Commit => return Commit::read(&object.data),
            Kind::Tag => *id = tagged(&object.data)?,
            Kind::Tree | Kind::Blob => return Err("unknown_revision"),
        }
    }
    Err("damaged")
}
