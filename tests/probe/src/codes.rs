//! Every word that a performer can end a call with, or refuse it with, is said once.

use crate::cage::{ALICE, BOB, Came, LIMITS, Stand, ended};
use channel::ChannelError;
use contract::perform::{CallId, FromAudit, Limits, Refusal, ToAudit};
use linux::ext4;
use serde_json::{Value as Json, json};
use std::collections::BTreeSet;
use std::fs::File;

/// Most cages of one agent at once, which two agents make the most of all.
const CAGES_OF_AGENT_MAX: usize = 16;

impl Stand<'_> {
    /// What no other part of the test brings up.
    pub(crate) fn codes(&mut self) -> Result<(), ChannelError> {
        let empty = json!({});
        let seen = self.perform(ALICE, "filesystem.read", &empty, Vec::new(), LIMITS)?;
        self.says("an input that the capability does not take", &seen, "bad_input")?;
        let seen = self.perform(ALICE, "nosuch.thing", &empty, Vec::new(), LIMITS)?;
        let bad = seen.as_ref().err() == Some(&Refusal::BadSpec);
        self.say("a capability that there is not", bad, &format!("{seen:?}"))?;
        let (ticket, answer) = self.spec(ALICE, "system.time", &empty, Vec::new(), LIMITS)?;
        drop(answer);
        self.send(&FromAudit::Ticket(ticket))?;
        let seen = self.outcome()?.map(|outcome| (outcome.0, json!(null)));
        self.says("an answer that nobody reads", &seen, "unread")?;
        let seen = self.perform(("alice", 1), "system.time", &empty, Vec::new(), LIMITS)?;
        let bad = seen.as_ref().err() == Some(&Refusal::BadSpec);
        self.say("a disk user that is no agent's", bad, &format!("{seen:?}"))?;
        let homeless = ("homeless", 200_050);
        let input = json!({ "path": "a.txt" });
        let effects = self.effects("filesystem.stat", &input);
        let seen = self.perform(homeless, "filesystem.stat", &input, effects, LIMITS)?;
        let none = seen.as_ref().err() == Some(&Refusal::NoCage);
        self.say("an agent without files", none, &format!("{seen:?}"))?;
        let seen = self.perform(ALICE, "system.time", &empty, Vec::new(), LIMITS)?;
        self.says("an agent without files, then another", &seen, "ok")?;
        self.quota()?;
        self.busy()
    }

    /// A file that its agent's quota has no room for, after one that it has: nothing of it stays.
    fn quota(&mut self) -> Result<(), ChannelError> {
        const QUOTA_BYTES: u64 = 1 << 20;
        let carol = ("carol", 200_003);
        let seen = self.perform(carol, "agent.make", &json!({}), Vec::new(), LIMITS)?;
        let home = File::open("/data/agents/carol/workspace").map_err(|error| error.to_string());
        let bound = home.and_then(|home| {
            ext4::set_project_quota(home, carol.1, QUOTA_BYTES).map_err(|error| error.to_string())
        });
        self.say("an agent with a small quota", bound.is_ok(), &format!("{bound:?} {seen:?}"))?;
        for (path, length, code) in
            [("fits.txt", 1 << 16, "ok"), ("does-not.txt", 4 << 20, "no_space")]
        {
            let input = json!({ "path": path, "content": "x".repeat(length) });
            let effects = self.effects("filesystem.write", &input);
            let seen = self.perform(carol, "filesystem.write", &input, effects, LIMITS)?;
            self.says("a file of an agent with a small quota", &seen, code)?;
        }
        let folder = json!({ "path": "/workspace" });
        let effects = self.effects("filesystem.list", &folder);
        let seen = self.perform(carol, "filesystem.list", &folder, effects, LIMITS)?;
        let names = ended(&seen).1.get("entries").and_then(Json::as_array).map(Vec::len);
        self.say("nothing stays of what did not fit", names == Some(1), &format!("{seen:?}"))
    }

    fn says(&self, name: &str, seen: &Came, code: &str) -> Result<(), ChannelError> {
        self.say(name, ended(seen).0 == code, &format!("{seen:?}"))
    }

    /// A call that does not end by itself.
    fn begin_to_read(&mut self, agent: (&str, u32)) -> Result<(CallId, File), ChannelError> {
        let input = json!({ "path": "big.txt", "length": 1 << 20 });
        // so small that what they reserve together fits
        let limits = Limits { wall_ms: 120_000, memory_bytes: 10 << 20, ..LIMITS };
        let effects = self.effects("filesystem.read", &input);
        let (ticket, answer) = self.spec(agent, "filesystem.read", &input, effects, limits)?;
        let call = ticket.call;
        self.send(&FromAudit::Ticket(ticket))?;
        let started = self.hear()?;
        if !matches!(started, ToAudit::Started { .. }) {
            self.say("as many cages as there can be", false, &format!("{started:?}"))?;
        }
        Ok((call, answer))
    }

    /// One cage more than there can be; then a new epoch, which ends them all.
    fn busy(&mut self) -> Result<(), ChannelError> {
        let big = json!({ "path": "big.txt", "content": "x".repeat(1 << 20) });
        let effects = self.effects("filesystem.write", &big);
        let seen = self.perform(BOB, "filesystem.write", &big, effects, LIMITS)?;
        self.says("another's file", &seen, "ok")?;
        let mut kept = Vec::new();
        let mut calls: BTreeSet<CallId> = BTreeSet::new();
        for agent in [ALICE, BOB] {
            for _ in 0..CAGES_OF_AGENT_MAX {
                let (call, answer) = self.begin_to_read(agent)?;
                calls.insert(call);
                kept.push(answer);
            }
            // by which the first is at its own bound, and the second at that of all
            let seen = self.perform(agent, "system.time", &json!({}), Vec::new(), LIMITS)?;
            let busy = seen.as_ref().err() == Some(&Refusal::Busy);
            self.say("a cage more than there can be", busy, &format!("{seen:?}"))?;
        }
        self.begin()?;
        let mut killed = BTreeSet::new();
        loop {
            match self.hear()? {
                ToAudit::Ended { call, outcome } if calls.contains(&call) => {
                    killed.extend((outcome.code == "killed").then_some(call));
                }
                ToAudit::Settled { .. } => break,
                _ => {}
            }
        }
        self.say("a new epoch ends them all", killed == calls, &killed.len())
    }
}
