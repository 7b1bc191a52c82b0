//! The user of each service; its group has the same number. Cages take theirs from 100,000 up.

/// Links, addresses, the box's packet filter.
pub const NET: u32 = 901;
/// The only user whose processes may open connections for agents.
pub const EGRESS: u32 = 902;
/// The user whose process streams sealed ledger segments out.
pub const EXPORT: u32 = 903;
