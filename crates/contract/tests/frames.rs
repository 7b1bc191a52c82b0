//! Frames between services, spoiled in every way: decoded to what they say, or refused; never a panic.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use contract::bytes::Bytes;
use contract::cbor;
use contract::console::{FromConsole, FromInit, ToConsole};
use contract::door::{FromDoor, Status, ToDoor};
use contract::effect::{Effect, Field, Form, Kind, Value};
use contract::found::Found;
use contract::issue::{FromCertifier, ToCertifier};
use contract::path::CanonicalPath;
use contract::perform::{
    Access, AgentPlace, Expected, FromAudit, FromWorker, Grant, Limits, Outcome, Refusal, Spec,
    Ticket, ToAudit, VERSION, Work,
};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Decodes spoiled bytes of a message: what comes out encodes to the same bytes again.
fn decodes_or_is_refused<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    message: &T,
    at: usize,
    change: u8,
    cut: bool,
) {
    let frame = cbor::encode(&(VERSION, message)).unwrap();
    let (_, back): (u16, T) = cbor::decode(&frame).unwrap();
    assert_eq!(&back, message);
    let mut spoiled = frame;
    let at = at % spoiled.len();
    if cut {
        spoiled.truncate(at);
    } else if let Some(byte) = spoiled.get_mut(at) {
        *byte ^= change;
    }
    if let Ok(message) = cbor::decode::<(u16, T)>(&spoiled) {
        assert_eq!(cbor::encode(&message).unwrap(), spoiled);
    }
}

fn spec() -> Spec {
    let path = Value::Path(CanonicalPath::parse("a/b").unwrap());
    Spec {
        call: [1; 16],
        capability: "filesystem.read@1".to_owned(),
        agent: AgentPlace { name: "a".to_owned(), disk_uid: 200_001 },
        effects: vec![
            Effect::new(Kind::Read, Form::Exact, [(Field::Path, path)])
                .unwrap()
                .expecting(Found::File { bytes: 1, digest: "00".repeat(32) }),
        ],
        input: [2; 32],
        limits: Limits { memory_bytes: 1 << 20, tasks: 4, cpu_us: 100_000, wall_ms: 1_000 },
        alone: true,
        streams: true,
        reach: Vec::new(),
    }
}

proptest! {
    #[test]
    fn any_spoiled_frame_is_decoded_or_refused(
        at in any::<usize>(),
        change in 1_u8..=255,
        cut in any::<bool>(),
    ) {
        let text = "x".to_owned();
        let bytes = Bytes(vec![7; 40]);
        let (number, call) = (9, [3; 16]);
        decodes_or_is_refused(&spec(), at, change, cut);
        let ticket = Ticket { call, sequence: 5, spec: [4; 32], deadline_ms: 6, epoch: 7 };
        decodes_or_is_refused(&FromAudit::Ticket(ticket), at, change, cut);
        let outcome = Outcome::of("ok");
        decodes_or_is_refused(&ToAudit::Ended { call, outcome }, at, change, cut);
        decodes_or_is_refused(&ToAudit::Refused { call, why: Refusal::Late }, at, change, cut);
        let grants = vec![Grant { path: text.clone(), access: Access::Rename }];
        decodes_or_is_refused(&Work { call, capability: text.clone(), grants, expects: Expected::of(&spec().effects), ports: vec![1], answer_bytes_max: 1, streams: true, polls: 0 }, at, change, cut);
        decodes_or_is_refused(&FromWorker::Done(text.clone()), at, change, cut);
        let (token, source, capability) = (bytes.clone(), text.clone(), text.clone());
        decodes_or_is_refused(&FromDoor::Call { number, token, source, capability, streams: true }, at, change, cut);
        let (token, source) = (bytes.clone(), text.clone());
        decodes_or_is_refused(&FromDoor::Poll { number, token, source, call, from: Some(1) }, at, change, cut);
        decodes_or_is_refused(&ToDoor::Begun { number, call }, at, change, cut);
        let (statement, signature) = (text.clone(), bytes.clone());
        let act = FromDoor::Act { number, source: text.clone(), statement, signature, body: true };
        decodes_or_is_refused(&act, at, change, cut);
        let said = ToDoor::Said { number, status: Status::Denied, json: text.clone() };
        decodes_or_is_refused(&said, at, change, cut);
        let addresses = vec!["192.0.2.1".to_owned()];
        decodes_or_is_refused(&ToCertifier::Certify { key: bytes.clone(), addresses }, at, change, cut);
        let (certificate, authority) = (bytes.clone(), bytes.clone());
        decodes_or_is_refused(&FromCertifier::Certified { certificate, authority }, at, change, cut);
        decodes_or_is_refused(&FromConsole::Code, at, change, cut);
        decodes_or_is_refused(&ToConsole { lines: vec![text] }, at, change, cut);
        let (key, secret) = (bytes.clone(), bytes);
        decodes_or_is_refused(&FromInit::FirstOperator { key, secret }, at, change, cut);
    }
}
