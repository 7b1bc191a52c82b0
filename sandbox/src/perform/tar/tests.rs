//! Archives that were made here, that other programs make, and that mean harm.

use super::*;
use proptest::prelude::*;

impl Source for &[u8] {
    fn some(&mut self, room: &mut [u8]) -> Answer<usize> {
        let count = self.len().min(room.len());
        room[..count].copy_from_slice(&self[..count]);
        *self = &self[count..];
        Ok(count)
    }
}

const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

fn filled(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(content.len().next_multiple_of(BLOCK_BYTES), 0);
    bytes
}

/// An archive of one entry with this header and content.
fn one(header: &[u8], content: &[u8]) -> Vec<u8> {
    [header, &filled(content), &END].concat()
}

fn read(mut bytes: &[u8]) -> Answer<Vec<(Entry, Vec<u8>)>> {
    let mut reader = Reader::new(&mut bytes);
    let mut all = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut content = Vec::new();
        let mut chunk = [0; 100];
        loop {
            match reader.read(&mut chunk)? {
                0 => break,
                count => content.extend(&chunk[..count]),
            }
        }
        all.push((entry, content));
    }
    Ok(all)
}

fn path_of(bytes: &[u8]) -> Answer<String> {
    let all = read(bytes)?;
    Ok(all.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path)).collect())
}

fn plain(kind: u8, name: &[u8], content: &[u8]) -> Vec<u8> {
    one(&block(b"", name, kind, 0o644, length(content), 0), content)
}

#[test]
fn a_name_lies_beneath_or_is_refused() {
    let long = b"a".repeat(99);
    for (name, wanted) in [
        (&b"a/b"[..], Ok("a/b")),
        (b"./a", Ok("a")),
        (b"././a", Ok("a")),
        (b"a..b/...", Ok("a..b/...")),
        (&long, Ok(std::str::from_utf8(&long).unwrap())),
        (b"/a", Err("bad_name")),
        (b"//a", Err("bad_name")),
        (b".//a", Err("bad_name")),
        (b"..", Err("bad_name")),
        (b"../a", Err("bad_name")),
        (b"./../a", Err("bad_name")),
        (b"a/../b", Err("bad_name")),
        (b"a/..", Err("bad_name")),
        (b"a//b", Err("bad_name")),
        (b"a/./b", Err("bad_name")),
        (b"", Err("bad_name")),
        (b".", Err("bad_name")),
    ] {
        let found = path_of(&plain(b'0', name, b"x"));
        assert_eq!(found.as_deref().map_err(|code| *code), wanted, "{name:?}");
    }
    // a directory's name may end with a slash, and the place itself is passed over
    assert_eq!(path_of(&plain(b'5', b"a/", b"")).unwrap(), "a");
    assert_eq!(path_of(&plain(b'0', b"a/", b"")).unwrap(), "a");
    assert_eq!(path_of(&plain(b'5', b"./", b"")).unwrap(), "");
    for name in [&b"/"[..], b"../", b"a/../", b"/a/", b"a//", b""] {
        assert_eq!(path_of(&plain(b'5', name, b"")).unwrap_err(), "bad_name", "{name:?}");
    }
    let deep = "d/".repeat(LEVELS_MAX);
    let with = |path: &str| one_with(b"path", path.as_bytes(), b'0');
    assert_eq!(path_of(&with(&format!("{deep}x"))).unwrap_err(), "too_large");
    assert!(path_of(&with(deep.trim_end_matches('/'))).is_ok());
    assert_eq!(path_of(&with(&"a".repeat(256))).unwrap_err(), "bad_name");
    assert!(path_of(&with(&"a".repeat(255))).is_ok());
    let long = format!("{}/", "a".repeat(200)).repeat(21);
    assert_eq!(path_of(&with(&format!("{long}x"))).unwrap_err(), "bad_name");
    assert_eq!(path_of(&with("../a")).unwrap_err(), "bad_name");
    assert_eq!(path_of(&with("a\0b")).unwrap_err(), "bad_name");
}

/// An entry with a pax record before it.
fn one_with(name: &[u8], value: &[u8], kind: u8) -> Vec<u8> {
    let record = record(name, value);
    let before = block(b"", b"pax", b'x', 0o644, length(&record), 0);
    [&before[..], &filled(&record), &plain(kind, b"short", b"")].concat()
}

