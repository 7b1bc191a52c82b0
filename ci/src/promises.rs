//! docs/promises.md: every promise has a number, and names a test that exists or says that there is
//! none yet; docs/surface.md: so does every code.

use anyhow::Result;
use std::collections::BTreeSet;
use std::path::Path;

const NONE_YET: &str = "no test yet";

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let promises = std::fs::read_to_string(root.join("docs/promises.md"))?;
    let mut names = BTreeSet::new();
    for file in crate::tracked(root)? {
        if file.extension().is_some_and(|kind| kind == "rs") {
            let text = std::fs::read_to_string(root.join(&file))?;
            names.extend(test_names(&text));
        }
    }
    let surface = std::fs::read_to_string(root.join("docs/surface.md"))?;
    Ok([judge(&promises, &names), judge_codes(&surface, &names)].concat())
}

/// Functions that follow a `#[test]`.
fn test_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" || line == "#[tokio::test]" {
            is_test = true;
        } else if let Some(rest) = declared(line).filter(|_| is_test) {
            names.extend(rest.split('(').next().map(str::to_owned));
            is_test = false;
        }
    }
    names
}

/// What follows `fn `.
fn declared(line: &str) -> Option<&str> {
    line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")
}

/// Rows are `| P-NN | promise | test, test |`.
fn judge(promises: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for row in promises.lines().filter(|line| line.starts_with("| P-")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [number, _, held_by] = cells.as_slice() else {
            wrong.push(format!("`{row}` is no row of three cells"));
            continue;
        };
        if !seen.insert(*number) {
            wrong.push(format!("{number} is there twice"));
        }
        if *held_by == NONE_YET {
            continue;
        }
        for test in held_by.split(',').map(|test| test.trim().trim_matches('`')) {
            if !tests.contains(test) {
                wrong.push(format!("{number} names `{test}`, which is no test"));
            }
        }
    }
    if seen.is_empty() {
        wrong.push("there is no promise at all".to_owned());
    }
    wrong
}

/// Rows of docs/surface.md are `| code, code | status | when | test, test |`; what a person runs by
/// hand begins with `./`.
fn judge_codes(surface: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut lines = surface.lines().skip_while(|line| !line.ends_with("| shown by |")).skip(2);
    let mut wrong = Vec::new();
    let mut rows = 0;
    for row in lines.by_ref().take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [codes, _, _, shown_by] = cells.as_slice() else {
            wrong.push(format!("`{row}` is no row of four cells"));
            continue;
        };
        rows += 1;
        let named = shown_by.split(',').map(|test| test.trim().trim_matches('`'));
        let by_hand = |test: &str| *shown_by == NONE_YET || test.starts_with("./");
        for test in named.filter(|test| !by_hand(test) && !tests.contains(*test)) {
            wrong.push(format!("{codes}: `{test}` is no test"));
        }
    }
    if rows == 0 {
        wrong.push("docs/surface.md has no table of codes".to_owned());
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_without_its_test_is_found() {
        let tests = BTreeSet::from(["holds".to_owned()]);
        assert!(judge("| P-01 | a | `holds` |\n| P-02 | b | no test yet |", &tests).is_empty());
        assert_eq!(judge("| P-01 | a | `gone` |", &tests).len(), 1);
        assert_eq!(judge("| P-01 | a | `holds` |\n| P-01 | b | `holds` |", &tests).len(), 1);
        assert_eq!(judge("nothing", &tests).len(), 1);
    }

    #[test]
    fn a_code_without_its_test_is_found() {
        let tests = BTreeSet::from(["holds".to_owned()]);
        let table = |row: &str| format!("| code | status | when | shown by |\n|---|\n{row}\n");
        assert!(judge_codes(&table("| `a` | 1 | x | `holds`, `./run` |"), &tests).is_empty());
        assert!(judge_codes(&table("| `a` | 1 | x | no test yet |"), &tests).is_empty());
        assert_eq!(judge_codes(&table("| `a` | 1 | x | `gone` |"), &tests).len(), 1);
        assert_eq!(judge_codes("", &tests).len(), 1);
    }

    #[test]
    fn only_tests_are_tests() {
        assert_eq!(test_names("#[test]\nfn a() {}\nfn b() {}"), ["a"]);
    }
}
