//! The vault at its edges, with both of its peers played by the test over real sockets.

use super::*;
use crate::secrets::tests::{Folder, canary, seal_to, unlocked};
use channel::{Channel, sealed};
use contract::lend::{self, FromVault, NotLent, ToVault};
use contract::perform::{CallId, FromAudit, Ticket, ToAudit, VERSION};
use rustix::net::SocketFlags;
use sha2::{Digest, Sha256};
use std::os::fd::AsFd;

/// The other ends of a vault's edges.
struct Peers {
    pdp: Channel,
    audit: Channel,
    egress: Channel,
}

/// A vault of these secrets.
fn serving(folder: &Folder, secrets: Secrets) -> (Desk, Peers) {
    let pair = || {
        let (ours, theirs) = Channel::pair(SocketFlags::NONBLOCK).unwrap();
        (Channel::new(ours), Channel::new(theirs))
    };
    let ((pdp, pdp_s), (audit, audit_s), (egress, egress_s)) = (pair(), pair(), pair());
    let authority = Authority::open(folder.path()).unwrap();
    let performer = Performer::new(Some(pdp), Some(audit));
    let desk = Desk::new(performer, authority, secrets, Some(Mailbox::new(egress)));
    audit_s.send(&(VERSION, FromAudit::Epoch(1)), &[]).unwrap();
    (desk, Peers { pdp: pdp_s, audit: audit_s, egress: egress_s })
}

fn desk(folder: &Folder) -> (Desk, Peers) {
    let (mut secrets, recipient) = unlocked(folder);
    let binding = crate::lending::tests::binding();
    let input = seal_to(
        &recipient,
        "token",
        canary(1),
        Some(contract::secret::Binding { expires_s: None, ..binding }),
    );
    let now = Now { boot_ms: 0, wall_s: 1 };
    secrets.act("vault.add", input.to_string().as_bytes(), now).unwrap();
    serving(folder, secrets)
}

impl Peers {
    /// pdp's spec of a call, and the digest that audit's ticket names.
    fn spec(
        &self,
        call: CallId,
        capability: &str,
        input: &[u8],
    ) -> ([u8; 32], std::os::fd::OwnedFd) {
        let effects = crate::lending::tests::uses(&["token"], "/v1/a");
        let mut spec = crate::lending::tests::spec(call, "build-1", effects);
        spec.capability = capability.to_owned();
        spec.input = Sha256::digest(input).into();
        let (reads, writes) = rustix::pipe::pipe().unwrap();
        let file = sealed::holding(input).unwrap();
        self.pdp.send(&(VERSION, &spec), &[file.as_fd(), writes.as_fd()]).unwrap();
        let digest = Sha256::digest(contract::cbor::encode(&(VERSION, &spec)).unwrap());
        (digest.into(), reads)
    }

    fn ticket(&self, call: CallId, spec: [u8; 32]) {
        let ticket = Ticket { call, sequence: 1, spec, deadline_ms: u64::MAX, epoch: 1 };
        self.audit.send(&(VERSION, FromAudit::Ticket(ticket)), &[]).unwrap();
    }

