//! Sizes and manners of files. Function length is clippy's (`.clippy.toml`); the rest is here.

use anyhow::Result;
use std::path::Path;

const FILE_LINES_MAX: usize = 500;
const README_LINES_MAX: usize = 100;
const UNSAFE_BLOCKS_MAX: usize = 60;
/// How an unsafe block begins; split so that this file does not find itself.
const UNSAFE: &str = concat!("unsafe", " {");
/// Words that the project does not leave behind; split so that this file does not find itself.
const LEFT_BEHIND: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:")];

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut unsafe_blocks = 0;
    for file in crate::tracked(root)? {
        let name = file.display().to_string();
        let Ok(text) = std::fs::read_to_string(root.join(&file)) else { continue };
        if name.ends_with(".rs") {
            rust(&name, &text, &mut wrong);
            if name.starts_with("crates/linux/") {
                unsafe_blocks += text.matches(UNSAFE).count();
            } else if text.contains(UNSAFE) {
                wrong.push(format!("{name}: unsafe belongs to crates/linux alone"));
            }
        }
        if name.ends_with(".py") && text.lines().count() > FILE_LINES_MAX {
            wrong.push(format!("{name}: more than {FILE_LINES_MAX} lines"));
        }
        if name == "README.md" && text.lines().count() > README_LINES_MAX {
            wrong.push(format!("{name}: more than {README_LINES_MAX} lines"));
        }
        for word in LEFT_BEHIND.iter().filter(|word| text.contains(**word)) {
            wrong.push(format!("{name}: {word} left behind; file an issue or do it"));
        }
    }
    if unsafe_blocks > UNSAFE_BLOCKS_MAX {
        wrong.push(format!(
            "crates/linux: {unsafe_blocks} unsafe blocks, at most {UNSAFE_BLOCKS_MAX}"
        ));
    }
    Ok(wrong)
}

fn rust(name: &str, text: &str, wrong: &mut Vec<String>) {
    if !text.starts_with("//!") {
        wrong.push(format!("{name}: does not begin with what it is (`//!`)"));
    }
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or(text);
    if code.lines().count() > FILE_LINES_MAX {
        wrong.push(format!("{name}: more than {FILE_LINES_MAX} lines before its tests"));
    }
    let is_root = name.ends_with("/main.rs") || name.ends_with("/lib.rs");
    if is_root && !name.starts_with("crates/linux/") && !text.contains("#![forbid(unsafe_code)]") {
        wrong.push(format!("{name}: lacks #![forbid(unsafe_code)]"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_or_silent_file_is_found() {
        let mut wrong = Vec::new();
        rust("net/src/x.rs", "//! What it is.\nfn a() {}\n", &mut wrong);
        assert!(wrong.is_empty());
        rust("net/src/x.rs", "fn a() {}\n", &mut wrong);
        rust("net/src/x.rs", &format!("//! Long.\n{}", "fn a() {}\n".repeat(501)), &mut wrong);
        rust("net/src/main.rs", "//! No lint.\n", &mut wrong);
        assert_eq!(wrong.len(), 3);
    }
}
