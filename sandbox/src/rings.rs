//! Which rings a cage stands behind: all of them. A build for the cage test alone leaves out what the
//! calling agent's name asks for (`without-landlock`), so that each attack on a ring has a twin which
//! succeeds because nothing else was taken away.

#[cfg(feature = "missing-rings")]
use contract::perform::Access;
use contract::perform::Grant;

/// A ring, or one of its parts, that a test can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Ring one: a namespace of its own, by the kernel's name for it.
    Namespace(&'static str),
    /// Ring one: a root that holds nothing but the agent's files.
    Root,
    /// Ring two: the cgroup's limits.
    Cgroup,
    /// Ring three: the filter of system calls.
    Seccomp,
    /// Ring four.
    Landlock,
    /// Ring five: the packet filter of the cage's network.
    Nftables,
}

/// The rings of one cage.
#[cfg(not(feature = "missing-rings"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rings;

#[cfg(not(feature = "missing-rings"))]
impl Rings {
    /// Every one.
    pub(crate) const ALL: Self = Self;

    /// Those of an agent's cages: every one.
    pub(crate) const fn of(_agent: &str) -> Self {
        Self
    }

    /// Whether a cage has this one: always.
    pub(crate) const fn have(&self, _ring: Ring) -> bool {
        true
    }

    /// What a worker keeps: what its call was cut to.
    pub(crate) const fn keep(&self, cut: Vec<Grant>) -> Vec<Grant> {
        cut
    }
}

/// The rings of one cage: all but those that are named, with a `-` between them.
#[cfg(feature = "missing-rings")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rings(String);

#[cfg(feature = "missing-rings")]
impl Rings {
    /// Every one.
    pub(crate) const ALL: Self = Self(String::new());

    /// Those of an agent's cages: what its name does not take away.
    pub(crate) fn of(agent: &str) -> Self {
        Self(agent.strip_prefix("without-").unwrap_or_default().to_owned())
    }

    /// Whether a cage has this one.
    pub(crate) fn have(&self, ring: Ring) -> bool {
        let name = match ring {
            Ring::Namespace(name) => name,
            Ring::Root => "root",
            Ring::Cgroup => "cgroups",
            Ring::Seccomp => "seccomp",
            Ring::Landlock => "landlock",
            Ring::Nftables => "nftables",
        };
        !self.0.split('-').any(|missing| missing == name)
    }

    /// What a worker keeps: without Landlock everything.
    pub(crate) fn keep(&self, cut: Vec<Grant>) -> Vec<Grant> {
        if self.have(Ring::Landlock) {
            return cut;
        }
        let all = |access| Grant { path: "/".to_owned(), access };
        vec![all(Access::Read), all(Access::Write)]
    }
}
