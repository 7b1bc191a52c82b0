//! Repositories that mean harm: nothing outside is read, nothing runs, no memory or time is taken that
//! no bound allows. Each has a control: the same repository before.

use super::object::{Object, header, id, sha1};
use super::*;
use miniz_oxide::deflate::compress_to_vec_zlib;

const SECRET: &str = "what nobody may read";

/// A sound repository with one commit, and a secret beside it.
fn sound() -> Place {
    let place = Place::new();
    std::fs::write(place.0.join("secret"), SECRET).unwrap();
    place.write("a.txt", "content\n");
    place.write("d/b.txt", "content\n");
    place.add();
    place.commit("one", 1);
    assert!(everything(&place).iter().all(|code| *code == "ok"), "{:?}", everything(&place));
    place
}

/// Every verb that reads: how each ends. None says anything of the secret.
fn everything(place: &Place) -> Vec<&'static str> {
    let with = |verb: &dyn Fn(&mut Repository) -> Performed| {
        let answer = Repository::open(place.folder()).and_then(|mut it| verb(&mut it));
        match answer {
            Ok(answer) => {
                assert!(!answer.to_string().contains(SECRET), "{answer}");
                "ok"
            }
            Err(code) => code,
        }
    };
    vec![
        with(&status_of),
        with(&|it| log_of(it, "HEAD", 500)),
        with(&|it| show_of(it, "HEAD", None)),
        with(&|it| show_of(it, "HEAD", Some("a.txt"))),
        with(&|it| diff_files(it)),
        with(&|it| diff_staged(it)),
        with(&|it| branches_of(it)),
        with(&|it| make::add_in(it, b"", "ca11")),
    ]
}

/// All that answered, answered so.
fn all(place: &Place, wanted: &str) {
    let codes = everything(place);
    assert!(codes.iter().all(|code| *code == wanted), "{codes:?}");
}

fn one_of_all(place: &Place, wanted: &str) {
    let codes = everything(place);
    assert!(codes.contains(&wanted), "{codes:?}");
}

#[test]
fn what_a_configuration_names_is_not_run_and_not_read() {
    let place = sound();
    let mark = place.0.join("mark");
    let run = format!("touch {}", mark.display());
    let outside = place.0.display();
    place.write(
        ".git/config",
        format!(
            "[core]\n\tfsmonitor = {run}\n\thooksPath = {outside}\n\tworktree = {outside}\n\tpager = {run}\n\
             \teditor = {run}\n\tsshCommand = {run}\n\tattributesFile = {outside}/secret\n\
             \texcludesFile = {outside}/secret\n\taskPass = {run}\n\tbare = true\n\
             [filter \"x\"]\n\tclean = {run}\n\tsmudge = {run}\n\tprocess = {run}\n\trequired = true\n\
             [diff]\n\texternal = {run}\n[diff \"x\"]\n\ttextconv = {run}\n\tcommand = {run}\n\
             [commit]\n\tgpgSign = true\n[gpg]\n\tprogram = {run}\n[include]\n\tpath = {outside}/secret\n\
             [includeIf \"gitdir:/\"]\n\tpath = {outside}/secret\n\
             [url \"x\"]\n\tinsteadOf = y\n[credential]\n\thelper = !{run}\n[alias]\n\tstatus = !{run}\n"
        ),
    );
    place.write(".gitattributes", "* filter=x diff=x merge=x\n");
    place.write(".git/info/attributes", "* filter=x diff=x\n");
    for hook in
        ["pre-commit", "commit-msg", "post-commit", "post-index-change", "reference-transaction"]
    {
        place.write(&format!(".git/hooks/{hook}"), format!("#!/bin/sh\n{run}\n"));
        let path = place.top().join(format!(".git/hooks/{hook}"));
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).unwrap();
    }
    place.write("a.txt", "changed\n");
    all(&place, "ok");
    place.commit("two", 2);
    assert!(!mark.exists());
    // the control: the same commit by git runs a hook
    place.write("a.txt", "changed again\n");
    let config = "[core]\n\trepositoryformatversion = 0\n";
    place.write(".git/config", config);
    place.git(&["commit", "-q", "-a", "-m", "three"]);
    assert!(mark.exists());
}

