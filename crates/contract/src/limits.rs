//! Every bound that more than one process keeps, named with its unit.

/// Largest frame between two services (DESIGN: 64 KiB); larger bodies travel as files.
pub const FRAME_BYTES_MAX: usize = 65_536;

/// Most file descriptors in one frame; the kernel's own bound is 253.
pub const FRAME_FDS_MAX: usize = 8;

/// Deepest nesting of one CBOR item: our own messages need nine.
pub const CBOR_DEPTH_MAX: usize = 32;

/// Longest name of an agent or operator.
pub const AGENT_NAME_BYTES_MAX: usize = 32;

/// Longest text that brings invariants of operators, in bytes: it stands in a statement and beside it in the record.
pub const INVARIANT_BYTES_MAX: usize = 8 << 10;

/// Most invariants of operators that are in force at once.
pub const INVARIANTS_MAX: usize = 32;

/// Longest name of a service or an edge.
pub const NAME_BYTES_MAX: usize = 64;

/// Of the machine's memory, what all cages together may have: so many quarters. The rest is the services' and the
/// kernel's.
pub const CAGES_MEMORY_QUARTERS: u64 = 3;
