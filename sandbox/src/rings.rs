//! Which rings a cage stands behind: all of them. A build for the cage test alone leaves out what the
//! calling agent's name asks for (`without-landlock`), so that each attack on a ring has a twin which
//! succeeds because nothing else was taken away.

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

/// Whether the cage of `agent` has this ring: always.
#[cfg(not(feature = "missing-rings"))]
pub(crate) const fn stands(_ring: Ring, _agent: &str) -> bool {
    true
}

/// Whether the cage of `agent` has this ring: unless its name says otherwise.
#[cfg(feature = "missing-rings")]
pub(crate) fn stands(ring: Ring, agent: &str) -> bool {
    let name = match ring {
        Ring::Namespace(name) => name,
        Ring::Root => "root",
        Ring::Cgroup => "cgroups",
        Ring::Seccomp => "seccomp",
        Ring::Landlock => "landlock",
        Ring::Nftables => "nftables",
    };
    let missing = agent.strip_prefix("without-").unwrap_or_default();
    !missing.split('-').any(|missing| missing == name)
}
