//! What a rule asks of one field, as a formula over *atoms*: the patterns, intervals or names that any rule
//! of its kind tests that field for.

/// A formula over atoms, which are numbered.
#[derive(Debug, Clone)]
pub(crate) enum Formula {
    /// One of these atoms.
    Any(Vec<u32>),
    All(Vec<Self>),
    Not(Box<Self>),
}

impl Formula {
    /// Whether it holds of a value of which exactly `atoms`, sorted, hold.
    pub(crate) fn holds(&self, atoms: &[u32]) -> bool {
        match self {
            Self::Any(of) => of.iter().any(|atom| atoms.binary_search(atom).is_ok()),
            Self::All(of) => of.iter().all(|one| one.holds(atoms)),
            Self::Not(one) => !one.holds(atoms),
        }
    }

    /// Every atom that it names.
    pub(crate) fn atoms(&self) -> Vec<u32> {
        match self {
            Self::Any(of) => of.clone(),
            Self::All(of) => of.iter().flat_map(Self::atoms).collect(),
            Self::Not(one) => one.atoms(),
        }
    }
}
