//! Ways to break the answers to questions, one for each thing that could be forgotten. Only a test can: it shows
//! that the comparison with the interpreter would notice.

/// One thing done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// Every effect has every field of its kind.
    Absent,
    /// A value of which no rule holds is forgotten.
    Otherwise,
    /// Limits are never used up.
    Limits,
    /// What `within` allows is forbidden too.
    Within,
    /// Code does nothing but run.
    Envelope,
    /// Values end anywhere, canonical or not.
    Form,
    /// A rule that answers otherwise than before is taken for the same.
    Alike,
    /// A rule that is limited otherwise than before is taken for the same.
    LimitedAlike,
    /// A limit that is always the stricter one is taken for any other.
    NeverStricter,
}

/// Every one.
#[cfg(test)]
pub(super) const ALL: [Defect; 9] = [
    Defect::Absent,
    Defect::Otherwise,
    Defect::Limits,
    Defect::Within,
    Defect::Envelope,
    Defect::Form,
    Defect::Alike,
    Defect::LimitedAlike,
    Defect::NeverStricter,
];

#[cfg(test)]
thread_local! {
    /// The one that this test's thread has.
    pub(super) static BROKEN: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Whether there is this one: never, outside tests.
#[cfg(not(test))]
pub(super) const fn has(_defect: Defect) -> bool {
    false
}

/// Whether there is this one.
#[cfg(test)]
pub(super) fn has(defect: Defect) -> bool {
    BROKEN.get() == Some(defect)
}