#[test]
fn a_repository_that_lies_elsewhere_is_refused() {
    let place = sound();
    std::fs::rename(place.top().join(".git"), place.0.join("elsewhere")).unwrap();
    place.write(".git", format!("gitdir: {}\n", place.0.join("elsewhere").display()));
    assert_eq!(place.fails(), "unsupported");
    place.remove(".git");
    place.link(place.0.join("elsewhere"), ".git");
    assert_eq!(place.fails(), "link");
    place.remove(".git");
    assert_eq!(place.fails(), "no_repository");
    std::fs::rename(place.0.join("elsewhere"), place.top().join(".git")).unwrap();
    all(&place, "ok");
    place.write(".git/commondir", "../../elsewhere\n");
    assert_eq!(place.fails(), "unsupported");
}

#[test]
fn a_link_in_a_repository_is_not_followed() {
    for name in ["HEAD", "index", "objects", "packed-refs"] {
        let place = sound();
        let (from, to) = (place.top().join(".git").join(name), place.0.join("moved"));
        std::fs::rename(&from, &to).or_else(|_| std::fs::write(&to, "")).unwrap();
        place.link(&to, &format!(".git/{name}"));
        one_of_all(&place, "link");
    }
    let place = sound();
    let branch = std::fs::read(place.top().join(".git/refs/heads/main")).unwrap();
    std::fs::write(place.0.join("ref"), branch).unwrap();
    place.remove(".git/refs/heads/main");
    place.link(place.0.join("ref"), ".git/refs/heads/main");
    one_of_all(&place, "link");
    let place = sound();
    place.link("../secret", "to-secret");
    place.link("..", "above");
    place.link("../../secret", ".git/info");
    let added = place.add();
    assert_eq!(*list(&added, "skipped"), ["above", "to-secret"]);
    let place = sound();
    place.remove("a.txt");
    place.link("../secret", "a.txt");
    place.link("../secret", ".gitignore");
    all(&place, "ok");
    // a directory of the index that is a link now
    std::fs::remove_dir_all(place.top().join("d")).unwrap();
    std::fs::create_dir(place.0.join("d")).unwrap();
    std::fs::write(place.0.join("d/b.txt"), SECRET).unwrap();
    place.link("../d", "d");
    all(&place, "ok");
}

#[test]
fn objects_of_another_repository_are_not_here() {
    let (place, other) = (sound(), sound());
    std::fs::rename(place.top().join(".git/objects"), place.0.join("objects")).unwrap();
    std::fs::create_dir_all(place.top().join(".git/objects/info")).unwrap();
    let alternates = format!("{}\n", place.0.join("objects").display());
    place.write(".git/objects/info/alternates", &alternates);
    // the control: git finds them
    assert!(place.git(&["log", "--format=%s"]).starts_with("one"));
    one_of_all(&place, "missing");
    drop(other);
}

#[test]
fn a_ref_that_is_no_ref_is_refused() {
    for (content, code) in [
        ("ref: ../../secret\n", "unsupported"),
        ("ref: refs/../../../secret\n", "unsupported"),
        ("ref: refs/heads/.invalid\n", "unsupported"),
        (SECRET, "unsupported"),
        (&"ab".repeat(32), "unsupported"),
        ("", "unsupported"),
        (&"x".repeat(5_000), "too_large"),
    ] {
        let place = sound();
        place.write(".git/HEAD", content);
        one_of_all(&place, code);
        let place = sound();
        place.write(".git/refs/heads/other", content);
        let branches = branches_of(&place.open());
        assert_eq!(branches.unwrap_err(), code, "{content:?}");
    }
    let place = sound();
    place.write(".git/refs/heads/main", "ref: refs/heads/main\n");
    one_of_all(&place, "damaged");
    let place = sound();
    place.write(".git/packed-refs", "nonsense\n");
    one_of_all(&place, "damaged");
    let place = sound();
    place.remove(".git/HEAD");
    let fifo = place.top().join(".git/HEAD");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    one_of_all(&place, "wrong_kind");
}

/// Where an object of its own file is.
fn loose(id: Id) -> String {
    let digits = id.to_string();
    let (folder, name) = digits.split_at(2);
    format!(".git/objects/{folder}/{name}")
}

impl Place {
    /// Puts an object where it would be, whatever it says that it is.
    fn loose(&self, id: Id, content: &[u8]) {
        let path = loose(id);
        if self.top().join(&path).exists() {
            self.remove(&path);
        }
        self.write(&path, compress_to_vec_zlib(content, 1));
    }

    fn object(&self, kind: Kind, data: &[u8]) -> Id {
        let id = id(kind, data).unwrap();
        self.loose(id, &[&header(kind, data), data].concat());
        id
    }

