//! A worker that does what it likes, in the real worker's place: what it sees of the box and what stops
//! it, and what the kernel allows beyond a call's effects.

use crate::cage::{ALICE, Came, LIMITS, Stand, ended};
use channel::ChannelError;
use contract::effect::Effect;
use contract::perform::Limits;
use serde_json::json;

impl Stand<'_> {
    /// A worker that does what it likes, in the real worker's place: what it sees and what stops it.
    pub(crate) fn hostile_worker(&mut self) -> Result<(), ChannelError> {
        let bound = rustix::mount::mount_bind("/usr/lib/kruxos-test/inspector", "/usr/bin/worker");
        self.say("a worker in the worker's place", bound.is_ok(), &format!("{bound:?}"))?;
        self.restart_forker()?; // the cages that wait have the real one
        let seen = self.attack("outside", LIMITS)?;
        // `/usr` is where a program's folder would be: empty here, and closed by Landlock
        let nothing = json!([2, 2, 2, 2, 2, 13, 2]);
        self.say("it sees no other file", ended(&seen) == ("ok", &nothing), &format!("{seen:?}"))?;
        let seen = self.attack("undecided", LIMITS)?;
        let denied = json!({ "other": 13 });
        self.say(
            "a visible path is EACCES",
            ended(&seen) == ("ok", &denied),
            &format!("{seen:?}"),
        )?;
        let seen = self.attack("unkept", LIMITS)?;
        let read_only = json!({ "other": 0, "write": 30 });
        self.say(
            "one that keeps its rights reads its agent's files and writes none",
            ended(&seen) == ("ok", &read_only),
            &format!("{seen:?}"),
        )?;
        self.widenings()?;
        for attack in ["socket", "mount", "thread"] {
            let seen = self.attack(attack, LIMITS)?;
            self.say(
                &format!("{attack} ends it"),
                ended(&seen).0 == "forbidden_call",
                &format!("{seen:?}"),
            )?;
        }
        for (attack, code) in [("garbage", "crashed"), ("twice", "ok")] {
            let seen = self.attack(attack, LIMITS)?;
            self.say(&format!("frames: {attack}"), ended(&seen).0 == code, &format!("{seen:?}"))?;
        }
        let short = Limits { wall_ms: 2_000, ..LIMITS };
        let seen = self.attack("flood", short)?;
        self.say("an answer without end is late", ended(&seen).0 == "late", &format!("{seen:?}"))?;
        let cpu = |came: &Came| came.as_ref().map_or(0, |(outcome, _)| outcome.used.cpu_us);
        let free = self.attack("spin", short)?;
        let capped = self.attack("spin", Limits { cpu_us: 10_000, ..short })?;
        let bites = cpu(&free) > 1_000_000 && cpu(&capped) < cpu(&free) / 3;
        self.say("the processor cap bites", bites, &format!("{} of {}", cpu(&capped), cpu(&free)))?;
        Ok(())
    }

    /// Each row of the widenings of docs/threats.md: what the kernel allows beyond the effects, and
    /// beside it what it does not.
    fn widenings(&mut self) -> Result<(), ChannelError> {
        let tries = [
            ("stat", json!({ "named": true, "opened": 13 })),
            (
                "beside",
                json!({ "made": 0, "made beneath": 0, "removed": 0, "removed beneath": 0, "read": 13 }),
            ),
            ("renames", json!({ "to the trash": 0, "and back": 0, "made": 13, "read": 13 })),
            (
                "fills",
                json!({
                    "listed": 0, "made": 0, "directory made": 0, "read": 13, "removed": 0,
                    "directory removed": 0, "listed beside": 13, "made beside": 13,
                    "directory made beside": 13, "removed beside": 13,
                }),
            ),
            (
                "moves",
                json!({
                    "moved": 0, "and back": 0, "unmeasured": 0, "back unmeasured": 0,
                    "directory made": 0, "directory removed": 0, "made": 13, "read": 13,
                    "read beneath": 0, "written beneath": 13,
                }),
            ),
        ];
        for (attack, wanted) in tries {
            let seen = self.attack(attack, LIMITS)?;
            let same = ended(&seen) == ("ok", &wanted);
            self.say(&format!("widening: {attack}"), same, &format!("{seen:?}"))?;
        }
        Ok(())
    }

    fn attack(&mut self, name: &str, limits: Limits) -> Result<Came, ChannelError> {
        self.attack_as(ALICE.0, name, limits)
    }

    /// An attack from the cage of an agent that has alice's files.
    pub(crate) fn attack_as(
        &mut self,
        agent: &str,
        name: &str,
        limits: Limits,
    ) -> Result<Came, ChannelError> {
        let decided = self.decided(name);
        let input = json!({ "path": name });
        let capability = match name {
            "renames" => "filesystem.delete",
            "fills" => "filesystem.extract",
            "moves" => "filesystem.move_directory",
            _ => "filesystem.read",
        };
        self.perform((agent, ALICE.1), capability, &input, decided, limits)
    }

    /// What an attack's cage may do with alice's files.
    pub(crate) fn decided(&self, attack: &str) -> Vec<Effect> {
        match attack {
            "renames" => self.effects("filesystem.delete", &json!({ "path": "a.txt" })),
            "fills" => self.effects("filesystem.extract", &json!({ "from": "a.txt", "to": "d" })),
            // of a directory whose file is longer than that
            "moves" => self.effects(
                "filesystem.move_directory",
                &json!({ "from": "e1", "to": "d/moved", "bytes_max": 1 }),
            ),
            "disk" | "beside" => {
                self.effects("filesystem.write", &json!({ "path": "a.txt", "content": "" }))
            }
            _ => self.effects("filesystem.read", &json!({ "path": "a.txt" })),
        }
    }
}
