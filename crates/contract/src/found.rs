//! What is at a path: shown to a person before a call that deletes, moves or overwrites it, and asserted
//! when the call is performed.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is at a path. A digest is SHA-256, 64 hexadecimal digits in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A file.
    File {
        /// How long it is.
        bytes: u64,
        /// Of its content.
        digest: String,
    },
    /// A directory, without what is beneath it.
    Directory {
        /// How many names are in it.
        names: u64,
    },
    /// A symbolic link, which is not followed.
    Link {
        /// How long the path is that it leads to.
        bytes: u64,
    },
    /// A device, a socket or a pipe.
    Other,
    /// A directory with everything beneath it.
    Tree {
        /// How many names.
        entries: u64,
        /// How long all files are together.
        bytes: u64,
        /// What `filesystem.digest` says of it.
        digest: String,
    },
}

impl Found {
    /// Whether the text is a digest.
    #[must_use]
    pub fn is_digest(text: &str) -> bool {
        text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'a'..=b'f'))
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing is there"),
            Self::File { bytes, digest } => {
                write!(f, "a file is there, bytes={bytes} sha256={digest}")
            }
            Self::Directory { names: 0 } => f.write_str("an empty directory is there"),
            Self::Directory { names } => write!(f, "a directory is there, names={names}"),
            Self::Link { .. } => f.write_str("a link is there"),
            Self::Other => f.write_str("what is there is no file, directory or link"),
            Self::Tree { entries, bytes, digest } => {
                write!(f, "a directory is there, entries={entries} bytes={bytes} sha256={digest}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_shown_alike_that_differ() {
        let digest = |digit: &str| digit.repeat(64);
        let file = |bytes, digit| Found::File { bytes, digest: digest(digit) };
        let tree = |entries, bytes, digit| Found::Tree { entries, bytes, digest: digest(digit) };
        let all = [
            Found::Nothing,
            file(1, "a"),
            file(2, "a"),
            file(1, "b"),
            Found::Directory { names: 0 },
            Found::Directory { names: 1 },
            Found::Link { bytes: 1 },
            Found::Other,
            tree(1, 1, "a"),
            tree(2, 1, "a"),
            tree(1, 2, "a"),
            tree(1, 1, "b"),
        ];
        let shown: std::collections::BTreeSet<String> = all.iter().map(Found::to_string).collect();
        assert_eq!(shown.len(), all.len());
        assert!(Found::is_digest(&digest("a")) && !Found::is_digest(&digest("A")));
        assert!(!Found::is_digest(&"a".repeat(63)));
    }
}
