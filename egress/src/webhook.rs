//! An event, signed: Standard Webhooks 1.0.0, its symmetric scheme. The key is lent and never sent; of the reply its
//! status alone counts.

use crate::hidden::Hidden;
use crate::request::{Prepared, Step, exchange};
use crate::shared::Shared;
use capabilities::{Accepted, Argument};
use contract::base64;
use contract::perform::Spec;
use contract::url::Url;
use hmac::{Hmac, Mac};
use hyper::Method;
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value as Json, json};
use sha2::Sha256;
use zeroize::Zeroize;

/// What a signature begins with: the version of the symmetric scheme.
const VERSION: &str = "v1,";

/// `network.webhook`.
pub(crate) async fn perform(shared: &Shared, spec: &Spec, input: &Accepted) -> Step<Json> {
    let Some(Argument::Url(url)) = input.get("url") else { return Err("bad_input") };
    let text = |name: &str| match input.get(name) {
        Some(Argument::Text(text)) => Ok(text.as_str()),
        _ => Err("bad_input"),
    };
    let (secret, id, body) = (text("secret")?, text("id")?, text("body")?);
    if !is_id(id) || serde_json::from_str::<serde::de::IgnoredAny>(body).is_err() {
        return Err("bad_event");
    }
    if !url.tls {
        return Err("secret_refused");
    }
    let (mut lent, version) = shared.vault.lend(spec.call, secret).await?;
    let seconds = linux::clock::wall_us() / 1_000_000;
    let signature = sign(&lent.value.0, id, seconds, body);
    lent.value.0.zeroize();
    let prepared = Prepared {
        method: Method::POST,
        url: Url::clone(url),
        headers: headers(id, seconds, &signature?)?,
        body: body.as_bytes().to_vec().into(),
        hidden: Hidden::new([])?,
        versions: vec![(secret.to_owned(), version)],
    };
    let status = exchange(shared, spec, prepared).await?.status;
    if status.is_success() { Ok(json!({ "status": status.as_u16() })) } else { Err("not_taken") }
}

/// The parts of what is signed are apart by dots, so that none is in an id.
fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn sign(key: &[u8], id: &str, seconds: u64, body: &str) -> Step<String> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).map_err(|_length| "secret_refused")?;
    mac.update(format!("{id}.{seconds}.{body}").as_bytes());
    Ok(format!("{VERSION}{}", base64::write(&mac.finalize().into_bytes())))
}

fn headers(id: &str, seconds: u64, signature: &str) -> Step<HeaderMap> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_control| "bad_event");
    let mut headers = HeaderMap::new();
    for (name, text) in [
        ("webhook-id", id),
        ("webhook-timestamp", &seconds.to_string()),
        ("webhook-signature", signature),
    ] {
        headers.insert(HeaderName::from_static(name), value(text)?);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification, made again with openssl.
    #[test]
    fn a_signature_is_the_schemes() {
        let key = contract::secret::webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, "{\"test\": 2432232314}");
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        for id in ["", "a.b", "a b", "\u{e9}"] {
            assert!(!is_id(id), "{id}");
        }
    }
}
