//! `krux` as a person starts it, in the checkout, and a place for their files.

use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Its exit code, what it said and its errors.
pub(crate) fn krux(words: &[&str]) -> (Option<i32>, String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO_BIN_EXE_krux"));
    let output = command.current_dir(root).args(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The same with `--json`; null where it said none.
pub(crate) fn json(words: &[&str]) -> (Option<i32>, Json, String) {
    let (code, said, errors) = krux(&[&["--json"], words].concat());
    (code, serde_json::from_str(&said).unwrap_or_default(), errors)
}

/// A directory of a test's own.
pub(crate) fn directory(name: &str) -> PathBuf {
    let directory = std::env::temp_dir().join(format!("krux-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
