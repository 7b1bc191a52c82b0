//! What callers are told when they do not get what they asked for: a code, what happened, what to do.

use crate::peers::Peers;
use contract::digits::hex;
use contract::door::{self, Status, TEXT_BYTES_MAX, ToDoor};
use contract::perform::CallId;
use policy::{Because, Decision};
use serde_json::{Value as Json, json};

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    Unauthenticated,
    UnknownCapability,
    BadInput {
        message: String,
    },
    TooMany,
    TooManyPending,
    TooManyAsks,
    Share,
    Unavailable,
    Full,
    NotFound {
        what: String,
    },
    Conflict {
        message: String,
    },
    Bad {
        message: String,
    },
    Denied {
        call: Option<CallId>,
        rules: Vec<(String, String)>,
        held: bool,
    },
    Unseen {
        call: CallId,
        message: String,
    },
    /// The names that the call connects to may lead to no address.
    Unreachable {
        call: CallId,
        message: String,
    },
    Signature {
        message: String,
    },
    /// A text of policy that the box would not take: with its line and column, if that is what is wrong.
    Policy {
        call: CallId,
        message: String,
        place: Option<(usize, usize)>,
    },
    NotThere,
}

impl Refusal {
    /// A blocked call: the rules that spoke, and never the change that would get through.
    pub(crate) fn denied(call: CallId, decision: &Decision, held: bool) -> Self {
        let because = decision.effects.iter().filter(|decided| decided.answer == decision.answer);
        let mut rules: Vec<(String, String)> = because
            .flat_map(|decided| &decided.because)
            .map(|because| match because {
                Because::Rule { name, reason, .. } => {
                    (name.clone(), reason.clone().unwrap_or_default())
                }
                Because::Otherwise => ("otherwise".to_owned(), "no rule allows this".to_owned()),
                Because::NoEffect => ("no-effect".to_owned(), "it would do nothing".to_owned()),
                Because::CouldNotDecide => {
                    ("undecided".to_owned(), "it could not be decided".to_owned())
                }
            })
            .collect();
        rules.sort();
        rules.dedup();
        Self::Denied { call: Some(call), rules, held }
    }

    pub(crate) const fn status(&self) -> Status {
        match self {
            Self::Unauthenticated | Self::Signature { .. } => Status::Unauthenticated,
            Self::UnknownCapability | Self::NotFound { .. } => Status::NotFound,
            Self::BadInput { .. } | Self::Bad { .. } | Self::Policy { .. } => Status::Bad,
            Self::TooMany | Self::TooManyPending | Self::TooManyAsks | Self::Share => Status::Busy,
            Self::Unavailable | Self::NotThere => Status::Unavailable,
            Self::Full => Status::Full,
            Self::Conflict { .. } => Status::Conflict,
            Self::Denied { .. } | Self::Unseen { .. } | Self::Unreachable { .. } => Status::Denied,
        }
    }

