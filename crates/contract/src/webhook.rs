//! What a webhook is told of, in the words that operators choose by and that events carry as their type.

/// A call waits for a person.
pub const ASKED: &str = "approval.asked";
/// An agent was paused by the box: told no too often, or a reply held a secret.
pub const PAUSED: &str = "agent.paused";
/// A call was cut off: nobody knows whether it was performed.
pub const UNKNOWN: &str = "call.unknown";
/// A call that the policy lets through and tells of.
pub const NOTIFIED: &str = "call.notified";
/// An operator tries a webhook; every one is told of its own.
pub const TEST: &str = "webhook.test";

/// All that can be chosen.
pub const EVENTS: [&str; 4] = [ASKED, PAUSED, UNKNOWN, NOTIFIED];
/// What is chosen where an operator chooses nothing: whatever waits for a person.
pub const CHOSEN: [&str; 3] = [ASKED, PAUSED, UNKNOWN];
