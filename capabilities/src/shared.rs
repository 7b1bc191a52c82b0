//! What a call has in common with calls of other agents: what it changes that they can learn of, and what it tells
//! that they can have changed. An agent's files are its own, and its network ends at the machines that it connects
//! to (docs/decisions/0019). Only what calls are for counts: that they take time, memory and space, everybody can
//! measure.

use crate::declaration::Declaration;

/// A part of the box that more than one agent can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Which services run, since when and how often they were started.
    Services,
    /// When the box booted, and how.
    Boot,
    /// The persons who supervise it: what they are sent, no agent is told.
    Operators,
}

impl Place {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Services => "the box's services",
            Self::Boot => "the box's boot",
            Self::Operators => "the operators",
        }
    }
}

/// What a capability has in common with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shared {
    /// Nothing: its caller's own files, and what is the same for everybody.
    Nothing,
    /// The machines that its `connect` and `resolve` effects name, to which it says something and of which it hears.
    Machines,
    /// These, which it changes, or to which it says something.
    Changes(&'static [Place]),
    /// These, which it tells of.
    Tells(&'static [Place]),
}

const BOTH: &[Place] = &[Place::Services, Place::Boot];

/// Each capability of [`crate::CATALOGUE`].
const TABLE: &[(&str, Shared)] = &[
    ("agent.whoami", Shared::Nothing),
    ("cage.try", Shared::Nothing),
    ("filesystem.append", Shared::Nothing),
    ("filesystem.archive", Shared::Nothing),
    ("filesystem.copy", Shared::Nothing),
    ("filesystem.delete", Shared::Nothing),
    ("filesystem.digest", Shared::Nothing),
    ("filesystem.extract", Shared::Nothing),
    ("filesystem.list", Shared::Nothing),
    ("filesystem.mkdir", Shared::Nothing),
    ("filesystem.move", Shared::Nothing),
    ("filesystem.move_directory", Shared::Nothing),
    ("filesystem.read", Shared::Nothing),
    ("filesystem.restore", Shared::Nothing),
    ("filesystem.search", Shared::Nothing),
    ("filesystem.stat", Shared::Nothing),
    ("filesystem.write", Shared::Nothing),
    ("git.add", Shared::Nothing),
    ("git.branch_create", Shared::Nothing),
    ("git.branch_list", Shared::Nothing),
    ("git.commit", Shared::Nothing),
    ("git.diff", Shared::Nothing),
    ("git.init", Shared::Nothing),
    ("git.log", Shared::Nothing),
    ("git.show", Shared::Nothing),
    ("git.status", Shared::Nothing),
    // whoever answers for the name hears of it
    ("network.dns_lookup", Shared::Machines),
    ("network.http_request", Shared::Machines),
    ("network.tcp_check", Shared::Machines),
    ("network.webhook", Shared::Machines),
    ("process.run", Shared::Nothing),
    ("process.run_code", Shared::Machines),
    // a service says how it ended and began
    ("system.boot", Shared::Tells(&[Place::Boot])),
    ("system.info", Shared::Nothing),
    ("system.logs", Shared::Tells(BOTH)),
    ("system.propose_policy", Shared::Changes(&[Place::Operators])),
    ("system.reboot", Shared::Changes(BOTH)),
    ("system.restart_service", Shared::Changes(&[Place::Services])),
    ("system.services", Shared::Tells(BOTH)),
    ("system.shutdown", Shared::Changes(BOTH)),
    // how long ago the box booted
    ("system.time", Shared::Tells(&[Place::Boot])),
];

impl Declaration {
    /// What it has in common with others; `None` where that is not known, which no shipped one is.
    #[must_use]
    pub fn shared(&self) -> Option<Shared> {
        TABLE.iter().find(|(name, _)| *name == self.name).map(|(_, shared)| *shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CATALOGUE;
    use crate::declaration::Performer;
    use contract::effect::Kind;

    #[test]
    fn what_every_capability_shares_is_known_and_fits_its_effects() {
        let named: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
        let all: Vec<&str> = CATALOGUE.iter().map(|declaration| declaration.name).collect();
        assert_eq!(named, all);
        for declaration in CATALOGUE {
            let has = |kind: Kind| declaration.effects.iter().any(|effect| effect.kind == kind);
            let shared = declaration.shared().unwrap();
            let speaks = has(Kind::Connect) || has(Kind::Resolve);
            assert_eq!(speaks, shared == Shared::Machines, "{}", declaration.name);
            let changes = matches!(shared, Shared::Changes(_));
            assert_eq!(has(Kind::Setting) || has(Kind::Message), changes, "{}", declaration.name);
            if has(Kind::Message) {
                assert_eq!(shared, Shared::Changes(&[Place::Operators]), "{}", declaration.name);
            }
            // one whose effects are none of these has files of its caller alone, or says what it is for
            assert!(!has(Kind::Secret) || speaks, "{}: who is told the secret", declaration.name);
            for kind in [Kind::Push, Kind::Fetch] {
                assert!(!has(kind), "{}: say what its {kind} shares", declaration.name);
            }
            if matches!(declaration.performer, Performer::Service(_)) {
                assert_ne!(shared, Shared::Nothing, "{}", declaration.name);
            }
        }
    }
}
