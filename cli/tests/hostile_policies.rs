//! Texts of policy that somebody wrote to hurt whoever reads them: each is refused with its reason, in a
//! process that has 256 MiB.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Memory of the process that reads one, in bytes (RLIMIT_DATA, setrlimit(2)).
const DATA_BYTES: u64 = 256 << 20;
const HEAD: &str = "policy: box\nversion: 1\nrules:\n";
const RULE: &str = "  - { name: r, agents: [any], effects: [read], decision: autonomous }\n";

/// A policy of these rules.
fn rules(rules: &str) -> Vec<u8> {
    format!("{HEAD}{rules}").into_bytes()
}

/// A policy whose one rule says this of a path.
fn path(test: &str) -> Vec<u8> {
    rules(&format!(
        "  - {{ name: r, agents: [any], effects: [read], where: {{ path: {test} }}, decision: autonomous }}\n"
    ))
}

/// A policy whose one rule has this in the place of a key's value.
fn with(key: &str, value: &str) -> Vec<u8> {
    let known = |name: &str, usual: &str| {
        let value = if name == key { value } else { usual };
        format!("    {name}: {value}\n")
    };
    let extra = if ["name", "agents", "effects", "decision"].contains(&key) {
        String::new()
    } else {
        format!("    {key}: {value}\n")
    };
    let name = if key == "name" { value } else { "r" };
    rules(&format!(
        "  - name: {name}\n{}{}{}{extra}",
        known("agents", "[any]"),
        known("effects", "[write]"),
        known("decision", "autonomous"),
    ))
}

/// Anchors, aliases, tags, and what grows by them.
fn bombs() -> Vec<Vec<u8>> {
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..=40 {
        let below = level - 1;
        let nine = format!("*a{below}, ").repeat(9);
        laughs.push_str(&format!("a{level}: &a{level} [{nine}*a{below}]\n"));
    }
    let texts = [
        laughs.clone(),
        format!("{laughs}{HEAD}{RULE}"),
        format!(
            "{HEAD}  - &r {{ name: r, agents: [any], effects: [read], decision: autonomous }}\n"
        ),
        format!("{HEAD}  - *r\n"),
        "policy: &p box\nversion: 1\nrules: []\n".to_owned(),
        "policy: box\nversion: 1\nrules: &r [*r]\n".to_owned(),
        "policy: !!str box\nversion: 1\nrules: []\n".to_owned(),
        "policy: !!binary Ym94\nversion: 1\nrules: []\n".to_owned(),
        "!!python/object:os.system {}\n".to_owned(),
        format!("<<: *a\n{HEAD}{RULE}"),
        format!("<<: {{ policy: box }}\n{HEAD}{RULE}"),
        format!("? &k key\n: v\n{HEAD}{RULE}"),
        format!("%YAML 1.1\n---\n{HEAD}{RULE}"),
        format!("{HEAD}{RULE}---\n{HEAD}{RULE}"),
    ];
    texts.map(String::into_bytes).into()
}

/// What nests, repeats or is long.
fn large() -> Vec<Vec<u8>> {
    let many = |text: &str, times: usize| text.repeat(times);
    let not = |depth: usize| format!("{}/a{}", many("{ not: ", depth), many(" }", depth));
    let block = |depth: usize| {
        (0..depth).fold(String::new(), |text, level| text + &many(" ", level) + "a:\n")
    };
    let numbered = (0..10_001).map(|n| RULE.replace("name: r", &format!("name: r{n}")));
    let timed = (0..501).map(|n| {
        let limits = "limits: { open: 09:00-17:00 UTC }, decision";
        RULE.replace("name: r", &format!("name: r{n}")).replace("decision", limits)
    });
    vec![
        many("[", 100_000).into_bytes(),
        many("{", 100_000).into_bytes(),
        many("{a: ", 100_000).into_bytes(),
        many("- ", 500_000).into_bytes(),
        many("a:\n ", 200_000).into_bytes(),
        block(1_200).into_bytes(),
        path(&not(17)),
        path(&not(10_000)),
        path(&format!("[{}]", many("/a, ", 200_000))),
        path(&format!("[{}/a]", many("/a, ", 10_000))),
        path(&format!("/{}", many("a", 5_000))),
        path(&format!("\"/{}\"", many("*", 5_000))),
        with("name", &many("n", 65)),
        with("reason", &many("r", 501)),
        with("agents", &format!("[{}]", many("a", 5_000))),
        rules(&numbered.collect::<String>()),
        with("limits", &format!("{{ open: [{}] }}", many("09:00-17:00 UTC, ", 17))),
        with("limits", &format!("{{ open: \"09:00-17:00 {}\" }}", many("U", 100_000))),
        with("limits", &format!("{{ open: \"{}mon 09:00-17:00 UTC\" }}", many("mon,", 30))),
        rules(&timed.collect::<String>()),
        format!("{HEAD}{}", many("#\n", 600_000)).into_bytes(),
        many(" ", 2 << 20).into_bytes(),
        many("\n", 2 << 20).into_bytes(),
        Vec::new(),
        b"\n".to_vec(),
        b"# nothing\n".to_vec(),
        b"null\n".to_vec(),
        b"[]\n".to_vec(),
        b"policy\n".to_vec(),
    ]
}

