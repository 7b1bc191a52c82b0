//! Archives on real directories, beside tar itself where that shows that both mean the same.

use super::extract::unpack;
use super::*;
use crate::perform::folder::tests::Place;
use proptest::prelude::*;
use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;

const MUCH: u64 = 64 << 20;

/// A place with a directory `d/from` and an empty one `d/to`.
fn place() -> Place {
    let place = Place::new();
    for name in ["from", "to"] {
        std::fs::create_dir(place.top().join(name)).unwrap();
    }
    place
}

fn packed(place: &Place, gzip: bool, bytes_max: u64) -> Performed {
    let from = Place::open(&place.top().join("from"));
    pack(&from, (&place.folder(), b"a.tar"), "ca11", gzip, bytes_max)
}

fn unpacked(place: &Place, bytes_max: u64) -> Performed {
    unpack((&place.folder(), b"a.tar"), &Place::open(&place.top().join("to")), bytes_max)
}

/// Every path beneath a directory, with what it holds; nothing where there is none.
fn beneath(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut next = vec![path.to_owned()];
    while let Some(folder) = next.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let content = match entry.file_type().unwrap().is_dir() {
                true => Vec::new(),
                false => std::fs::read(entry.path()).unwrap_or_default(),
            };
            if entry.file_type().unwrap().is_dir() {
                next.push(entry.path());
            }
            let name = entry.path().strip_prefix(path).unwrap().to_string_lossy().into_owned();
            all.push((name, content));
        }
    }
    all.sort();
    all
}

fn tar(place: &Place, arguments: &[&str]) {
    let output = Command::new("tar").args(arguments).current_dir(place.top()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o111 != 0
}

/// Files of all lengths and names that an archive has another form for.
fn fill_from(place: &Place) {
    let long = "a-name-of-thirty-characters-12/".repeat(5);
    for (name, content) in [
        ("empty", Vec::new()),
        ("block", vec![b'x'; 512]),
        ("more", vec![b'y'; 70_000]),
        ("run.sh", b"#!".to_vec()),
        ("\u{e9}", b"composed".to_vec()),
        ("e\u{301}", b"decomposed".to_vec()),
        ("Case", b"upper".to_vec()),
        ("case", b"lower".to_vec()),
        (&format!("{long}deep"), b"long".to_vec()),
        (&"n".repeat(255), b"longest name".to_vec()),
    ] {
        place.write(&format!("from/{name}"), content);
    }
    std::fs::create_dir(place.top().join("from/nothing-in-it")).unwrap();
    let run = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.top().join("from/run.sh"), run).unwrap();
}

#[test]
fn what_is_packed_is_unpacked_as_it_was_here_and_by_tar() {
    for gzip in [false, true] {
        let place = place();
        fill_from(&place);
        let answer = packed(&place, gzip, MUCH).unwrap();
        let length = std::fs::metadata(place.top().join("a.tar")).unwrap().len();
        assert_eq!((&answer["bytes"], &answer["left_out"]), (&json!(length), &json!([])));
        let again = unpacked(&place, MUCH).unwrap();
        let count = answer["entries"].as_u64();
        assert_eq!(
            again["files"].as_u64().zip(again["directories"].as_u64()).map(|(a, b)| a + b),
            count
        );
        let was = beneath(&place.top().join("from"));
        assert!(was.len() > 15 && beneath(&place.top().join("to")) == was);
        assert!(is_executable(&place.top().join("to/run.sh")));
        assert!(!is_executable(&place.top().join("to/more")));
        std::fs::create_dir(place.top().join("by-tar")).unwrap();
        tar(&place, &["-xf", "a.tar", "-C", "by-tar"]);
        assert!(beneath(&place.top().join("by-tar")) == was);
        // the same directory gives the same archive
        let first = std::fs::read(place.top().join("a.tar")).unwrap();
        std::fs::remove_file(place.top().join("a.tar")).unwrap();
        packed(&place, gzip, MUCH).unwrap();
        assert!(std::fs::read(place.top().join("a.tar")).unwrap() == first);
    }
}