    /// Makes `HEAD` a commit of this tree.
    fn head(&self, tree: Id) {
        let data = format!("tree {tree}\nauthor a <b> 1 +0000\ncommitter a <b> 1 +0000\n\nm\n");
        let id = self.object(Kind::Commit, data.as_bytes());
        self.write(".git/refs/heads/main", format!("{id}\n"));
    }
}

fn entry(mode: &str, name: &[u8], id: Id) -> Vec<u8> {
    [mode.as_bytes(), b" ", name, b"\0", &id.0].concat()
}

#[test]
fn an_object_that_is_not_what_its_name_says_is_refused() {
    let place = sound();
    let blob = id(Kind::Blob, b"content\n").unwrap();
    place.loose(blob, b"blob 5\0other");
    let file = || show_of(&mut place.open(), "HEAD", Some("a.txt")).unwrap_err();
    assert_eq!(file(), "damaged");
    place.loose(blob, b"blob 7\0content\n");
    assert_eq!(file(), "damaged");
    place.loose(blob, b"tree 8\0content\n");
    assert_eq!(file(), "damaged");
    place.write(&loose(blob), "no zlib");
    assert_eq!(file(), "damaged");
    place.loose(blob, b"blob 8\0content\n");
    all(&place, "ok");
}

#[test]
fn a_small_file_that_becomes_a_large_one_is_refused() {
    let place = sound();
    let blob = id(Kind::Blob, b"content\n").unwrap();
    let bomb = vec![0; 64 << 20];
    place.loose(blob, &[b"blob 67108864\0", bomb.as_slice()].concat());
    let answer = show_of(&mut place.open(), "HEAD", Some("a.txt"));
    assert_eq!(answer.unwrap_err(), "too_large");
}

#[test]
fn names_of_a_tree_that_lead_elsewhere_are_refused() {
    for name in [b"..".as_slice(), b".", b"", b"a/b", b".git", b".GIT"] {
        let place = sound();
        let blob = place.object(Kind::Blob, b"x");
        let tree = place.object(Kind::Tree, &entry("100644", name, blob));
        place.head(tree);
        one_of_all(&place, "damaged");
    }
}

#[test]
fn a_tree_with_more_beneath_it_than_anybody_has_is_refused() {
    let place = sound();
    let mut id = place.object(Kind::Blob, b"x");
    let mut mode = "100644";
    for _ in 0..30 {
        let data: Vec<u8> = (0..10_u8).flat_map(|n| entry(mode, &[b'a' + n], id)).collect();
        id = place.object(Kind::Tree, &data);
        mode = "40000";
    }
    place.head(id);
    one_of_all(&place, "too_large");
    let mut id = place.object(Kind::Tree, &[]);
    for _ in 0..100 {
        id = place.object(Kind::Tree, &entry("40000", b"a", id));
    }
    place.head(id);
    one_of_all(&place, "too_large");
}

/// An index of one entry, whose sum is right.
fn index_of(path: &[u8], count: u32, extension: &[u8]) -> Vec<u8> {
    let mut bytes = [b"DIRC".as_slice(), &2_u32.to_be_bytes(), &count.to_be_bytes()].concat();
    bytes.extend([0; 24]);
    bytes.extend(0o100_644_u32.to_be_bytes());
    bytes.extend([0; 12 + 20]);
    bytes.extend(u16::try_from(path.len()).unwrap().to_be_bytes());
    bytes.extend(path);
    bytes.extend(vec![0; 8 - (62 + path.len()) % 8]);
    bytes.extend(extension);
    let sum = sha1(&bytes);
    [bytes, sum.to_vec()].concat()
}

#[test]
fn an_index_that_leads_elsewhere_is_refused() {
    let place = sound();
    for (bytes, code) in [
        (index_of(b"../secret", 1, b""), "damaged"),
        (index_of(b"/etc/passwd", 1, b""), "damaged"),
        (index_of(b".git/config", 1, b""), "damaged"),
        (index_of(b"a//b", 1, b""), "damaged"),
        (index_of(b"", 1, b""), "damaged"),
        (index_of(b"a", 2, b""), "damaged"),
        (index_of(b"a", u32::MAX, b""), "too_large"),
        (index_of(b"a", 1, b"link\0\0\0\0"), "unsupported"),
        (index_of(b"a", 1, b"TREE\xff\xff\xff\xff"), "damaged"),
        (b"DIRC".to_vec(), "damaged"),
    ] {
        place.write(".git/index", bytes);
        assert_eq!(status_of(&mut place.open()).unwrap_err(), code);
    }
    place.write(".git/index", index_of(b"a", 1, b"TREE\0\0\0\0"));
    assert!(status_of(&mut place.open()).is_ok());
}

