//! Frames between pdp and audit, spoiled in every way: decoded to what they say, or refused.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use contract::bytes::Bytes;
use contract::cbor;
use ledger::Kind;
use ledger::writer::{Body, Draft, Filter, FromWriter, NotAppended, Release, ToWriter};
use proptest::prelude::*;

fn messages() -> Vec<Vec<u8>> {
    let draft = Draft::new(Kind::Decision, &[("agent", "a"), ("answer", "autonomous")]);
    let release = Release {
        performer: "forker".to_owned(),
        spec: [1; 32],
        deadline_ms: 2,
        changes: true,
        deferred: false,
        lends: Some([9; 32]),
    };
    let bodies = vec![Body { name: "input".to_owned(), needed: true }];
    let append = ToWriter::Append { draft, bodies, release: Some(release), reserve: false };
    let page = ToWriter::Page { number: 1, from: 2, filter: Filter::default() };
    let not = FromWriter::NotAppended { call: Some([3; 16]), why: NotAppended::Full };
    vec![
        cbor::encode(&append).unwrap(),
        cbor::encode(&page).unwrap(),
        cbor::encode(&not).unwrap(),
        cbor::encode(&FromWriter::Appended(Bytes(vec![5; 100]))).unwrap(),
    ]
}

proptest! {
    #[test]
    fn any_spoiled_message_is_decoded_or_refused(at in any::<usize>(), change in 1_u8..=255) {
        for mut bytes in messages() {
            let at = at % bytes.len();
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= change);
            if let Ok(message) = cbor::decode::<ToWriter>(&bytes) {
                prop_assert_eq!(cbor::encode(&message).unwrap(), bytes);
            } else if let Ok(message) = cbor::decode::<FromWriter>(&bytes) {
                prop_assert_eq!(cbor::encode(&message).unwrap(), bytes);
            }
        }
    }
}