#[test]
fn what_tar_packs_in_any_form_is_unpacked() {
    for form in ["gnu", "pax", "ustar", "oldgnu", "v7"] {
        for (flag, from) in [("-cf", "from"), ("-czf", "from")] {
            let place = place();
            fill_from(&place);
            if matches!(form, "ustar" | "v7") {
                // what has no name in these forms
                std::fs::remove_file(place.top().join("from").join("n".repeat(255))).unwrap();
            }
            if form == "v7" {
                std::fs::remove_dir_all(place.top().join("from/a-name-of-thirty-characters-12"))
                    .unwrap();
            }
            tar(&place, &[&format!("--format={form}"), flag, "a.tar", "-C", from, "."]);
            unpacked(&place, MUCH).unwrap();
            let same = beneath(&place.top().join("to")) == beneath(&place.top().join("from"));
            assert!(same, "{form} {flag}");
        }
    }
}

#[test]
fn links_are_left_out_and_refused_and_never_followed() {
    let place = place();
    std::fs::write(place.outside("secret"), "secret").unwrap();
    place.write("from/a", "a");
    place.link("../../secret", "from/link");
    place.link("/", "from/root");
    let answer = packed(&place, false, MUCH).unwrap();
    assert_eq!((&answer["entries"], &answer["left_out"]), (&json!(1), &json!(["link", "root"])));
    unpacked(&place, MUCH).unwrap();
    assert_eq!(beneath(&place.top().join("to")), [("a".to_owned(), b"a".to_vec())]);
    std::fs::remove_file(place.top().join("to/a")).unwrap();
    for kind in ["link", "hard"] {
        if kind == "hard" {
            std::fs::remove_file(place.top().join("from/link")).unwrap();
            std::fs::remove_file(place.top().join("from/root")).unwrap();
            std::fs::hard_link(place.top().join("from/a"), place.top().join("from/b")).unwrap();
        }
        tar(&place, &["-cf", "a.tar", "-C", "from", "."]);
        assert_eq!(unpacked(&place, MUCH).unwrap_err(), "unsupported", "{kind}");
        assert_eq!(beneath(&place.top().join("to")), []);
    }
    // a link in the place of the archive or of the directory
    place.link("a.tar", "b.tar");
    let to = Place::open(&place.top().join("to"));
    assert_eq!(unpack((&place.folder(), b"b.tar"), &to, MUCH).unwrap_err(), "link");
    assert_eq!(unpack((&place.folder(), b"from"), &to, MUCH).unwrap_err(), "wrong_kind");
    assert_eq!(unpack((&place.folder(), b"none"), &to, MUCH).unwrap_err(), "not_found");
}

#[test]
fn nothing_is_written_over_and_a_bound_leaves_nothing() {
    for gzip in [false, true] {
        let place = place();
        place.write("from/a", "content");
        place.write("from/b/c", vec![b'x'; 5_000]);
        let whole = packed(&place, gzip, MUCH).unwrap()["bytes"].as_u64().unwrap();
        assert_eq!(packed(&place, gzip, MUCH).unwrap_err(), "exists");
        std::fs::remove_file(place.top().join("a.tar")).unwrap();
        assert_eq!(packed(&place, gzip, whole - 1).unwrap_err(), "too_large");
        let names: Vec<String> = beneath(&place.top()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["from", "from/a", "from/b", "from/b/c", "to"]);
        packed(&place, gzip, whole).unwrap();
        assert_eq!(unpacked(&place, 5_006).unwrap_err(), "too_large");
        assert_eq!(beneath(&place.top().join("to")), []);
        unpacked(&place, 5_007).unwrap();
        assert_eq!(unpacked(&place, MUCH).unwrap_err(), "not_empty");
        assert_eq!(beneath(&place.top().join("to")), beneath(&place.top().join("from")));
    }
}

