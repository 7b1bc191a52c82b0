//! One boot of our kernel with the kernel's own selftests: every case ends as tests/selftests/expected says, none is
//! missing, and none is new.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fmt::Write;
use tests::{Disk, Image, Machine, Options};

/// Cases that must be there: a list that shrank by accident holds nothing.
const CASES_MIN: usize = 900;
const HEAD: &str = "\
# How every case of the kernel's own selftests ends on our kernel; `./ci/test kernel` compares. A line is the end,
# the program, the case, and for every end but `ok` the reason, in our words. `varies` is a case whose end depends
# on how fast the machine is: it must be there, however it ends. What differs is written to expected.new beside it.
";

/// How a case ended, or may end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Ok,
    Skip,
    Fail,
    Varies,
}

impl End {
    const ALL: [Self; 4] = [Self::Ok, Self::Skip, Self::Fail, Self::Varies];

    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skip => "skip",
            Self::Fail => "fail",
            Self::Varies => "varies",
        }
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.word() == word)
    }
}

/// `program: case`.
type Case = String;

/// The pinned list: each case with its end and the reason for it.
fn expected(text: &str) -> Result<BTreeMap<Case, (End, String)>> {
    let mut list = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (word, rest) = line.split_once(' ').context("a line of one word")?;
        let end = End::read(word).with_context(|| format!("`{word}` is no end"))?;
        let (case, reason) = rest.split_once(" # ").unwrap_or((rest, ""));
        ensure!((end == End::Ok) == reason.is_empty(), "`{line}`: all but `ok` have a reason");
        let old = list.insert(case.trim().to_owned(), (end, reason.to_owned()));
        ensure!(old.is_none(), "`{case}` is there twice");
    }
    Ok(list)
}

/// What a program said, as cases: TAP, or its exit code where it says none.
fn cases(console: &str) -> BTreeMap<Case, End> {
    let mut all = BTreeMap::new();
    let mut of_program = 0;
    for line in console.lines().filter_map(|line| line.split_once("selftest ")) {
        let Some((program, said)) = line.1.trim_end().split_once(": ") else { continue };
        let found = match said.split_once("end: ") {
            Some(("", how)) => {
                let found = ended(how, of_program);
                of_program = 0;
                found
            }
            _ => tap(said).inspect(|_| of_program += 1),
        };
        if let Some((name, end)) = found {
            all.insert(unused(&all, &format!("{program}: {name}")), end);
        }
    }
    all
}

