//! Statements: what an operator signs. The signed bytes are [`CONTEXT`] and the statement's JSON
//! text, byte for byte as it was sent; the ledger keeps both, so that anybody can check them again.

use serde::{Deserialize, Serialize};

/// What comes before the text under the signature, so that it can be no other kind of message.
pub const CONTEXT: &[u8] = b"kruxos statement 1\n";

/// Longest statement.
pub const STATEMENT_BYTES_MAX: usize = 16 << 10;

/// Who says what to which box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// SHA-256 of the box's CA key (its SubjectPublicKeyInfo), 64 hexadecimal digits.
    #[serde(rename = "box")]
    pub of_box: String,
    /// The box's number that makes this statement new, 32 hexadecimal digits; used once.
    pub nonce: String,
    /// The operator's name.
    pub operator: String,
    /// What is to be done.
    pub act: Act,
}

/// What operators do. A digest is SHA-256 in hexadecimal; a body comes beside the statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// How the box is.
    Status,
    /// All agents.
    Agents,
    /// What may pass of what an agent sends over the network, and what was dropped.
    AgentNet {
        /// Which.
        name: String,
    },
    /// A new agent. Its token is made by the operator, who alone knows it.
    AgentAdd {
        /// Lower-case letters, digits and `-`, at most 32.
        name: String,
        /// Digest of the token.
        token: String,
        /// Addresses that it may come from, as a CIDR block; any without it.
        source: Option<String>,
    },
    /// Its calls are refused until it is resumed.
    AgentPause {
        /// Which.
        name: String,
    },
    /// The end of a pause.
    AgentResume {
        /// Which.
        name: String,
    },
    /// It never calls again; its files stay.
    AgentRevoke {
        /// Which.
        name: String,
    },
    /// Another token in place of the one it has.
    AgentRotate {
        /// Which.
        name: String,
        /// Digest of the new token.
        token: String,
    },
    /// No agent calls anything until they are started.
    Stop,
    /// The end of a stop.
    Start,
    /// What waits for a person: as much as one answer holds, one agent's after another's.
    Approvals {
        /// Of this agent alone.
        #[serde(default)]
        agent: Option<String>,
    },
    /// One that waits, or waited.
    ApprovalShow {
        /// The call, 32 hexadecimal digits.
        call: String,
    },
    /// Yes, to exactly what was seen.
    Accept {
        /// The call.
        call: String,
        /// The digest of what was seen.
        digest: String,
        /// Why, for the record.
        reason: Option<String>,
    },
    /// No.
    Deny {
        /// The call.
        call: String,
        /// Why, for the record and the agent.
        reason: Option<String>,
    },
    /// Yes to more than one call, bounded: made of one that waits, which it does not answer.
    Grant {
        /// The call that waits.
        call: String,
        /// The digest of what was seen.
        digest: String,
        /// What must hold of the effects that are asked for, a JSON object in the policy's own grammar;
        /// without it they must be exactly those of the call.
        scope: Option<String>,
        /// How many calls, at most 1,000.
        calls: u32,
        /// For how long, at most a day.
        seconds: u64,
        /// Why, for the record.
        reason: Option<String>,
    },
    /// A grant is taken back.
    GrantRevoke {
        /// Its number, 32 hexadecimal digits.
        grant: String,
    },
    /// The grants in force.
    Grants,
    /// What happened that a person is to know.
    Notices,
    /// It is known now.
    Acknowledge {
        /// The call.
        call: String,
    },
    /// The box's policy, replaced as a whole by the body.
    PolicyApply {
        /// Digest of the body.
        body: String,
        /// The call that proposed it, if one did.
        proposal: Option<String>,
    },
    /// Texts that agents proposed.
    PolicyProposals,
    /// What a call proposed, its input, as a file.
    PolicyProposal {
        /// The call, 32 hexadecimal digits.
        call: String,
    },
    /// No, to a text that was proposed.
    PolicyRefuse {
        /// The call.
        call: String,
    },
    /// A candidate, the body: it decides beside the box's policy, changes no answer, and what it would answer
    /// otherwise is counted. It stands in for the one before.
    PolicyShadow {
        /// Digest of the body.
        body: String,
    },
    /// The end of the candidate.
    PolicyShadowEnd,
    /// What the candidate would have answered otherwise so far.
    PolicyShadowShow,
    /// The text of the box's policy.
    PolicyShow,
    /// Which texts were in force, newest last.
    PolicyHistory,
    /// One of these texts, as a file; version 0 is the one that the image offers.
    PolicyText {
        /// Its version.
        version: u64,
    },
    /// What holds of every text of the box's policy.
    Invariants,
    /// More of it: properties that the text in force has.
    InvariantAdd {
        /// Properties as `krux policy prove` reads them, at most
        /// [`INVARIANT_BYTES_MAX`](crate::limits::INVARIANT_BYTES_MAX).
        text: String,
    },
    /// One that an operator added holds no longer.
    InvariantRemove {
        /// Its name.
        name: String,
    },
    /// Why an agent would get which answer.
    PolicyExplain {
        /// The agent.
        agent: String,
        /// The capability.
        capability: String,
        /// Its input, a JSON text.
        input: String,
    },
    /// Records as they are, from one on, as a sealed file of frames.
    AuditExport {
        /// The first record.
        from: u64,
    },
    /// Records that fit, newest last.
    AuditQuery {
        /// The first record.
        from: u64,
        /// Of this agent.
        agent: Option<String>,
        /// Of this capability.
        capability: Option<String>,
        /// Of this call.
        call: Option<String>,
        /// Of this kind.
        record: Option<String>,
        /// At most so many.
        max: u64,
    },
    /// Whom the box tells what happens, and how that goes.
    Webhooks,
    /// One more of them.
    WebhookAdd {
        /// Lower-case letters, digits and `-`, at most 32.
        name: String,
        /// Where, by https.
        url: String,
        /// The secret of the vault that signs.
        secret: String,
        /// What it is told of, in the words of [`webhook`](crate::webhook).
        events: Vec<String>,
    },
    /// One is told nothing any more.
    WebhookRemove {
        /// Which.
        name: String,
    },
    /// One is told that this is a test.
    WebhookTest {
        /// Which.
        name: String,
    },
    /// Another operator.
    OperatorAdd {
        /// Their name.
        name: String,
        /// Their signing key, 64 hexadecimal digits.
        key: String,
        /// Their age recipient.
        recipient: String,
    },
    /// All operators, and their groups.
    Operators,
    /// One that is no operator any more; the last one stays.
    OperatorRemove {
        /// Their name.
        name: String,
    },
    /// An operator joins a group, which policies may ask for the votes of.
    GroupAdd {
        /// Lower-case letters, digits and `-`, at most 32.
        group: String,
        /// The operator.
        name: String,
    },
    /// An operator leaves a group.
    GroupRemove {
        /// Which.
        group: String,
        /// The operator.
        name: String,
    },
    /// One ring of a cage, tried.
    CageTry {
        /// Its name.
        ring: String,
    },
    /// A file out of an agent's workspace.
    FileGet {
        /// The agent.
        agent: String,
        /// The path.
        path: String,
    },
    /// A file, the body, into an agent's workspace.
    FilePut {
        /// The agent.
        agent: String,
        /// The path.
        path: String,
        /// Digest of the body.
        body: String,
    },
    /// An act that another service performs: its name and input.
    Perform {
        /// One of [`PERFORMED`].
        name: String,
        /// Its input, a JSON text.
        input: String,
        /// Digest of the body, for those that have one.
        body: Option<String>,
    },
}

/// Acts that a service performs on a ticket: the name, the service.
pub const PERFORMED: &[(&str, &str)] = &[
    ("box.boot", "init"),
    ("box.logs", "init"),
    ("box.services", "init"),
    ("box.restart-service", "init"),
    ("box.shutdown", "init"),
    ("box.reboot", "init"),
    ("egress.status", "egress"),
    ("egress.resolver", "egress"),
    ("egress.trust", "egress"),
    ("egress.distrust", "egress"),
    ("vault.status", "vault"),
    ("vault.list", "vault"),
    ("vault.attempt", "vault"),
    ("vault.unlock", "vault"),
    ("vault.add", "vault"),
    ("vault.rotate", "vault"),
    ("vault.revoke", "vault"),
    ("vault.lock", "vault"),
    ("vault.rekey", "vault"),
    ("vault.passphrase", "vault"),
    ("vault.recover", "vault"),
];