/// The same twice, and what is not known.
fn keys() -> Vec<Vec<u8>> {
    let texts = [
        format!("policy: box\n{HEAD}{RULE}"),
        format!("{HEAD}{RULE}rules: []\n"),
        format!("{HEAD}{RULE}version: 2\n"),
        format!("{HEAD}{RULE}{RULE}"),
        format!("{HEAD}{RULE}otherwise: autonomous\n"),
        format!("{HEAD}{RULE}otherwise: notify\n"),
        format!("{HEAD}{RULE}limits: system\n"),
        format!("limits: nobody\nversion: 1\nrules:\n{RULE}"),
        format!("limits: agent/\nversion: 1\nrules:\n{RULE}"),
        format!("limits: system\nversion: 1\notherwise: blocked\nrules:\n{RULE}"),
        format!("policy: boxes\nversion: 1\nrules:\n{RULE}"),
        format!("version: 1\nrules:\n{RULE}"),
        format!("policy: box\nrules:\n{RULE}"),
        format!("{HEAD}{RULE}extends: personal\n"),
    ];
    let mut all: Vec<Vec<u8>> = texts.map(String::into_bytes).into();
    for (key, value) in [
        ("name", "r\n    name: s"),
        ("decision", "autonomous\n    decision: blocked"),
        ("effects", "[write]\n    effects: [read]"),
        ("where", "{ path: /a, path: /b }"),
        ("where", "{ path: { under: /a, under: /b } }"),
        ("where", "{ path: { not: /a, not: /b } }"),
        ("where", "{ bytes: { min: 1, min: 2 } }"),
        ("where", "{ paths: /a }"),
        ("where", "{ host: a.example }"),
        ("where", "{ path: { below: /a } }"),
        ("where", "{ bytes: { under: /a } }"),
        ("where", "{ path: { min: 1 } }"),
        ("where", "{ path: {} }"),
        ("where", "{ path: [] }"),
        ("limits", "{ calls: 1/minute, calls: 2/minute }"),
        ("limits", "{ over: blocked }"),
        ("limits", "{ calls: 1/minute, over: notify, over: blocked }"),
        ("approval", "{ votes: 1 }"),
        ("decisions", "blocked"),
        ("agents", "[]"),
        ("agents", "[\"\"]"),
        ("effects", "[]"),
        ("effects", "[writes]"),
        ("decision", "allow"),
        ("decision", "[autonomous, blocked]"),
        ("name", "[r]"),
        ("name", "\"\""),
        ("name", "\"a b\""),
        ("name", "\"a/b\""),
        ("capabilities", "[\"*\"]"),
        ("capabilities", "[filesystem.*]"),
        ("capabilities", "[filesystem.read@]"),
        ("capabilities", "[filesystem.read@-1]"),
        ("capabilities", "[filesystem.read@99999999999]"),
    ] {
        all.push(with(key, value));
    }
    all
}

/// Numbers that are none, or too large.
fn numbers() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for version in [
        "-1",
        "1.5",
        "1e400",
        ".inf",
        ".nan",
        "18446744073709551616",
        "0x1ffffffffffffffffff",
        "one",
    ] {
        all.push(format!("policy: box\nversion: {version}\nrules: []\n").into_bytes());
    }
    for bytes in
        ["-1", "1.5", "1e400", "99999999999999999999", "17179869184GiB", "1MB", ".inf", "true"]
    {
        all.push(with("where", &format!("{{ bytes: {{ max: {bytes} }} }}")));
    }
    for (key, value) in [
        ("where", "{ bytes: { min: 2, max: 1 } }"),
        ("limits", "{ calls: 0.5/minute }"),
        ("limits", "{ calls: 99999999999999999999/minute }"),
        ("limits", "{ calls: 5/fortnight }"),
        ("limits", "{ concurrent: -1 }"),
        ("limits", "{ concurrent: 4294967296 }"),
        ("limits", "{ open: 9 }"),
        ("limits", "{ open: [] }"),
        ("limits", "{ open: {} }"),
        ("limits", "{ open: \"\" }"),
        ("limits", "{ open: \"09:00-17:00\" }"),
        ("limits", "{ open: \"09:00-17:00 /etc/passwd\" }"),
        ("limits", "{ open: \"09:00-17:00 ../../../etc/localtime\" }"),
        ("limits", "{ open: \"09:00-17:00 Europe/Berl\u{131}n\" }"),
        ("limits", "{ open: \"09:00-99999999999999999999:00 UTC\" }"),
        ("limits", "{ open: \"mon-fri-sun 09:00-17:00 UTC\" }"),
        ("limits", "{ open: \"٠٩:٠٠-١٧:٠٠ UTC\" }"),
        ("limits", "{ open: 09:00-17:00 UTC, open: 09:00-18:00 UTC }"),
    ] {
        all.push(with(key, value));
    }
    all
}

