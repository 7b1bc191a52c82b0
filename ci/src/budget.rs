//! ci/budget: minutes per suite, cold and warm; their sums have bounds of their own.

use anyhow::Result;
use std::path::Path;

const COLD_MINUTES_MAX: u32 = 60;
const WARM_MINUTES_MAX: u32 = 20;

pub(crate) fn check(root: &Path) -> Result<Vec<String>> {
    Ok(judge(&std::fs::read_to_string(root.join("ci/budget"))?))
}

/// Lines are `suite cold warm`; `#` begins a comment.
fn judge(text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let (mut cold, mut warm) = (0, 0);
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, c, w] => match (c.parse::<u32>(), w.parse::<u32>()) {
                (Ok(c), Ok(w)) => {
                    cold += c;
                    warm += w;
                }
                _ => wrong.push(format!("`{line}`: minutes are whole numbers")),
            },
            _ => wrong.push(format!("`{line}` is no `suite cold warm`")),
        }
    }
    for (name, sum, most) in [("cold", cold, COLD_MINUTES_MAX), ("warm", warm, WARM_MINUTES_MAX)] {
        if sum > most || sum == 0 {
            wrong.push(format!("{sum} {name} minutes in sum, at most {most} and not 0"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_bounded() {
        assert!(judge("# suite cold warm\nquick 10 2\nimage 50 18\n").is_empty());
        assert_eq!(judge("quick 61 2\n").len(), 1);
        assert_eq!(judge("quick 1 21\n").len(), 1);
        assert_eq!(judge("quick many 2\nimage 1 1\n").len(), 1);
    }
}
