//! What is at a path: for a person who is to say yes, and once more when it is performed. Nothing is
//! followed, and what cannot be looked at whole is not looked at.

use super::Answer;
use super::digest::{BYTES_MAX, ENTRIES_MAX, Tree, content};
use super::filesystem::{BESIDE_TRASH, Place, code, open, place_of};
use contract::digits::hex;
use contract::found::Found;
use contract::path::{CanonicalPath, WORKSPACE};
use contract::perform::Expected;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, statat};
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

/// Whether everything is as a person was shown it. Whatever else is found, or cannot be looked at, is
/// `changed`.
pub(super) fn assert(expects: &[Expected]) -> Answer<()> {
    if expects.is_empty() {
        return Ok(());
    }
    // where the trash is mounted, the workspace is beside it
    let beside = statat(CWD, BESIDE_TRASH, AtFlags::SYMLINK_NOFOLLOW).is_ok();
    let root = if beside { BESIDE_TRASH } else { WORKSPACE };
    assert_in(root, expects)
}

fn assert_in(root: &str, expects: &[Expected]) -> Answer<()> {
    let holds = |expected: &Expected| {
        let whole = matches!(expected.found, Found::Tree { .. });
        look(root, &expected.path, whole).is_ok_and(|found| found == expected.found)
    };
    if expects.iter().all(holds) { Ok(()) } else { Err("changed") }
}

/// What is at a path, where the workspace is mounted at `root`; `whole`: with all that is beneath it.
fn look(root: &str, path: &CanonicalPath, whole: bool) -> Answer<Found> {
    let found =
        place_of(root, path).and_then(|place| if whole { tree(&place) } else { at(&place) });
    match found {
        Err("not_found") => Ok(Found::Nothing),
        other => other,
    }
}

/// What is at a place.
pub(super) fn at(place: &Place) -> Answer<Found> {
    let status = statat(&place.above, &place.name, AtFlags::SYMLINK_NOFOLLOW).map_err(code)?;
    let bytes = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => file(place),
        FileType::Directory => directory(place),
        FileType::Symlink => Ok(Found::Link { bytes }),
        _ => Ok(Found::Other),
    }
}

fn file(place: &Place) -> Answer<Found> {
    let file = open(place, OFlags::RDONLY, Mode::empty())?;
    let status = fstat(&file).map_err(code)?;
    let bytes = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err("changed");
    }
    if bytes > BYTES_MAX {
        return Err("too_large");
    }
    let mut hash = Sha256::new();
    content(&file, bytes, &mut hash)?;
    Ok(Found::File { bytes, digest: hex(&hash.finalize()) })
}

fn directory(place: &Place) -> Answer<Found> {
    let directory = open(place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let mut names = 0;
    for entry in Dir::read_from(&directory).map_err(code)? {
        let entry = entry.map_err(code)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names += 1;
        }
        if names > ENTRIES_MAX {
            return Err("too_large");
        }
    }
    Ok(Found::Directory { names: u64::try_from(names).unwrap_or(u64::MAX) })
}

fn tree(place: &Place) -> Answer<Found> {
    let top = open(place, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
    let tree = Tree::read(&top)?;
    let (bytes, entries) = (tree.bytes, u64::try_from(tree.entries).unwrap_or(u64::MAX));
    Ok(Found::Tree { entries, bytes, digest: tree.digest() })
}

/// What an answer says of it besides its kind and size.
pub(super) fn members(found: &Found) -> Vec<(String, Json)> {
    match found {
        Found::File { digest, .. } => vec![("digest".to_owned(), json!(digest))],
        Found::Directory { names } => vec![("names".to_owned(), json!(names))],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::folder::tests::Place as Test;
    use super::*;

    fn expected(path: &str, found: &Found) -> Expected {
        let path = CanonicalPath::parse(path).unwrap();
        Expected { path, found: found.clone() }
    }

    #[test]
    fn what_was_shown_is_found_again_and_anything_else_is_changed() {
        let test = Test::new();
        test.write("file", "12345");
        test.write("full/x", "1");
        std::fs::create_dir(test.top().join("empty")).unwrap();
        test.link("file", "link");
        let root = test.top().to_str().unwrap().to_owned();
        let seen = |path: &str, whole| look(&root, &CanonicalPath::parse(path).unwrap(), whole);
        let digest = "5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5";
        let file = Found::File { bytes: 5, digest: digest.to_owned() };
        assert_eq!(seen("file", false), Ok(file.clone()));
        assert_eq!(seen("none", false), Ok(Found::Nothing));
        assert_eq!(seen("none/x", false), Ok(Found::Nothing));
        assert_eq!(seen("empty", false), Ok(Found::Directory { names: 0 }));
        assert_eq!(seen("full", false), Ok(Found::Directory { names: 1 }));
        assert_eq!(seen("link", false), Ok(Found::Link { bytes: 4 }));
        assert_eq!(seen("link/x", false), Err("link"));
        assert_eq!(seen("file", true), Err("wrong_kind"));
        let tree = seen("full", true).unwrap();
        assert!(matches!(tree, Found::Tree { entries: 1, bytes: 1, .. }), "{tree:?}");
        let holds = |of: &[Expected]| assert_in(&root, of);
        let all =
            [expected("file", &file), expected("full", &tree), expected("none", &Found::Nothing)];
        assert_eq!(holds(&all), Ok(()));
        // the same length, another file in its place, gone, and something where nothing was
        test.write("file", "12346");
        assert_eq!(holds(&all), Err("changed"));
        test.write("file", "12345");
        assert_eq!(holds(&all), Ok(()));
        test.write("full/x", "2");
        assert_eq!(holds(&all), Err("changed"));
        test.write("full/x", "1");
        test.write("none", "");
        assert_eq!(holds(&all), Err("changed"));
        std::fs::remove_file(test.top().join("none")).unwrap();
        assert_eq!(holds(&all), Ok(()));
        std::fs::remove_file(test.top().join("file")).unwrap();
        assert_eq!(holds(&all), Err("changed"));
        test.link("full/x", "file");
        assert_eq!(holds(&all), Err("changed"));
    }

    #[test]
    fn what_is_beyond_the_bound_cannot_be_shown() {
        let test = Test::new();
        let root = test.top().to_str().unwrap().to_owned();
        let seen = || look(&root, &CanonicalPath::parse("large").unwrap(), false);
        let file = std::fs::File::create(test.top().join("large")).unwrap();
        file.set_len(BYTES_MAX + 1).unwrap();
        assert_eq!(seen(), Err("too_large"));
        file.set_len(1).unwrap();
        assert!(matches!(seen(), Ok(Found::File { bytes: 1, .. })));
    }
}
