//! The user of each service; its group has the same number. Cages take theirs from 100,000 up.

/// Links, addresses, the box's packet filter.
pub const NET: u32 = 901;
/// The only user whose processes may open connections for agents.
pub const EGRESS: u32 = 902;
/// The user whose process streams sealed ledger segments out.
pub const EXPORT: u32 = 903;
/// The forker.
pub const FORKER: u32 = 904;
/// The door for agents.
pub const AGENTS_DOOR: u32 = 905;
/// The door for operators.
pub const OPERATORS_DOOR: u32 = 906;
/// The policy decision point.
pub const PDP: u32 = 907;
/// The audit writer.
pub const AUDIT: u32 = 908;
/// The vault.
pub const VAULT: u32 = 909;
/// The console.
pub const CONSOLE: u32 = 910;
/// Agents' files on the disk belong to this and upwards, one user an agent.
pub const AGENTS: u32 = 200_000;

/// Whether an agent of this name is an admin: `admin`, or `admin-` and more. Its calls run as user 0 of
/// their cage's user namespace, without a capability; what it may do with the box is what a policy says of
/// agents of such names.
#[must_use]
pub fn names_an_admin(name: &str) -> bool {
    name == "admin" || name.starts_with("admin-")
}
