//! What each ring is for: every attack is made from a whole cage, where it fails, and from one that
//! lacks that ring alone, where it succeeds. The cages are made by a forker of the test image that
//! leaves out what an agent's name says; `sandbox/src/rings.rs`.

use crate::cage::{Came, LIMITS, Stand, ended};
use crate::facts::{AtWork, at_work};
use crate::network;
use channel::{Channel, ChannelError, Wish};
use contract::perform::{FromAudit, Limits, Refusal, ToAudit};
use linux::cage;
use serde_json::{Value as Json, json};
use std::convert::Infallible;
use std::fs::File;
use std::os::fd::AsFd;

/// What agents of the test are without.
pub(crate) const MISSING: &[&str] = &[
    "nothing", "root", "limits", "seccomp", "landlock", "nftables", "cgroup", "ipc", "mnt", "net",
    "pid", "time", "user", "uts",
];
/// The forker that can leave out rings, where it lies and where it belongs.
const FORKER: [&str; 2] = ["/usr/lib/kruxos-test/forker", "/usr/bin/forker"];
const FORKERS_CGROUP: &str = "/sys/fs/cgroup/services/forker";

impl Stand<'_> {
    /// The attacks, each beside its control.
    pub(crate) fn missing_rings(&mut self) -> Result<(), ChannelError> {
        self.exchange_forkers()?;
        let whole = "without-nothing";
        self.names(whole, &json!([false, false, false]))?;
        self.names("without-root", &json!([true, true, true]))?;
        let tries: [(&str, &str, &str, Json); 6] = [
            ("undecided", whole, "ok", json!({ "other": 13 })),
            ("undecided", "without-landlock", "ok", json!({ "other": 0 })),
            ("socket", whole, "forbidden_call", Json::Null),
            ("socket", "without-seccomp", "ok", json!(true)),
            ("hog", whole, "out_of_memory", Json::Null),
            ("hog", "without-limits", "ok", json!(96 << 20)),
        ];
        for (attack, agent, code, answer) in tries {
            let seen = self.attack_as(agent, attack, LIMITS)?;
            self.same(attack, agent, &seen, code, &answer)?;
        }
        self.tasks()?;
        self.disk()?;
        self.packet()?;
        for lacking in MISSING.iter().rev().take(8) {
            let agent = format!("without-{lacking}");
            let seen = self.attack_as(&agent, "names", LIMITS)?;
            let refused = seen.as_ref().err() == Some(&Refusal::NoCage);
            self.say(
                &format!("a cage in the box's own {lacking} namespace is refused"),
                refused,
                &format!("{seen:?}"),
            )?;
        }
        Ok(())
    }

    fn same(
        &self,
        attack: &str,
        agent: &str,
        seen: &Came,
        code: &str,
        answer: &Json,
    ) -> Result<(), ChannelError> {
        let same = ended(seen) == (code, answer);
        self.say(&format!("{attack} {agent}"), same, &format!("{seen:?}"))
    }

    /// Names of the box's own files, from a cage that has none.
    fn names(&mut self, agent: &str, answer: &Json) -> Result<(), ChannelError> {
        let input = json!({ "path": "names" });
        let seen = self.perform((agent, 200_001), "filesystem.stat", &input, Vec::new(), LIMITS)?;
        self.same("names", agent, &seen, "ok", answer)
    }

    /// Puts the other forker in the place of the image's own; init starts it.
    fn exchange_forkers(&mut self) -> Result<(), ChannelError> {
        let [from, to] = FORKER;
        let bound = rustix::mount::mount_bind(from, to);
        self.say("a forker that can leave out rings", bound.is_ok(), &format!("{bound:?}"))?;
        self.restart_forker()
    }

    /// Ends the forker, with every cage that waits; init starts another.
    pub(crate) fn restart_forker(&mut self) -> Result<(), ChannelError> {
        std::fs::write(format!("{FORKERS_CGROUP}/cgroup.kill"), "1").ok();
        let (mut pdp, mut audit): (Option<Channel>, Option<Channel>) = (None, None);
        while pdp.is_none() || audit.is_none() {
            if let Wish::NewEdge(name) = self.service.wish()? {
                match name.as_str() {
                    "pdp-forker" => pdp = self.service.edge(&name),
                    "audit-forker" => audit = self.service.edge(&name),
                    _ => {}
                }
            }
        }
        match (pdp, audit) {
            (Some(pdp), Some(audit)) => self.meet(pdp, audit),
            _ => Err(ChannelError::Closed),
        }
    }

    /// The cap on tasks bites: beside the worker three more processes of four can be born into the
    /// cage's cgroup. A worker makes none at all, with its filter, so they are born from outside.
    fn tasks(&mut self) -> Result<(), ChannelError> {
        for (agent, most) in [("without-nothing", 3), ("without-limits", 10)] {
            let mut born = 0;
            let limits = Limits { wall_ms: 3_000, ..LIMITS };
            let _late = self.watched(agent, "spin", limits, |cage| {
                born = births(&cage.cgroup);
                true
            })?;
            // they die with the cage; until they have, the slot is not free
            let mut dead = 0;
            while dead < born {
                match linux::process::reap() {
                    Some(_) => dead += 1,
                    None => self.pause(5)?,
                }
            }
            self.say(&format!("tasks {agent}"), born == most, &born)?;
        }
        Ok(())
    }

    /// The disk's cap bites: the same writes are done under the cap that every cage has, and late
    /// under a smaller one.
    fn disk(&mut self) -> Result<(), ChannelError> {
        let limits = Limits { wall_ms: 8_000, ..LIMITS };
        let patient = Limits { wall_ms: 60_000, ..LIMITS };
        let seen = self.attack_as("without-nothing", "disk", patient)?;
        self.same("disk", "control", &seen, "ok", &json!(true))?;
        let seen = self.watched("without-nothing", "disk", limits, |cage| {
            let file = format!("{}/io.max", cage.cgroup);
            let cap = std::fs::read_to_string(&file).unwrap_or_default();
            let disk = cap.split_whitespace().next().unwrap_or_default();
            std::fs::write(file, format!("{disk} wbps=1048576")).is_ok()
        })?;
        let late = matches!(&seen, (Ok((outcome, _)), true) if outcome.code == "late");
        self.say("disk with a cap of a MiB a second", late, &format!("{seen:?}"))
    }

    fn packet(&mut self) -> Result<(), ChannelError> {
        for (agent, passes) in [("without-nothing", false), ("without-nftables", true)] {
            let limits = Limits { wall_ms: 3_000, ..LIMITS };
            let send =
                |cage: &AtWork| network::passes_in_cage(&cage.pid).is_ok_and(|sent| sent == passes);
            let seen = self.watched(agent, "spin", limits, send)?;
            self.say(&format!("packet {agent}"), seen.1, &format!("{seen:?}"))?;
        }
        Ok(())
    }

    /// An attack, and what `act` found with its first process when it had begun.
    fn watched(
        &mut self,
        agent: &str,
        attack: &str,
        limits: Limits,
        act: impl FnOnce(&AtWork) -> bool,
    ) -> Result<(Came, bool), ChannelError> {
        let input = json!({ "path": attack });
        let decided = self.decided(attack);
        let (ticket, answer) =
            self.spec((agent, 200_001), "filesystem.read", &input, decided, limits)?;
        self.send(&FromAudit::Ticket(ticket))?;
        let acted = match self.hear()? {
            ToAudit::Started { .. } => act(&at_work()),
            ToAudit::Refused { why, .. } => return Ok((Err(why), false)),
            ToAudit::Ended { outcome, .. } => return Ok((Ok((outcome, Json::Null)), false)),
            ToAudit::Settled { .. } => false,
        };
        let came = self.outcome()?;
        drop(answer);
        Ok((came.map(|outcome| (outcome.0, Json::Null)), acted))
    }
}

/// How many processes of ten can be born into a cgroup; they end with it.
fn births(cgroup: &str) -> usize {
    let Ok(group) = File::open(cgroup) else { return 0 };
    let stay = || -> Result<Infallible, Infallible> {
        loop {
            std::thread::park();
        }
    };
    let born = || cage::spawn_in_namespaces(0, Some(group.as_fd()), stay, |_never| {});
    (0..10).map_while(|_| born().ok()).count()
}