    /// The code that docs/surface.md lists.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::UnknownCapability => "unknown_capability",
            Self::BadInput { .. } => "bad_input",
            Self::TooMany => "too_many_calls",
            Self::TooManyPending => "too_many_pending",
            Self::TooManyAsks => "too_many_asks",
            Self::Share => "ledger_share",
            Self::Unavailable => "unavailable",
            Self::Full => "ledger_full",
            Self::NotFound { .. } => "not_found",
            Self::Conflict { .. } => "conflict",
            Self::Bad { .. } => "bad_request",
            Self::Denied { held: true, .. } => "held",
            Self::Denied { .. } => "denied",
            Self::Unseen { .. } => "unseen",
            Self::Unreachable { .. } => "unreachable",
            Self::Signature { .. } => "bad_signature",
            Self::Policy { .. } => "bad_policy",
            Self::NotThere => "not_here_yet",
        }
    }

    fn words(&self) -> (String, &'static str) {
        match self {
            Self::Unauthenticated => {
                ("no agent has this token here".to_owned(), "ask an operator for a token")
            }
            Self::UnknownCapability => {
                ("there is no such capability".to_owned(), "list the capabilities")
            }
            Self::BadInput { message } => (message.clone(), "read the capability's schema"),
            Self::TooMany => {
                ("too many calls are under way".to_owned(), "wait for some of them to end")
            }
            Self::TooManyPending => (
                "too many calls of this agent wait for a person".to_owned(),
                "wait until some of them are decided",
            ),
            Self::TooManyAsks => (
                "this agent has asked persons too often within an hour".to_owned(),
                "do what needs no person, or ask later",
            ),
            Self::Share => (
                "this agent has written its share of the ledger within a day".to_owned(),
                "send less, or tell an operator",
            ),
            Self::Unavailable => {
                ("a part of the box is starting again".to_owned(), "try again in a second")
            }
            Self::Full => ("the ledger is full, so nothing is done".to_owned(), "tell an operator"),
            Self::NotFound { what } => (format!("no {what}"), "look at the list"),
            Self::Conflict { message } => (message.clone(), "look at it again"),
            Self::Bad { message } => (message.clone(), "correct the request"),
            Self::Denied { held: true, .. } => {
                ("this agent is paused or all are stopped".to_owned(), "wait for an operator")
            }
            Self::Denied { rules, .. } => {
                let rules = rules.iter().map(|(name, reason)| match reason.as_str() {
                    "" => format!("rule `{name}`"),
                    reason => format!("rule `{name}`: {reason}"),
                });
                (rules.collect::<Vec<_>>().join("; "), "do without it, or ask an operator")
            }
            Self::Unseen { message, .. } => (
                format!("nobody is asked for what cannot be shown: {message}"),
                "name what you may read and a person can be shown, or do without it",
            ),
            Self::Unreachable { message, .. } => {
                (message.clone(), "connect to another host, or ask an operator")
            }
            Self::Signature { message } => (message.clone(), "sign again"),
            Self::Policy { message, .. } => (message.clone(), "correct the text"),
            Self::NotThere => {
                ("the service that does this is not ready".to_owned(), "try again in a second")
            }
        }
    }

    /// What happened, in words.
    pub(crate) fn message(&self) -> String {
        self.words().0
    }

    pub(crate) fn json(&self) -> String {
        let (message, next) = self.words();
        let mut error = json!({ "code": self.code(), "message": message, "next": next });
        let (call, place) = match self {
            Self::Denied { call, .. } => (call.as_ref(), None),
            Self::Unseen { call, .. } | Self::Unreachable { call, .. } => (Some(call), None),
            Self::Policy { call, place, .. } => (Some(call), place.as_ref()),
            _ => (None, None),
        };
        if let Some(members) = error.as_object_mut() {
            members.extend(call.map(|call| ("call".to_owned(), Json::String(hex(call)))));
            let place = place.map(|(line, column)| [("line", line), ("column", column)]);
            let place = place.into_iter().flatten();
            members.extend(place.map(|(name, number)| (name.to_owned(), json!(number))));
        }
        json!({ "error": error }).to_string()
    }
}

/// A request that is not well formed.
pub(crate) fn bad(message: &str) -> Refusal {
    Refusal::Bad { message: message.to_owned() }
}

/// Nothing of this name.
pub(crate) fn not_found(what: &str) -> Refusal {
    Refusal::NotFound { what: what.to_owned() }
}

/// Tells a door the whole answer.
pub(crate) fn say(peers: &mut Peers, door: &str, number: u64, status: Status, json: &str) {
    let (status, json) = if json.len() <= TEXT_BYTES_MAX {
        (status, json.to_owned())
    } else {
        let message = "the answer is too long for one frame; ask for less".to_owned();
        let refusal = Refusal::Bad { message };
        (refusal.status(), refusal.json())
    };
    peers.post(door, &(door::VERSION, ToDoor::Said { number, status, json }), Vec::new());
}
