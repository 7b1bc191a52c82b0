//! First contact: the pairing code of the console, the proof to the operator of META, and the numbers
//! that make a statement new.

use crate::refusal::{Refusal, say};
use crate::{Pdp, Then};
use contract::digits::{hex, unhex_array};
use contract::door::Status;
use contract::pairing::{
    BOX, CLIENT, CODE_MS_MAX, PIN_BYTES, PROOF, Request, SECRET_BYTES, TRIES_MAX, transcript,
    write_code,
};
use hmac::{Hmac, Mac};
use ledger::Kind;
use ledger::writer::Draft;
use linux::clock::boot_ms;
use serde_json::json;
use sha2::Sha256;

/// How long a number makes a statement new.
const NONCE_MS_MAX: u64 = 120_000;
/// Most numbers that are out at once.
const NONCES_MAX: usize = 256;

/// A pairing code that is out.
#[derive(Debug)]
pub(crate) struct Pairing {
    secret: [u8; SECRET_BYTES],
    made_ms: u64,
    tries: u32,
}

fn mac(secret: &[u8], text: &[u8]) -> Option<Hmac<Sha256>> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(secret).ok()?;
    mac.update(text);
    Some(mac)
}

fn random<const N: usize>() -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let flags = rustix::rand::GetRandomFlags::empty();
    rustix::rand::getrandom(&mut bytes, flags).ok().map(|_| bytes)
}

impl Pdp {
    /// A new code, as the console's lines.
    pub(crate) fn new_code(&mut self) -> Vec<String> {
        if !self.state.operators.is_empty() {
            return vec![
                "this box has an operator; further ones are signed in: krux operator add"
                    .to_owned(),
            ];
        }
        let (Some(authority), Some(secret)) = (self.authority, random()) else {
            return vec!["no code: the box's authority is not there yet".to_owned()];
        };
        self.pairing = Some(Pairing { secret, made_ms: boot_ms(), tries: 0 });
        let pin = authority.get(..PIN_BYTES).unwrap_or_default();
        let code = write_code(&[pin, &secret].concat());
        vec![
            format!("pairing code: {code}"),
            "good for ten minutes and once: krux pair ADDRESS CODE --name YOU".to_owned(),
        ]
    }

    /// A number for the next statement.
    pub(crate) fn challenge(&mut self, door: &str, number: u64) {
        let now = boot_ms();
        self.nonces.retain(|(_, until)| *until > now);
        let Some(nonce) = random() else {
            let refusal = Refusal::Unavailable;
            return say(&mut self.peers, door, number, refusal.status(), &refusal.json());
        };
        // whoever asks for many takes the place of old ones, and keeps no operator out
        if self.nonces.len() >= NONCES_MAX {
            self.nonces.pop_front();
        }
        self.nonces.push_back((nonce, now + NONCE_MS_MAX));
        let json = json!({ "nonce": hex(&nonce), "box": self.authority.map(|a| hex(&a)) });
        say(&mut self.peers, door, number, Status::Ok, &json.to_string());
    }

    /// Whether a statement's number is out, which uses it up.
    pub(crate) fn take_nonce(&mut self, digits: &str) -> bool {
        let now = boot_ms();
        let Some(nonce) = unhex_array::<16>(digits) else { return false };
        let found = self.nonces.iter().position(|(known, until)| *known == nonce && *until > now);
        found.and_then(|index| self.nonces.remove(index)).is_some()
    }

    /// Proves the authority's key to the operator whose key is in META.
    pub(crate) fn prove(&mut self, door: &str, number: u64) {
        let proof = self.first_operator.zip(self.authority).and_then(|((_, secret), authority)| {
            let text = transcript(PROOF, &authority, "", "", "");
            Some(hex(&mac(&secret, &text)?.finalize().into_bytes()))
        });
        let open = self.state.operators.is_empty();
        let (status, json) = match proof.filter(|_| open) {
            Some(mac) => (Status::Ok, json!({ "mac": mac }).to_string()),
            None => {
                let what = "first operator in META, or there is one already".to_owned();
                let refusal = Refusal::NotFound { what };
                (refusal.status(), refusal.json())
            }
        };
        say(&mut self.peers, door, number, status, &json);
    }

    /// The first operator's keys, under the secret of the code or of META.
    pub(crate) fn pair(&mut self, door: &'static str, number: u64, request: &str) {
        if let Err(refusal) = self.try_pair(door, number, request) {
            say(&mut self.peers, door, number, refusal.status(), &refusal.json());
        }
    }

    fn try_pair(&mut self, door: &'static str, number: u64, request: &str) -> Result<(), Refusal> {
        let bad = |message: &str| Refusal::Bad { message: message.to_owned() };
        if !self.state.operators.is_empty() {
            let message = "this box has an operator, who signs in further ones".to_owned();
            return Err(Refusal::Conflict { message });
        }
        let request: Request =
            serde_json::from_str(request).map_err(|error| bad(&error.to_string()))?;
        let authority = self.authority.ok_or(Refusal::Unavailable)?;
        let key =
            unhex_array::<32>(&request.key).ok_or_else(|| bad("`key`: 64 hexadecimal digits"))?;
        let given =
            unhex_array::<32>(&request.mac).ok_or_else(|| bad("`mac`: 64 hexadecimal digits"))?;
        if !crate::act::is_name(&request.name) || request.recipient.len() > 128 {
            return Err(bad("`name`: lower-case letters, digits and `-`, at most 32"));
        }
        let secret = self.secret_for(&key)?;
        let Request { name, key: digits, recipient, .. } = &request;
        let text = transcript(CLIENT, &authority, name, digits, recipient);
        let holds = mac(&secret, &text).is_some_and(|mac| mac.verify_slice(&given).is_ok());
        if !holds {
            return Err(Refusal::Signature { message: "the code is not this box's".to_owned() });
        }
        let answer = transcript(BOX, &authority, name, digits, recipient);
        let answer = mac(&secret, &answer).ok_or(Refusal::Unavailable)?;
        let answer = hex(&answer.finalize().into_bytes());
        let call = self.random_call()?;
        let facts = [
            ("act", "pair"),
            ("name", name.as_str()),
            ("operator_key", digits),
            ("recipient", recipient),
        ];
        let mut draft = Draft::new(Kind::Act, &facts);
        draft.call = Some(call);
        self.record(draft, Vec::new(), None)?;
        self.pairing = None;
        let then = Then::Say(Status::Ok, json!({ "mac": answer }).to_string());
        self.await_call(call, door, number, then);
        Ok(())
    }

    /// The secret that this key pairs under, if there is one and it was not tried too often.
    fn secret_for(&mut self, key: &[u8; 32]) -> Result<Vec<u8>, Refusal> {
        if let Some((first, secret)) = &self.first_operator
            && first == key
        {
            return Ok(secret.to_vec());
        }
        let now = boot_ms();
        let refused = |message: &str| Refusal::Signature { message: message.to_owned() };
        let Some(pairing) = &mut self.pairing else {
            return Err(refused("no pairing code is out; ask the console for one"));
        };
        pairing.tries += 1;
        let secret = pairing.secret.to_vec();
        if now > pairing.made_ms + CODE_MS_MAX || pairing.tries > TRIES_MAX {
            self.pairing = None;
            return Err(refused("the pairing code is used up; ask the console for another"));
        }
        Ok(secret)
    }
}
