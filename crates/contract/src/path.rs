//! Paths as policy and cage both mean them: absolute, normal, without a link to follow.

use serde::{Deserialize, Deserializer, Serialize};

/// Longest path (PATH_MAX, less its NUL).
pub const PATH_BYTES_MAX: usize = 4_095;
/// Longest segment (NAME_MAX).
pub const SEGMENT_BYTES_MAX: usize = 255;
/// The directory that relative paths of agents start from.
pub const WORKSPACE: &str = "/workspace";

/// An absolute path with single slashes, no `.` or `..`, none at the end; `/` is the root.
///
/// It proves its form, and not that anything is there: the cage opens it again beneath its root
/// and follows no link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CanonicalPath(String);

/// Why text is no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Nothing at all.
    #[error("the path is empty")]
    Empty,
    /// A NUL byte.
    #[error("the path holds a NUL byte")]
    Nul,
    /// Too long, as a whole or in a segment.
    #[error(
        "the path is longer than {PATH_BYTES_MAX} bytes, or a segment than {SEGMENT_BYTES_MAX}"
    )]
    TooLong,
    /// More `..` than directories.
    #[error("the path leaves the root")]
    AboveRoot,
}

impl CanonicalPath {
    /// Brings a path of an agent into canonical form; a relative one starts from [`WORKSPACE`].
    /// `..` is taken literally, segment by segment, which is right because no link is followed.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.is_empty() {
            return Err(PathError::Empty);
        }
        if text.contains('\0') {
            return Err(PathError::Nul);
        }
        let base = if text.starts_with('/') { "" } else { WORKSPACE };
        let mut segments: Vec<&str> = Vec::new();
        for segment in base.split('/').chain(text.split('/')) {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop().ok_or(PathError::AboveRoot)?;
                }
                segment if segment.len() > SEGMENT_BYTES_MAX => return Err(PathError::TooLong),
                segment => segments.push(segment),
            }
        }
        let path = format!("/{}", segments.join("/"));
        if path.len() > PATH_BYTES_MAX { Err(PathError::TooLong) } else { Ok(Self(path)) }
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of a name in this directory; `None` when it would be too long, or is no name.
    #[must_use]
    pub fn join(&self, name: &str) -> Option<Self> {
        let one = !name.contains('/') && !matches!(name, "" | "." | "..");
        Self::parse(&format!("{}/{name}", self.0)).ok().filter(|_| one)
    }

    /// Whether it is `ancestor` or lies beneath it.
    #[must_use]
    pub fn is_under(&self, ancestor: &Self) -> bool {
        ancestor.0 == "/"
            || self
                .0
                .strip_prefix(&ancestor.0)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl<'de> Deserialize<'de> for CanonicalPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let path = Self::parse(&text).map_err(serde::de::Error::custom)?;
        if path.0 == text { Ok(path) } else { Err(serde::de::Error::custom("path not canonical")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_have_one_form() {
        for (text, form) in [
            ("/", "/"),
            ("a/b", "/workspace/a/b"),
            ("//a///b/./c/", "/a/b/c"),
            ("/workspace/../etc/passwd", "/etc/passwd"),
            ("../etc", "/etc"),
            ("..", "/"),
        ] {
            assert_eq!(CanonicalPath::parse(text).unwrap().as_str(), form, "{text}");
        }
        assert_eq!(CanonicalPath::parse("../.."), Err(PathError::AboveRoot));
        assert_eq!(CanonicalPath::parse(""), Err(PathError::Empty));
        assert_eq!(CanonicalPath::parse("/a\0b"), Err(PathError::Nul));
        assert_eq!(CanonicalPath::parse(&"a".repeat(256)), Err(PathError::TooLong));
        assert_eq!(CanonicalPath::parse(&"/abc".repeat(1_100)), Err(PathError::TooLong));
    }

    #[test]
    fn under_means_whole_segments() {
        let path = |text| CanonicalPath::parse(text).unwrap();
        assert!(path("/workspace/a").is_under(&path("/workspace")));
        assert!(path("/workspace").is_under(&path("/workspace")));
        assert!(path("/x").is_under(&path("/")));
        assert!(!path("/workspaces").is_under(&path("/workspace")));
    }

    #[test]
    fn a_name_in_a_directory_is_one_segment() {
        let path = |text| CanonicalPath::parse(text).unwrap();
        assert_eq!(path("/").join("a"), Some(path("/a")));
        assert_eq!(path("b").join(".git"), Some(path("/workspace/b/.git")));
        for name in ["", ".", "..", "a/b", "/a", "a\0"] {
            assert_eq!(path("b").join(name), None, "{name}");
        }
        assert_eq!(path(&"/abc".repeat(1_023)).join("abcd"), None);
    }

    proptest! {
        #[test]
        fn a_canonical_path_is_its_own_form(text in "[a./]{0,40}") {
            if let Ok(path) = CanonicalPath::parse(&text) {
                prop_assert_eq!(CanonicalPath::parse(path.as_str()).unwrap(), path);
            }
        }
    }
}
