//! What the vault is told of a call that uses secrets: a spec of its own, which audit releases with the performer's.
//! It holds the call's effects of kind `secret` and what is called; no value comes here.

use crate::Pdp;
use crate::peers::VAULT;
use crate::refusal::Refusal;
use contract::effect::{Effect, Kind};
use contract::lend::{CAPABILITY, Purpose};
use contract::perform::{Spec, VERSION};
use ledger::Digest;
use sha2::{Digest as _, Sha256};

/// The vault's spec, and its input; nothing for a call that uses no secret.
fn lending(spec: &Spec) -> Option<(Spec, Vec<u8>)> {
    let secrets = spec.effects.iter().filter(|effect| effect.kind == Kind::Secret);
    let effects: Vec<Effect> = secrets.cloned().collect();
    if effects.is_empty() {
        return None;
    }
    let purpose = Purpose { capability: spec.capability.clone() };
    let input = serde_json::to_vec(&purpose).ok()?;
    let lending = Spec {
        capability: CAPABILITY.to_owned(),
        effects,
        input: Sha256::digest(&input).into(),
        alone: false,
        streams: false,
        reach: Vec::new(),
        ..spec.clone()
    };
    Some((lending, input))
}

impl Pdp {
    /// Tells the vault of a call that is to be lent secrets: the digest of what it was told.
    pub(crate) fn tell_lender(&mut self, spec: &Spec) -> Result<Option<[u8; 32]>, Refusal> {
        let Some((lending, input)) = lending(spec) else { return Ok(None) };
        let frame = (VERSION, &lending);
        let encoded = contract::cbor::encode(&frame).map_err(|_error| Refusal::Unavailable)?;
        let input = channel::sealed::holding(&input).map_err(|_error| Refusal::Unavailable)?;
        // nobody reads its answer: the value goes to the performer, over an edge of theirs
        let answer = input.try_clone().map_err(|_error| Refusal::Unavailable)?;
        if !self.peers.post(VAULT, &frame, vec![input, answer]) {
            return Err(Refusal::Unavailable);
        }
        Ok(Some(Digest::of(&encoded).0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::perform::{AgentPlace, Limits};

    #[test]
    fn the_vault_is_told_of_the_secrets_and_of_nothing_else() {
        let declaration = capabilities::find("network.http_request").unwrap();
        let effects = |headers: &str| {
            let input = format!(r#"{{"url":"https://a.example/x","headers":{headers}}}"#);
            let input = serde_json::from_str(&input).unwrap();
            declaration.lower(&declaration.accept(&input).unwrap()).unwrap()
        };
        let spec = |headers: &str| Spec {
            call: [7; 16],
            capability: declaration.id(),
            agent: AgentPlace { name: "a".to_owned(), disk_uid: 200_000 },
            effects: effects(headers),
            input: [1; 32],
            limits: Limits::MOST,
            alone: true,
            streams: true,
            reach: Vec::new(),
        };
        assert_eq!(lending(&spec("{}")), None);
        let (lending, input) = lending(&spec(r#"{"x-a":"${secret:one} ${secret:two}"}"#)).unwrap();
        let shown: Vec<String> = lending.effects.iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 2);
        assert!(shown.iter().all(|effect| effect.starts_with("secret ")), "{shown:?}");
        assert!(shown.iter().all(|effect| effect.contains("a.example")), "{shown:?}");
        assert_eq!((lending.call, lending.agent.name.as_str()), ([7; 16], "a"));
        let purpose: Purpose = serde_json::from_slice(&input).unwrap();
        assert_eq!(purpose.capability, "network.http_request@1");
        assert_eq!(lending.input, <[u8; 32]>::from(Sha256::digest(&input)));
    }
}
