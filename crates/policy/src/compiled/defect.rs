//! Ways to break the engine, one for each thing that it does differently from the specification. Only a test
//! can: it shows that the comparison of both would notice.

/// One thing done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    /// A rule holds of no value of which no atom does: `not` is forgotten.
    Unnamed,
    /// A rule that does not ask about a dimension is lost in it.
    Unasked,
    /// A version that rules name is taken for any other.
    Versions,
    /// A region has paths that are none.
    Segments,
    /// What is exhausted answers as before.
    Exhausted,
    /// A layer of one agent speaks of all.
    LayerOfAgent,
    /// Intervals end one too early.
    Ends,
}

/// Every one.
#[cfg(test)]
pub(super) const ALL: [Defect; 7] = [
    Defect::Unnamed,
    Defect::Unasked,
    Defect::Versions,
    Defect::Segments,
    Defect::Exhausted,
    Defect::LayerOfAgent,
    Defect::Ends,
];

#[cfg(test)]
thread_local! {
    /// The one that this test's thread has.
    pub(super) static BROKEN: std::cell::Cell<Option<Defect>> = const { std::cell::Cell::new(None) };
}

/// Whether the engine has this one: never, outside its tests.
#[cfg(not(test))]
pub(super) const fn has(_defect: Defect) -> bool {
    false
}

/// Whether the engine has this one.
#[cfg(test)]
pub(super) fn has(defect: Defect) -> bool {
    BROKEN.get() == Some(defect)
}
