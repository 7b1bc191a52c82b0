//! An operator's key in the hands of a test, which signs what krux never would.

use crate::{Client, Operated, Reply};
use anyhow::{Context, Result};
use contract::digits::{hex, unhex_array};
use contract::statement::CONTEXT;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value as Json, json};

/// The operator who paired, at the operators' door.
#[derive(Debug)]
pub struct Operator {
    key: SigningKey,
    of_box: String,
    door: Client,
}

impl Operator {
    /// The operator of a paired box.
    ///
    /// # Errors
    /// When krux keeps no key or box.
    pub fn of(operated: &Operated) -> Result<Self> {
        let known = std::fs::read_to_string(operated.config.join("boxes/box.json"))?;
        let known: Json = serde_json::from_str(&known)?;
        let of_box = known.get("key_digest").and_then(Json::as_str).context("digest")?.to_owned();
        let seed = std::fs::read_to_string(operated.config.join("operator.key"))?;
        let seed = unhex_array(seed.trim()).context("key")?;
        Ok(Self { key: SigningKey::from_bytes(&seed), of_box, door: operated.stranger()? })
    }

    /// A number that makes one statement new.
    ///
    /// # Errors
    /// When the box gives none.
    pub fn number(&self) -> Result<String> {
        let challenge = self.door.post("/v1/challenge", &[], b"");
        let number = challenge.json.get("nonce").and_then(Json::as_str).map(str::to_owned);
        number.with_context(|| format!("no number: {challenge:?}"))
    }

    /// A statement for this box.
    #[must_use]
    pub fn statement(&self, number: &str, act: &Json) -> Json {
        json!({ "box": self.of_box, "nonce": number, "operator": "ann", "act": act })
    }

    /// Its text and its signature.
    #[must_use]
    pub fn sign(&self, statement: &Json) -> (String, String) {
        let text = statement.to_string();
        let signature = self.key.sign(&[CONTEXT, text.as_bytes()].concat());
        (text, hex(&signature.to_bytes()))
    }

    /// Sends a text with a signature, and with a body if the act has one.
    #[must_use]
    pub fn send(&self, (text, signature): (&str, &str), body: Option<&[u8]>) -> Reply {
        let signature = ("kruxos-signature", signature);
        match body {
            None => self.door.post("/v1/act", &[signature], text.as_bytes()),
            Some(body) => {
                let statement = hex(text.as_bytes());
                self.door.post("/v1/act", &[signature, ("kruxos-statement", &statement)], body)
            }
        }
    }
}
