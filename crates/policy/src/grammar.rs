//! The keys of a layer's text, in the order in which they are written. The reader of policies has them from
//! `serde`, the formatter and the schema from here; a test holds both together.

/// Of a layer.
pub(crate) const LAYER: [&str; 5] = ["policy", "limits", "version", "otherwise", "rules"];
/// Of a rule.
pub(crate) const RULE: [&str; 9] = [
    "name",
    "agents",
    "capabilities",
    "effects",
    "where",
    "decision",
    "limits",
    "approval",
    "reason",
];
/// Of a rule's `limits`.
pub(crate) const LIMITS: [&str; 6] = ["calls", "bytes", "seconds", "concurrent", "open", "over"];
/// Of a rule's `approval`.
pub(crate) const APPROVAL: [&str; 5] = ["votes", "of", "decide_within", "run_within", "grants"];
/// Of what is said of a field.
pub(crate) const TEST: [&str; 5] = ["in", "under", "min", "max", "not"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::parse;
    use contract::effect::{Field, Kind};

    /// What the reader says that it expected in the place of a key that nobody has.
    fn known(text: &str) -> Vec<String> {
        let message = parse(text).unwrap_err().message;
        assert!(message.contains("`nobody`"), "{message}");
        message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    fn rule(more: &str) -> String {
        format!(
            "policy: box\nversion: 1\nrules:\n  - {{ name: a, agents: [any], effects: [write], decision: blocked, {more} }}\n"
        )
    }

    #[test]
    fn the_keys_are_those_that_the_reader_knows() {
        assert_eq!(known("nobody: 1\n"), LAYER);
        assert_eq!(known(&rule("nobody: 1")), RULE);
        assert_eq!(known(&rule("limits: { nobody: 1 }")), LIMITS);
        assert_eq!(known(&rule("approval: { nobody: 1 }")), APPROVAL);
        assert_eq!(known(&rule("where: { bytes: { nobody: 1 } }")), TEST);
        assert_eq!(known(&rule("where: { nobody: 1 }")), Field::ALL.map(Field::name));
        let kinds = rule("").replace("[write]", "[nobody]");
        assert_eq!(known(&kinds), Kind::ALL.map(Kind::name));
    }
}
