//! How a finding is said on the console: the test on the host looks for these words.

use std::fmt::Display;

/// `holds`, or what was seen in its place: a long line of proof is no use on a console.
pub(crate) fn verdict(holds: bool, seen: &dyn Display) -> String {
    if holds { "holds".to_owned() } else { format!("DOES NOT HOLD: {seen}") }
}