/// Text that is not what it looks like.
fn unicode() -> Vec<Vec<u8>> {
    let mut all = vec![
        [HEAD.as_bytes(), b"  - { name: \xff }\n"].concat(),
        [HEAD.as_bytes(), b"  - { name: \xc0\xaf }\n"].concat(),
        [HEAD.as_bytes(), b"  - { name: \xed\xa0\x80 }\n"].concat(),
        [b"\xff\xfe".as_slice(), HEAD.as_bytes()].concat(),
        format!("{HEAD}{RULE}").encode_utf16().flat_map(u16::to_le_bytes).collect(),
        format!("\u{feff}{HEAD}{RULE}").into_bytes(),
        format!("{HEAD}{RULE}\0").into_bytes(),
        format!("{HEAD}\t{RULE}").into_bytes(),
        path("\"/workspace/\\u202etxt\""),
        path("\"/workspace/\\0\""),
        path("\"/workspace/\\x1b[2J\""),
        path("/workspace/\u{200b}a"),
        path("/workspace/../etc"),
        path("/workspace//a"),
        path("workspace"),
        path("/workspace/a/"),
        with("name", "\"r\\u200b\""),
        with("name", "ｒ"),
        with("reason", "\"safe \\u202e elifs\""),
        with("agents", "[\"any\\u200b\"]"),
    ];
    for host in ["A.example", "a..example", "*.*.example", "a.example.", "аpple.example", "a b", ""]
    {
        all.push(rules(&format!(
            "  - {{ name: r, agents: [any], effects: [connect], where: {{ host: \"{host}\" }}, decision: autonomous }}\n"
        )));
    }
    for network in
        ["10.0.0.1/8", "10.0.0.0/33", "::/129", "0x0a000000/8", "10/8", "fe80::1%eth0/64"]
    {
        all.push(rules(&format!(
            "  - {{ name: r, agents: [any], effects: [connect], where: {{ address: \"{network}\" }}, decision: autonomous }}\n"
        )));
    }
    all
}

/// Patterns whose combinations multiply.
fn exploding() -> Vec<Vec<u8>> {
    let of = |count: u32, pattern: &dyn Fn(u32) -> String| {
        let rule = |n: u32| {
            format!(
                "  - {{ name: r{n}, agents: [any], effects: [read], where: {{ path: \"{}\" }}, decision: autonomous }}\n",
                pattern(n)
            )
        };
        rules(&(0..count).map(rule).collect::<String>())
    };
    vec![
        of(40, &|n| format!("/**/x{n}/**")),
        of(40, &|n| format!("/**/x{n}/**/y{n}/**")),
        of(200, &|n| format!("/**a{n}**b{n}**")),
        of(1, &|_| format!("/{}", "**a".repeat(400))),
        of(1, &|_| format!("/**a{}", "?".repeat(3) + &"**b*c".repeat(300))),
    ]
}

/// What `krux policy check` says of a text in a process of little memory: the reason, or what is wrong
/// with that.
fn reason(file: &Path, text: &[u8]) -> Result<String, String> {
    std::fs::write(file, text).unwrap();
    let mut command = Command::new("prlimit");
    command.arg(format!("--data={DATA_BYTES}")).arg("--").arg(env!("CARGO_BIN_EXE_krux"));
    let output = command.args(["--json", "policy", "check"]).arg(file).output().unwrap();
    match output.status.code() {
        Some(0) => return Err("taken".to_owned()),
        Some(1 | 2) => {}
        _ => return Err(format!("{output:?}")),
    }
    let said: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {output:?}"))?;
    let reason = said.pointer("/mistakes/0/message").or(said.get("error"));
    let reason = reason.and_then(Value::as_str).filter(|reason| reason.len() > 5);
    reason.map(str::to_owned).ok_or_else(|| format!("no reason: {said}"))
}

#[test]
fn a_hundred_hostile_policies_are_refused_with_their_reason_in_little_memory() {
    let directory = std::env::temp_dir().join(format!("krux-hostile-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("policy.yaml");
    let all = [bombs(), large(), keys(), numbers(), unicode(), exploding()].concat();
    assert!(all.len() >= 100, "{}", all.len());
    let wrong = all.iter().filter_map(|text| {
        let shown: String = String::from_utf8_lossy(text).chars().take(300).collect();
        reason(&file, text).err().map(|error| format!("{error}:\n{shown}\n"))
    });
    let wrong: Vec<String> = wrong.collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    // one that is not hostile is taken
    assert_eq!(reason(&file, &rules(RULE)), Err("taken".to_owned()));
    std::fs::remove_dir_all(&directory).unwrap();
}
