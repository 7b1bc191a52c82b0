//! The five rings of a cage, and how each is tried.

/// The capability that tries one.
pub const CAPABILITY: &str = "cage.try@1";

/// One ring.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    /// Its name.
    pub name: &'static str,
    /// What is attempted in a cage.
    pub attempt: &'static str,
    /// What stops it.
    pub stopped_by: &'static str,
    /// The code that a call with this attempt ends with where the ring holds.
    pub ends: &'static str,
}

/// The names, in the order of [`RINGS`].
pub const NAMES: [&str; 5] = ["namespaces", "cgroup", "seccomp", "landlock", "nftables"];

/// All five.
pub const RINGS: [Ring; 5] = [
    Ring {
        name: "namespaces",
        attempt: "look for the box's programs, ledger and processes, and for its name",
        stopped_by: "a root with nothing in it, and a host name of the cage's own",
        ends: "ok",
    },
    Ring {
        name: "cgroup",
        attempt: "take more memory than the call may have",
        stopped_by: "memory.max: the cage is killed",
        ends: OUT_OF_MEMORY,
    },
    Ring {
        name: "seccomp",
        attempt: "signal itself by kill(2), which the forker's own filter admits",
        stopped_by: "the filter: SIGSYS kills the cage",
        ends: FORBIDDEN_CALL,
    },
    Ring {
        name: "landlock",
        attempt: "list the root directory, of which nothing was granted",
        stopped_by: "the domain: EACCES",
        ends: "ok",
    },
    Ring {
        name: "nftables",
        attempt: "send a datagram over a loopback interface that is up",
        stopped_by: "the packet filter of the cage's network: EPERM",
        ends: "ok",
    },
];

/// The code of a call whose cage used more memory than it may.
pub const OUT_OF_MEMORY: &str = "out_of_memory";
/// The code of a call whose cage made a system call that its filter forbids.
pub const FORBIDDEN_CALL: &str = "forbidden_call";

/// A ring by its name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Ring> {
    RINGS.iter().find(|ring| ring.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_the_rings() {
        assert_eq!(RINGS.map(|ring| ring.name), NAMES);
        assert!(find("seccomp").is_some() && find("other").is_none());
    }
}