#[test]
fn an_archive_beneath_its_directory_does_not_hold_itself() {
    let place = place();
    place.write("from/a", "a");
    let from = Place::open(&place.top().join("from"));
    let answer = pack(&from, (&from, b"all.tar"), "ca11", false, MUCH).unwrap();
    assert_eq!(answer["entries"], 1);
    assert!(place.top().join("from/all.tar").exists());
}

#[test]
fn a_small_archive_that_becomes_a_large_directory_is_refused() {
    let place = place();
    let file = std::fs::File::create(place.top().join("from/zeros")).unwrap();
    file.set_len(32 << 20).unwrap();
    let length = packed(&place, true, MUCH).unwrap()["bytes"].as_u64().unwrap();
    assert!(length < 64 << 10, "{length}");
    assert_eq!(unpacked(&place, 16 << 20).unwrap_err(), "too_large");
    assert_eq!(beneath(&place.top().join("to")), []);
    unpacked(&place, 32 << 20).unwrap();
    // what is behind the end is no place for more
    let zeros = vec![0; 40 << 20];
    let mut sink =
        Sink::new(std::fs::File::create(place.top().join("a.tar")).unwrap(), true, MUCH).unwrap();
    sink.write(&zeros).unwrap();
    sink.finish().unwrap();
    std::fs::remove_file(place.top().join("to/zeros")).unwrap();
    assert_eq!(unpacked(&place, 16 << 20).unwrap_err(), "damaged");
}

#[test]
fn more_entries_than_the_bound_are_refused() {
    for (count, code) in [(ENTRIES_MAX, Ok(())), (ENTRIES_MAX + 1, Err("too_large"))] {
        let place = place();
        let entry = |number: usize| {
            let path = format!("{number}").into_bytes();
            header(&Entry { path, is_directory: true, executable: false, bytes: 0 }, 0)
        };
        let all: Vec<Vec<u8>> = (0..count).map(entry).collect();
        std::fs::write(place.top().join("a.tar"), [&all.concat()[..], &[0; 1_024]].concat())
            .unwrap();
        assert_eq!(unpacked(&place, MUCH).map(drop), code);
        let made = std::fs::read_dir(place.top().join("to")).unwrap().count();
        assert_eq!(made, if code.is_ok() { count } else { 0 });
    }
    let place = place();
    for number in 0..=ENTRIES_MAX {
        place.write(&format!("from/{number}"), "");
    }
    assert_eq!(packed(&place, false, MUCH).unwrap_err(), "too_large");
    std::fs::remove_file(place.top().join("from/0")).unwrap();
    assert!(packed(&place, false, MUCH).is_ok());
}

/// An archive of these files, each empty.
fn of_names(names: &[(&str, bool)]) -> Vec<u8> {
    let entry = |(name, is_directory): &(&str, bool)| {
        let (path, is_directory) = (name.as_bytes().to_vec(), *is_directory);
        header(&Entry { path, is_directory, executable: false, bytes: 0 }, 0)
    };
    let all: Vec<Vec<u8>> = names.iter().map(entry).collect();
    [&all.concat()[..], &[0; 1_024]].concat()
}

#[test]
fn each_name_is_there_once() {
    let check = |names: &[(&str, bool)]| {
        let place = place();
        std::fs::write(place.top().join("a.tar"), of_names(names)).unwrap();
        let came = unpacked(&place, MUCH);
        assert!(came.is_ok() || beneath(&place.top().join("to")).is_empty());
        came.map(|answer| {
            (answer["files"].as_u64().unwrap(), answer["directories"].as_u64().unwrap())
        })
    };
    assert_eq!(check(&[("a", false), ("a", false)]), Err("twice"));
    assert_eq!(check(&[("a", true), ("a", true)]), Err("twice"));
    assert_eq!(check(&[("a", false), ("a", true)]), Err("twice"));
    assert_eq!(check(&[("a", false), ("a/b", false)]), Err("twice"));
    assert_eq!(check(&[("a/b", false), ("a", false)]), Err("twice"));
    assert_eq!(check(&[("a/b", false), ("a", true), ("a", true)]), Err("twice"));
    assert_eq!(check(&[("a/b", false), ("a", true)]), Ok((1, 1)));
    assert_eq!(check(&[("a/b", false), ("a/c", false)]), Ok((2, 1)));
    // names are bytes, as the box's file system has them
    assert_eq!(check(&[("A", false), ("a", false)]), Ok((2, 0)));
    assert_eq!(check(&[("\u{e9}", false), ("e\u{301}", false)]), Ok((2, 0)));
    assert_eq!(check(&[]), Ok((0, 0)));
}

