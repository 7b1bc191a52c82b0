//! For tests: a ledger whose operator signs, and what pdp knows of it.

use crate::state::State;
use contract::digits::hex;
use contract::statement::{Act, CONTEXT, Statement};
use ed25519_dalek::{Signer, SigningKey};
use ledger::writer::Draft;
use ledger::{Chain, Digest, Kind, Record};
use std::collections::BTreeMap;

/// A ledger, its records, and its fold.
pub(crate) struct Ledger {
    chain: Chain,
    pub(crate) records: Vec<Record>,
    pub(crate) state: State,
    nonce: u8,
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

impl Ledger {
    /// One that `ann` is paired with.
    pub(crate) fn paired() -> Self {
        let (chain, records, state) = (Chain::default(), Vec::new(), State::new([1; 16]));
        let mut new = Self { chain, records, state, nonce: 0 };
        let key = hex(key().verifying_key().as_bytes());
        let facts = [("act", "pair"), ("name", "ann"), ("operator_key", key.as_str())];
        new.take(Draft::new(Kind::Act, &facts)).unwrap();
        new
    }

    /// The next record; its bodies lie somewhere.
    pub(crate) fn take(&mut self, draft: Draft) -> Result<(), acts::ActError> {
        let mut envelope = draft.into_envelope([1; 16], 7, 9, BTreeMap::new());
        for body in ["place.text", "place.input"] {
            envelope.facts.entry(body.to_owned()).or_insert_with(|| "0:0".to_owned());
        }
        let record = self.chain.append(envelope).unwrap().record().clone();
        self.records.push(record.clone());
        self.state.apply(&record)
    }

    /// The record of an act that ann signs.
    pub(crate) fn act(&mut self, act: Act, mut draft: Draft) {
        self.nonce += 1;
        let (of_box, operator) = ("aa".to_owned(), "ann".to_owned());
        let statement = Statement { of_box, nonce: hex(&[self.nonce; 16]), operator, act };
        let text = serde_json::to_string(&statement).unwrap();
        let signature = hex(&key().sign(&[CONTEXT, text.as_bytes()].concat()).to_bytes());
        let signed = [("statement", text), ("signature", signature), ("operator", "ann".into())];
        draft.facts.extend(signed.map(|(name, value)| (name.to_owned(), value)));
        self.take(draft).unwrap();
    }

    /// Applies a text.
    pub(crate) fn apply(&mut self, text: &Digest) {
        let mut draft = Draft::new(Kind::Policy, &[("version", "1")]);
        draft.policy = Some(*text);
        self.act(Act::PolicyApply { body: text.to_string(), proposal: None }, draft);
    }
}