/// A pack of one object, with these bytes as its header and this as what follows deflated.
fn pack(place: &Place, name: Id, head: &[u8], data: &[u8]) {
    let mut pack = b"PACK\0\0\0\x02\0\0\0\x01".to_vec();
    pack.extend(head);
    pack.extend(compress_to_vec_zlib(data, 6));
    pack.extend(sha1(&pack));
    let mut index = b"\xfftOc\0\0\0\x02".to_vec();
    for byte in 0..=255_u8 {
        index.extend(u32::from(byte >= name.0[0]).to_be_bytes());
    }
    index.extend(name.0);
    index.extend([0; 4]);
    index.extend(12_u32.to_be_bytes());
    index.extend([0; 40]);
    place.write(".git/objects/pack/pack-x.pack", pack);
    place.write(".git/objects/pack/pack-x.idx", index);
}

fn packed(head: &[u8], data: &[u8]) -> Result<Object, &'static str> {
    let place = Place::new();
    let name = id(Kind::Blob, b"content\n").unwrap();
    pack(&place, name, head, data);
    place.open().store.get(&name)
}

#[test]
fn a_pack_that_says_more_than_it_holds_is_refused() {
    let name = id(Kind::Blob, b"content\n").unwrap();
    let content = |object: Object| object.data;
    assert_eq!(packed(&[0x38], b"content\n").map(content), Ok(b"content\n".to_vec()));
    assert_eq!(packed(&[0x37], b"content\n").map(drop), Err("damaged"));
    assert_eq!(packed(&[0x39], b"content\n").map(drop), Err("damaged"));
    assert_eq!(packed(&[0x38], b"kontent\n").map(drop), Err("damaged"));
    assert_eq!(packed(&[0x28], b"content\n").map(drop), Err("damaged"));
    // 2 GiB
    assert_eq!(packed(&[0xb0, 0x80, 0x80, 0x80, 0x40], b"content\n").map(drop), Err("too_large"));
    assert_eq!(packed(&[0xff; 40], b"").map(drop), Err("damaged"));
    // what long zeros are
    assert_eq!(packed(&[0x38], &vec![0; 64 << 20]).map(drop), Err("damaged"));
    // changed from itself, by name and by place; from before the pack
    let by_name = [&[0x74], name.0.as_slice()].concat();
    assert_eq!(packed(&by_name, &[8, 8, 0x90, 8]).map(drop), Err("too_large"));
    assert_eq!(packed(&[0x64, 0], &[8, 8, 0x90, 8]).map(drop), Err("damaged"));
    assert_eq!(packed(&[0x64, 0x7f], &[8, 8, 0x90, 8]).map(drop), Err("damaged"));
    let unknown = [&[0x74], [7; 20].as_slice()].concat();
    assert_eq!(packed(&unknown, &[8, 8, 0x90, 8]).map(drop), Err("damaged"));
}

/// The whole of a small packed repository, every byte of it spoiled in turn: an answer or a failure,
/// and never the end of the process.
#[test]
fn any_spoiled_byte_is_answered_or_refused() {
    let place = Place::new();
    let text: String = (0..60).map(|line| format!("line {line}\n")).collect();
    place.write("a.txt", &text);
    place.add();
    place.commit("one", 1);
    place.write("a.txt", format!("{text}more\n"));
    place.add();
    place.commit("two", 2);
    place.git(&["repack", "-q", "-a", "-d", "-f"]);
    place.git(&["pack-refs", "--all"]);
    all(&place, "ok");
    let mut files = vec![place.top().join(".git/index"), place.top().join(".git/packed-refs")];
    for entry in std::fs::read_dir(place.top().join(".git/objects/pack")).unwrap() {
        files.push(entry.unwrap().path());
    }
    let mut refused = 0;
    for file in files.iter().filter(|file| file.extension().is_none_or(|it| it != "rev")) {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(file, mode).unwrap();
        let whole = std::fs::read(file).unwrap();
        for at in 0..whole.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut spoiled = whole.clone();
                spoiled[at] ^= change;
                std::fs::write(file, spoiled).unwrap();
                let answer = Repository::open(place.folder()).and_then(|mut it| {
                    let index = Index::open(&it.git)?;
                    change::staged(&mut it.store, None, &index)?;
                    log_of(&mut it, "main", 9)?;
                    show_of(&mut it, "main", None)
                });
                refused += u32::from(answer.is_err());
            }
        }
        std::fs::write(file, whole).unwrap();
    }
    assert!(refused > 500, "{refused}");
    all(&place, "ok");
}