/// A line of TAP that tells how a case ended. The case of `1..0 # SKIP why` is the whole program.
fn tap(said: &str) -> Option<(String, End)> {
    if said.starts_with("1..0 # SKIP") {
        return Some(("all".to_owned(), End::Skip));
    }
    let (end, rest) = match said.strip_prefix("not ok ") {
        Some(rest) => (End::Fail, rest),
        None => (End::Ok, said.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(' ')?;
    number.parse::<u32>().ok()?;
    // either `name # SKIP reason` or `# SKIP name`
    let (name, skipped) = match rest.split_once("# SKIP") {
        Some(("", name)) => (name, true),
        Some((name, _reason)) => (name, true),
        None => (rest, false),
    };
    Some((numberless(name.trim()), if skipped { End::Skip } else { end }))
}

/// A name that says the same in every run: with `/proc/N` for a process's number.
fn numberless(name: &str) -> String {
    let mut parts = name.split("/proc/");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        text.push_str(if rest.len() == part.len() { "/proc/" } else { "/proc/N" });
        text.push_str(rest);
    }
    text
}

/// What the end of a program adds to its `count` cases: nothing, if it had any and ended by itself on a kernel that
/// is as it was before.
fn ended(how: &str, count: u32) -> Option<(String, End)> {
    let end = match how {
        "exit code 0" => End::Ok,
        "exit code 4" => End::Skip,
        _ => End::Fail,
    };
    let by_itself = matches!(how, "exit code 0" | "exit code 1" | "exit code 4");
    (count == 0 || !by_itself).then(|| ("end".to_owned(), end))
}

/// A name that is not there yet: some programs give several cases one.
fn unused(all: &BTreeMap<Case, End>, name: &str) -> String {
    let numbered = (2..).map(|number| format!("{name} ({number})"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !all.contains_key(name)).unwrap_or_default()
}

/// Every case that ended otherwise, is missing or is new.
fn differences(wanted: &BTreeMap<Case, (End, String)>, found: &BTreeMap<Case, End>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (case, (end, _)) in wanted {
        match found.get(case) {
            None => wrong.push(format!("{case}: not run")),
            Some(now) if now != end && *end != End::Varies => {
                wrong.push(format!("{case}: {}, expected {}", now.word(), end.word()));
            }
            Some(_) => {}
        }
    }
    for (case, end) in found.iter().filter(|(case, _)| !wanted.contains_key(*case)) {
        wrong.push(format!("{case}: {}, is new", end.word()));
    }
    wrong
}

/// The list as it would have to be, with the reasons that are known.
fn renewed(wanted: &BTreeMap<Case, (End, String)>, found: &BTreeMap<Case, End>) -> String {
    let mut text = HEAD.to_owned();
    for (case, end) in found {
        let (end, reason) = match wanted.get(case) {
            Some((old, reason)) if old == end || *old == End::Varies => (*old, reason.as_str()),
            _ => (*end, if *end == End::Ok { "" } else { "?" }),
        };
        let reason = if reason.is_empty() { String::new() } else { format!(" # {reason}") };
        writeln!(text, "{} {case}{reason}", end.word()).ok();
    }
    text
}

/// Boots our kernel on the disk of selftests; what the console says of them.
fn console() -> Result<String> {
    let image = Image::selftests()?;
    let disk = Disk::copy(&image, "selftests")?;
    // the console is the tests' own: the kernel speaks there when it panics, and else by its taint
    let append =
        "console=ttyS0,115200 panic=10 loglevel=1 root=/dev/vda rootfstype=ext4 rw init=/init";
    let kernel = image.beside("kernel").display().to_string();
    let direct = Some([kernel, String::new(), append.to_owned()]);
    let mut machine =
        Machine::start(&disk, &Options { memory_mib: 1024, direct, ..Options::new() })?;
    machine.wait_for("selftests: all tried", 1_200)?;
    machine.wait_gone(60)?;
    Ok(machine.console())
}

#[test]
fn the_kernels_own_selftests_end_as_the_pinned_list_says() -> Result<()> {
    let path = tests::root().join("tests/selftests/expected");
    let wanted = expected(&std::fs::read_to_string(&path)?)?;
    let console = console()?;
    let found = cases(&console);
    ensure!(found.len() >= CASES_MIN, "{} cases", found.len());
    let count = |end: End| found.values().filter(|found| **found == end).count();
    tests::report(&format!(
        "selftests: {} cases, {} ok, {} skipped, {} failed",
        found.len(),
        count(End::Ok),
        count(End::Skip),
        count(End::Fail)
    ));
    let wrong = differences(&wanted, &found);
    if wrong.is_empty() {
        return Ok(());
    }
    std::fs::write(path.with_extension("new"), renewed(&wanted, &found))?;
    std::fs::write(tests::root().join("build/selftests.log"), console)?;
    bail!(
        "{}\nwhat the programs said is in build/selftests.log, the list as it would be in \
         tests/selftests/expected.new",
        wrong.join("\n")
    )
}

#[test]
fn every_form_of_an_end_is_read() {
    let said = "x\u{1b}[2Jselftest a/b: TAP version 13\nselftest a/b: ok 1 one thing\r\n\
                selftest a/b: ok 2 # SKIP two\nselftest a/b: not ok 3 three\nselftest a/b: ok 4 four # SKIP why\n\
                selftest a/b: # not ok 5 five\nselftest a/b: ok 5 one thing\n\
                selftest a/b: ok 6 to /proc/3864/exe and /proc/self\nselftest a/b: end: exit code 1\n\
                selftest c: 1..0 # SKIP no\nselftest c: end: exit code 4\nselftest d: end: exit code 0\n\
                selftest e: ok 1 x\nselftest e: end: signal 11\n\
                selftest f: ok 1 x\nselftest f: end: exit code 0, the kernel is tainted\n";
    let read: Vec<String> =
        cases(said).iter().map(|(case, end)| format!("{} {case}", end.word())).collect();
    let wanted = [
        "ok a/b: one thing",
        "ok a/b: one thing (2)",
        "ok a/b: to /proc/N/exe and /proc/self",
        "fail a/b: three",
        "skip a/b: four",
        "skip a/b: two",
        "skip c: all",
        "ok d: end",
        "fail e: end",
        "ok e: x",
        "fail f: end",
        "ok f: x",
    ];
    let mut read: Vec<&str> = read.iter().map(String::as_str).collect();
    let mut wanted = wanted.to_vec();
    read.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(read, wanted);
}

#[test]
fn what_is_missing_new_or_otherwise_is_a_difference() -> Result<()> {
    let wanted = expected("# head\nok a: x\nfail a: y # why\nvaries a: z # slow\nok a: gone\n")?;
    let found = cases(
        "selftest a: not ok 1 x\nselftest a: not ok 2 y\nselftest a: ok 3 z\nselftest a: ok 4 new\n",
    );
    let wrong = differences(&wanted, &found);
    assert_eq!(wrong, ["a: gone: not run", "a: x: fail, expected ok", "a: new: ok, is new"]);
    let again = expected(&renewed(&wanted, &found))?;
    assert!(differences(&again, &found).is_empty());
    assert!(expected("fail a: without a reason\n").is_err());
    Ok(())
}