    /// Has an operator's act performed.
    fn act(&self, desk: &mut Desk, call: CallId, name: &str) -> Json {
        use std::io::Read;
        let (digest, answer) = self.spec(call, name, b"{}");
        self.ticket(call, digest);
        while desk.performer.audit_has_more() {
            assert_eq!(desk.hear_audit(), None);
        }
        let mut text = String::new();
        File::from(answer).read_to_string(&mut text).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Whether the secret is lent to a new call.
    fn is_lent(&self, desk: &mut Desk, call: u8) -> bool {
        let purpose = br#"{"capability":"network.http_request@1"}"#;
        let (digest, _) = self.spec([call; 16], CAPABILITY, purpose);
        self.ticket([call; 16], digest);
        matches!(self.ask(desk, [call; 16]), FromVault::Lent { .. })
    }

    fn ask(&self, desk: &mut Desk, call: CallId) -> FromVault {
        let message = ToVault::Lend { call, name: "token".to_owned() };
        self.egress.send(&(lend::VERSION, message), &[]).unwrap();
        assert_eq!(desk.hear_egress(), None);
        let files = |(_, message): &(u16, FromVault)| {
            usize::from(matches!(message, FromVault::Lent { .. }))
        };
        self.egress.receive_now().unwrap().open(files).unwrap().0.1
    }
}

#[test]
fn a_question_is_answered_after_all_that_audit_said_before_it() {
    let folder = Folder::new("desk");
    let (mut desk, peers) = desk(&folder);
    let name = "token".to_owned();
    let purpose = br#"{"capability":"network.http_request@1"}"#;
    let (digest, _) = peers.spec([1; 16], CAPABILITY, purpose);
    let none = FromVault::NotLent { call: [1; 16], name: name.clone(), why: NotLent::NoTicket };
    assert_eq!(peers.ask(&mut desk, [1; 16]), none, "a spec alone releases nothing");
    // neither spec nor ticket is heard before the question
    peers.ticket([1; 16], digest);
    let lent = FromVault::Lent { call: [1; 16], name, version: 1 };
    assert_eq!(peers.ask(&mut desk, [1; 16]), lent);
    assert_eq!(peers.ask(&mut desk, [1; 16]), none, "once");
    let settled = peers.audit.receive_now().unwrap().open(|_: &(u16, ToAudit)| 0).unwrap().0.1;
    assert_eq!(settled, ToAudit::Settled { epoch: 1 });
    assert!(peers.audit.receive_now().is_err(), "the end of the call is another's to say");
    peers.egress.send(&(lend::VERSION, "nonsense"), &[]).unwrap();
    assert!(desk.hear_egress().is_some() && desk.egress.is_none());
}

#[test]
fn an_operators_act_is_performed_on_its_ticket_and_its_recipient_is_vouched_for() {
    let folder = Folder::new("desk-act");
    let (mut desk, peers) = desk(&folder);
    let answer = peers.act(&mut desk, [2; 16], "vault.status");
    assert_eq!((&answer["state"], &answer["secrets"]), (&json!("unlocked"), &json!(1)));
    assert!(answer["vouched"].as_str().is_some_and(|text| text.len() > 128));
    let next = || peers.audit.receive_now().unwrap().open(|_: &(u16, ToAudit)| 0).unwrap().0.1;
    let (call, outcome) = ([2; 16], Outcome::of("ok"));
    assert_eq!(
        [next(), next(), next()],
        [
            ToAudit::Settled { epoch: 1 },
            ToAudit::Started { call },
            ToAudit::Ended { call, outcome }
        ]
    );
}

#[test]
fn a_vault_that_starts_again_goes_on_and_counts_on_until_it_is_locked() {
    let folder = Folder::new("desk-again");
    let memory = crate::kept::tests::file();
    let kept = || Kept::of(&memory).unwrap();
    let again = || serving(&folder, Secrets::open(folder.path().to_owned()).unwrap());
    let (mut first, peers) = desk(&folder);
    assert!(!again().0.go_on(Kept::default()), "without anything kept it is locked");
    assert!(first.go_on(kept()), "it was open already");
    assert!(peers.is_lent(&mut first, 1));
    let (mut second, peers) = again();
    assert!(second.go_on(kept()));
    // two uses an hour: one was the first's
    assert!(peers.is_lent(&mut second, 2) && !peers.is_lent(&mut second, 3));
    let (mut third, peers) = again();
    assert!(third.go_on(kept()) && !peers.is_lent(&mut third, 4), "both count");
    // keys of before a change of keys open nothing
    let old = third.secrets.opened.as_ref().unwrap().keys.text();
    crate::secrets::tests::rekey(&mut third.secrets);
    assert!(!again().0.secrets.open_again(&old));
    peers.act(&mut third, [5; 16], "vault.status");
    assert!(again().0.go_on(kept()), "the new ones are kept");
    assert_eq!(peers.act(&mut third, [6; 16], "vault.lock")["state"], "locked");
    let (mut fourth, peers) = again();
    assert!(!fourth.go_on(kept()));
    crate::secrets::tests::unlock(&mut fourth.secrets).unwrap();
    assert!(!peers.is_lent(&mut fourth, 7), "what was lent counts, whoever unlocks");
}