#[test]
fn what_is_no_file_and_no_directory_is_refused() {
    for kind in (0..=u8::MAX).filter(|kind| !b"057\0xgL".contains(kind)) {
        assert_eq!(read(&plain(kind, b"a", b"")).unwrap_err(), "unsupported", "{kind}");
    }
    for kind in [b'0', b'7', 0] {
        assert_eq!(path_of(&plain(kind, b"a", b"x")).unwrap(), "a");
    }
    for name in [&b"linkpath"[..], b"GNU.sparse.major"] {
        assert_eq!(read(&one_with(name, b"1", b'0')).unwrap_err(), "unsupported");
    }
    assert_eq!(path_of(&one_with(b"comment", b"x", b'0')).unwrap(), "short");
    let global = |name: &[u8], value: &[u8]| {
        let record = record(name, value);
        let before = block(b"", b"pax", b'g', 0o644, length(&record), 0);
        [&before[..], &filled(&record), &plain(b'0', b"a", b"")].concat()
    };
    assert_eq!(path_of(&global(b"comment", b"x")).unwrap(), "a");
    assert_eq!(read(&global(b"path", b"x")).unwrap_err(), "unsupported");
    assert_eq!(read(&plain(b'5', b"a", b"content")).unwrap_err(), "damaged");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let sound = plain(b'0', b"a", b"content");
    assert!(read(&sound).is_ok());
    for cut in 0..sound.len() {
        assert_eq!(read(&sound[..cut]).unwrap_err(), "damaged", "{cut}");
    }
    assert_eq!(read(&[&sound[..], b"x"].concat()).unwrap_err(), "damaged");
    assert!(read(&[&sound[..], &[0; 9_000]].concat()).is_ok());
    assert_eq!(read(&[&sound[..], &[0; END_BYTES_MAX]].concat()).unwrap_err(), "damaged");
    assert_eq!(read(&[&sound[..], &sound].concat()).unwrap_err(), "damaged");
    assert_eq!(read(&one_with(b"size", b"9", b'0')).unwrap_err(), "damaged");
    for size in [&b"-1"[..], b"+0", b"", b"99999999999999999999", b"0x0"] {
        assert_eq!(read(&one_with(b"size", size, b'0')).unwrap_err(), "damaged");
    }
    assert!(read(&one_with(b"size", b"0", b'0')).is_ok());
    for record in [&b"x"[..], b"5 a=", b"99 a=b\n", b"0 a=b\n", b"6 ab\n\n", b" a=b\n", b"7 a=b\nx"]
    {
        let before = block(b"", b"pax", b'x', 0o644, length(record), 0);
        let bytes = [&before[..], &filled(record), &sound].concat();
        assert_eq!(read(&bytes).unwrap_err(), "damaged", "{record:?}");
    }
    let comment = record(b"comment", b"x");
    let pax = [block(b"", b"pax", b'x', 0o644, length(&comment), 0), filled(&comment)].concat();
    let times = |count: usize| [&pax.repeat(count)[..], &sound].concat();
    assert!(read(&times(RECORDS_MAX)).is_ok());
    assert_eq!(read(&times(RECORDS_MAX + 1)).unwrap_err(), "damaged");
    assert_eq!(read(&[&pax[..], &END].concat()).unwrap_err(), "damaged");
    let much = block(b"", b"pax", b'x', 0o644, RECORD_BYTES_MAX + 1, 0);
    assert_eq!(read(&much).unwrap_err(), "too_large");
}

#[test]
fn numbers_are_octal_or_gnus() {
    for (field, wanted) in [
        (&b"0000644\0"[..], Some(0o644)),
        (b"    644 ", Some(0o644)),
        (b"00000000017", Some(15)),
        (b"\x80\0\0\0\0\0\0\0\0\0\x02\x01", Some(513)),
        (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff", Some(u64::MAX)),
        (b"\x80\x01\0\0\0\0\0\0\0\0", None),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", None),
        (b"", None),
        (b"       ", None),
        (b"-1\0", None),
        (b"+1\0", None),
        (b"9\0", None),
        (b"1\x001", None),
    ] {
        assert_eq!(number(field), wanted, "{field:?}");
    }
}

fn segment() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("a name", |byte| !matches!(byte, 0 | b'/' | b'.'));
    proptest::collection::vec(byte, 1..=255)
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        segments in proptest::collection::vec(segment(), 1..12),
        content in proptest::collection::vec(any::<u8>(), 0..1_500),
        is_directory in any::<bool>(),
        executable in any::<bool>(),
        time in any::<i64>(),
    ) {
        let path = segments.join(&b'/');
        let content = if is_directory { Vec::new() } else { content };
        let executable = executable || is_directory;
        let entry = Entry { path, is_directory, executable, bytes: length(&content) };
        let bytes = one(&header(&entry, time), &content);
        prop_assert_eq!(read(&bytes).unwrap(), vec![(entry, content)]);
    }

    #[test]
    fn any_spoiled_block_is_read_or_refused(
        at in 0_usize..4_096, value in any::<u8>(), cut in any::<bool>(), repair in any::<bool>(),
    ) {
        let entry = |path: &str, bytes| Entry {
            path: path.as_bytes().to_vec(), is_directory: false, executable: false, bytes,
        };
        let long = "long/".repeat(40);
        let mut bytes = [
            header(&entry(&long, 0), 1),
            header(&entry("a/b", 3), 1),
            filled(b"abc"),
            END.to_vec(),
        ].concat();
        let at = at % bytes.len();
        bytes[at] = value;
        if cut {
            bytes.truncate(at);
        } else if repair && at / BLOCK_BYTES != 1 {
            // with a checksum that fits, so that what is behind it is reached
            let begin = at / BLOCK_BYTES * BLOCK_BYTES;
            let block = &mut bytes[begin..begin + BLOCK_BYTES];
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        for (entry, _) in read(&bytes).unwrap_or_default() {
            let path = String::from_utf8_lossy(&entry.path).into_owned();
            prop_assert!(!path.starts_with('/'), "{}", path);
            prop_assert!(path.split('/').all(|name| !matches!(name, "" | "." | "..")), "{}", path);
        }
    }
}
