//! `filesystem.move_directory`: a directory with all that is beneath it gets another place, whole, by one
//! rename(2).

use super::Performed;
use super::filesystem::{number, place};
use super::folder::Folder;
use super::tree::Measure;
use capabilities::filesystem::regions::BYTES_DEFAULT;
use capabilities::{Accepted, Argument};
use serde_json::json;

/// Most names beneath it.
const NAMES_MAX: usize = 50_000;

pub(super) fn rename(input: &Accepted) -> Performed {
    let (Some(Argument::Path(from)), Some(Argument::Path(to))) =
        (input.get("from"), input.get("to"))
    else {
        return Err("bad_input");
    };
    if to.is_under(from) {
        return Err("into_itself");
    }
    let bytes_max = number(input, "bytes_max").unwrap_or(BYTES_DEFAULT);
    let ((above, name), (new_above, new_name)) =
        (place(input, "from")?.into_parts(), place(input, "to")?.into_parts());
    let from = (&Folder::new(above), name.as_bytes());
    rename_in(from, (&Folder::new(new_above), new_name.as_bytes()), bytes_max)
}

/// The workspace itself, whose name in its own directory is a dot, neither goes nor is gone to.
fn rename_in(from: (&Folder, &[u8]), to: (&Folder, &[u8]), bytes_max: u64) -> Performed {
    let ((above, name), (new_above, new_name)) = (from, to);
    if new_name == b"." {
        return Err("exists");
    }
    let directory = above.folder(name)?.ok_or("not_found")?;
    if name == b"." {
        return Err("wrong_kind");
    }
    let measure = Measure::of(&directory, NAMES_MAX, bytes_max)?;
    above.move_new(name, new_above, new_name)?;
    Ok(json!({ "entries": measure.entries, "bytes": measure.bytes }))
}

#[cfg(test)]
mod tests {
    use super::super::folder::tests::Place;
    use super::*;

    #[test]
    fn a_directory_moves_whole_and_takes_no_others_place() {
        let place = Place::new();
        place.write("a/x/y", "12345");
        place.write("file", "");
        std::fs::create_dir(place.top().join("b")).unwrap();
        place.link("../../..", "a/up");
        place.link("a", "to-a");
        let (top, below) = (place.folder(), Place::open(&place.top().join("b")));
        let check = |from: &str, to: (&Folder, &str), bytes_max| {
            rename_in((&top, from.as_bytes()), (to.0, to.1.as_bytes()), bytes_max)
        };
        assert_eq!(check("none", (&below, "a"), 9).unwrap_err(), "not_found");
        assert_eq!(check("file", (&below, "a"), 9).unwrap_err(), "wrong_kind");
        assert_eq!(check("to-a", (&below, "a"), 9).unwrap_err(), "link");
        assert_eq!(check(".", (&below, "a"), 9).unwrap_err(), "wrong_kind");
        assert_eq!(check("a", (&top, "."), 9).unwrap_err(), "exists");
        assert_eq!(check("a", (&top, "b"), 9).unwrap_err(), "exists");
        assert_eq!(check("a", (&top, "file"), 9).unwrap_err(), "exists");
        assert_eq!(check("a", (&below, "a"), 4).unwrap_err(), "too_large");
        assert!(place.top().join("a/x/y").exists());
        let moved = check("a", (&below, "a"), 5).unwrap();
        assert_eq!(moved, json!({ "entries": 3, "bytes": 5 }));
        assert!(!place.top().join("a").exists());
        assert_eq!(std::fs::read(place.top().join("b/a/x/y")).unwrap(), b"12345");
        assert!(place.top().join("b/a/up").is_symlink());
    }

    #[test]
    fn a_directory_is_not_moved_into_itself() {
        let declaration = capabilities::find("filesystem.move_directory").unwrap();
        for to in ["a", "a/b", "a/../a/b/c"] {
            let input = declaration.accept(&json!({ "from": "a", "to": to })).unwrap();
            assert_eq!(rename(&input).unwrap_err(), "into_itself", "{to}");
        }
        let beside = declaration.accept(&json!({ "from": "a", "to": "ab" })).unwrap();
        assert_ne!(rename(&beside).unwrap_err(), "into_itself");
    }
}
