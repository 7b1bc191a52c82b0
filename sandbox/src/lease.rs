//! The lease of a workspace: a call that a person said yes to is alone among the calls of its agent, from
//! before it looks at what was expected until it is dead. Pure.

use contract::perform::Spec;

/// A call's claim on the workspace of its agent, which is named by its disk user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) agent: u32,
    /// Whether nothing else of the agent may run meanwhile.
    pub(crate) alone: bool,
}

impl Claim {
    /// That of a spec.
    pub(crate) const fn of(spec: &Spec) -> Self {
        Self { agent: spec.agent.disk_uid, alone: spec.alone }
    }

    /// Whether both may not run at once.
    const fn excludes(self, other: Self) -> bool {
        self.agent == other.agent && (self.alone || other.alone)
    }

    /// Whether a call with this claim may begin: beside those that are not dead yet, and after those that
    /// waited before it. One that is to be alone is not passed, or it might never be.
    pub(crate) fn is_admitted(
        self,
        mut live: impl Iterator<Item = Self>,
        mut before: impl Iterator<Item = Self>,
    ) -> bool {
        let passes = |other: Self| other.agent == self.agent && other.alone;
        !live.any(|other| self.excludes(other)) && !before.any(passes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn of(agent: u32, alone: bool) -> Claim {
        Claim { agent, alone }
    }

    #[test]
    fn what_a_person_said_yes_to_is_alone_among_its_agents_calls() {
        let admits = |wanted: Claim, live: &[Claim], before: &[Claim]| {
            wanted.is_admitted(live.iter().copied(), before.iter().copied())
        };
        assert!(admits(of(1, false), &[of(1, false)], &[of(1, false)]), "calls run beside others");
        assert!(!admits(of(1, true), &[of(1, false)], &[]), "it waits for what runs");
        assert!(!admits(of(1, false), &[of(1, true)], &[]), "what comes waits for it");
        assert!(!admits(of(1, true), &[of(1, true)], &[]), "two one after the other");
        assert!(!admits(of(1, false), &[], &[of(1, true)]), "and nothing passes it");
        assert!(admits(of(1, true), &[], &[of(1, false)]), "it need not let others pass");
        assert!(admits(of(1, true), &[of(2, true)], &[of(2, true)]), "another agent's is its own");
    }
}