#[test]
fn what_was_begun_is_removed_again() {
    let place = place();
    fill_from(&place);
    packed(&place, true, MUCH).unwrap();
    let path = place.top().join("a.tar");
    let sound = std::fs::read(&path).unwrap();
    // the last bytes are the length, which is seen to be wrong when all files are there
    let mut bytes = sound.clone();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let to = Place::open(&place.top().join("to"));
    let code = extract::write_unjudged(std::fs::File::open(&path).unwrap(), &to, MUCH, || {
        assert!(beneath(&place.top().join("to")).len() > 15);
    });
    assert_eq!(code, Err("damaged"));
    assert_eq!(beneath(&place.top().join("to")), []);
    assert_eq!(unpacked(&place, MUCH).unwrap_err(), "damaged");
    std::fs::write(&path, sound).unwrap();
    unpacked(&place, MUCH).unwrap();
}

#[test]
fn a_compressed_file_is_one_whole_member() {
    let place = place();
    place.write("from/a", "content");
    packed(&place, true, MUCH).unwrap();
    let path = place.top().join("a.tar");
    let sound = std::fs::read(&path).unwrap();
    let check = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        let came = unpacked(&place, MUCH).map(drop);
        std::fs::remove_file(place.top().join("to/a")).ok();
        came
    };
    assert_eq!(check(&sound), Ok(()));
    for cut in 0..sound.len() {
        assert_eq!(check(&sound[..cut]), Err("damaged"), "{cut}");
    }
    assert_eq!(check(&[&sound[..], &[0]].concat()), Err("damaged"));
    assert_eq!(check(&[&sound[..], &sound].concat()), Err("damaged"));
    let mut named = sound.clone();
    named[3] = 8 | 16 | 4 | 2;
    let more = b"\x03\0abcname\0comment\0cc";
    named.splice(10..10, more.iter().copied());
    assert_eq!(check(&named), Ok(()));
    named[3] |= 0x20;
    assert_eq!(check(&named), Err("damaged"));
    let mut other = sound;
    other[2] = 7;
    assert_eq!(check(&other), Err("damaged"));
    assert_eq!(check(b""), Err("damaged"));
    assert_eq!(check(b"hello"), Err("damaged"));
}

fn shown_outside(place: &Place) -> Vec<(String, Vec<u8>)> {
    let mut all = beneath(&place.top());
    all.retain(|(name, _)| !name.starts_with("to/") && name != "a.tar");
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever becomes of an archive, nothing is anywhere but in the directory, and nothing there unless it
    /// is answered.
    #[test]
    fn any_spoiled_byte_is_unpacked_or_refused_and_nothing_is_outside(
        gzip in any::<bool>(),
        spoiled in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<usize>()),
    ) {
        let place = place();
        place.write("from/a/b", "content");
        place.write("from/c", vec![7; 600]);
        packed(&place, gzip, MUCH).unwrap();
        let path = place.top().join("a.tar");
        let mut bytes = std::fs::read(&path).unwrap();
        for (at, byte) in spoiled {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(cut.map_or(bytes.len(), |cut| cut % bytes.len()));
        std::fs::write(&path, &bytes).unwrap();
        let before = shown_outside(&place);
        let came: Answer<Json> = unpacked(&place, MUCH);
        prop_assert_eq!(shown_outside(&place), before);
        prop_assert!(came.is_ok() || beneath(&place.top().join("to")).is_empty());
    }
}
