//! Which rings a cage stands behind: all of them. A build for the cage test alone leaves out what the
//! calling agent's name asks for (`without-landlock`), so that each attack on a ring has a twin which
//! succeeds because nothing else was taken away. `off-user` is the same and also takes away the refusal
//! of a cage that shares a namespace.

#[cfg(feature = "missing-rings")]
use contract::perform::Access;
use contract::perform::Grant;

/// A ring, or one of its parts, that a test can leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Ring one: a namespace of its own, by the kernel's name for it.
    Namespace(&'static str),
    /// Ring one: that the cage is refused where it shares a namespace.
    Check,
    /// Ring one: a root that holds nothing but the agent's files.
    Root,
    /// Ring one: the agent's files are mounted so that nothing of them is executed.
    NoExec,
    /// Ring two: the cgroup's limits.
    Cgroup,
    /// Ring three: the filter of system calls.
    Seccomp,
    /// Ring four.
    Landlock,
    /// Ring five: the loopback interface of the cage's network stays down.
    LoopbackDown,
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

    /// The entry that the filter lacks: none.
    pub(crate) const fn lacking(self) -> Option<usize> {
        None
    }

    /// What a worker keeps: what its call was cut to.
    pub(crate) const fn keep(&self, cut: Vec<Grant>) -> Vec<Grant> {
        cut
    }
}

/// The rings of one cage: all but those that are named, with a `-` between them, and whether one that
/// shares a namespace is refused.
#[cfg(feature = "missing-rings")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rings(String, bool);

#[cfg(feature = "missing-rings")]
impl Rings {
    /// Every one.
    pub(crate) const ALL: Self = Self(String::new(), true);

    /// Those of an agent's cages: what its name does not take away.
    pub(crate) fn of(agent: &str) -> Self {
        let checked = agent.strip_prefix("without-");
        let missing = checked.or_else(|| agent.strip_prefix("off-"));
        let missing = missing.map_or_else(of_every_cage, str::to_owned);
        Self(missing, checked.is_some() || !agent.starts_with("off-"))
    }

    /// Whether a cage has this one.
    pub(crate) fn have(&self, ring: Ring) -> bool {
        let name = match ring {
            Ring::Check => return self.1,
            Ring::Namespace(name) => name,
            Ring::Root => "root",
            Ring::NoExec => "noexec",
            Ring::Cgroup => "limits",
            Ring::LoopbackDown => "lo",
            Ring::Seccomp => "seccomp",
            Ring::Landlock => "landlock",
            Ring::Nftables => "nftables",
        };
        !self.0.split('-').any(|missing| missing == name)
    }

    /// The entry that the filter lacks.
    pub(crate) fn lacking(&self) -> Option<usize> {
        self.0.strip_prefix("call-")?.parse().ok()
    }

    /// What a worker keeps: without Landlock everything, which the test's workers take from this one grant
    /// (`crate::worker`): they enter no domain then.
    pub(crate) fn keep(&self, cut: Vec<Grant>) -> Vec<Grant> {
        if self.have(Ring::Landlock) {
            return cut;
        }
        vec![Grant { path: "/".to_owned(), access: Access::Execute }]
    }
}

/// What the kernel's command line takes away from every cage.
#[cfg(feature = "missing-rings")]
fn of_every_cage() -> String {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let missing = line.split_whitespace().find_map(|word| word.strip_prefix("kruxos.missing="));
    missing.unwrap_or_default().to_owned()
}
