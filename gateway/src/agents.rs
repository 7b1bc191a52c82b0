//! The agents' door: a plain JSON interface and MCP for the same calls.

use crate::answer::{Answer, ended, performed, refusal};
use crate::mcp;
use crate::pdp::{NoAnswer, Pdp};
use crate::serve::{BODY_BYTES_MAX, Source};
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::{get, post};
use axum::{Extension, Router};
use contract::bytes::Bytes;
use contract::digits::{hex, unhex_array};
use contract::door::FromDoor;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// The plain interface, and MCP at `/mcp`.
pub(crate) fn routes(pdp: Pdp) -> Router {
    Router::new()
        .route("/v1/tools", get(tools))
        .route("/v1/calls", post(call))
        .route("/v1/calls/{call}", get(poll))
        .route_service("/mcp", mcp::service(pdp.clone()))
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(pdp)
}

pub(crate) async fn nowhere() -> Answer {
    refusal(StatusCode::NOT_FOUND, "no_such_path", "nothing is here", "see docs/surface.md")
}

/// The token of a request (RFC 6750 section 2.1): 64 hexadecimal digits after `krux_`.
pub(crate) fn token(headers: &HeaderMap) -> Option<Bytes> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    let plain = scheme.eq_ignore_ascii_case("bearer") && token.len() <= 128 && !token.is_empty();
    plain.then(|| Bytes(token.as_bytes().to_vec()))
}

pub(crate) fn unauthenticated() -> Answer {
    refusal(
        StatusCode::UNAUTHORIZED,
        "unauthenticated",
        "a bearer token is missing",
        "send `Authorization: Bearer TOKEN`; an operator has it",
    )
}

async fn tools(
    State(pdp): State<Pdp>,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
) -> Answer {
    let Some(token) = token(&headers) else { return unauthenticated() };
    Answer::of(pdp.ask(|number| FromDoor::Tools { number, token, source }, Vec::new()).await)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Called {
    capability: String,
    #[serde(default)]
    input: Option<Json>,
}

async fn call(
    State(pdp): State<Pdp>,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Answer {
    let Some(token) = token(&headers) else {
        pdp.refused(&source, "unauthenticated");
        return unauthenticated();
    };
    let called: Called = match serde_json::from_slice(&body) {
        Ok(called) => called,
        Err(error) => {
            pdp.refused(&source, "bad_request");
            let message = format!("no call: {error}");
            let next = "send {\"capability\": NAME, \"input\": OBJECT}";
            return refusal(StatusCode::BAD_REQUEST, "bad_request", &message, next);
        }
    };
    let input = called.input.unwrap_or_else(|| Json::Object(serde_json::Map::new()));
    perform(&pdp, token, source, called.capability, &input).await
}

/// One call, whatever protocol it came by.
pub(crate) async fn perform(
    pdp: &Pdp,
    token: Bytes,
    source: String,
    capability: String,
    input: &Json,
) -> Answer {
    const NAME_BYTES_MAX: usize = 128;
    if capability.len() > NAME_BYTES_MAX {
        let message = "the capability's name is too long";
        return refusal(StatusCode::BAD_REQUEST, "bad_request", message, "list the capabilities");
    }
    let Ok(input) = channel::sealed::holding(input.to_string().as_bytes()) else {
        return NoAnswer::Busy.answer();
    };
    let name = capability.clone();
    let message = |number| FromDoor::Call { number, token, source, capability };
    ended(Some(&name), performed(pdp, message, |answer| vec![input, answer]).await)
}

async fn poll(
    State(pdp): State<Pdp>,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
    Path(call): Path<String>,
) -> Answer {
    let Some(token) = token(&headers) else { return unauthenticated() };
    poll_call(&pdp, token, source, &call).await
}

/// What became of a call.
pub(crate) async fn poll_call(pdp: &Pdp, token: Bytes, source: String, call: &str) -> Answer {
    let Some(call) = unhex_array(call) else {
        let message = "a call's number has 32 hexadecimal digits";
        return refusal(StatusCode::BAD_REQUEST, "bad_request", message, "copy it from the answer");
    };
    let message = |number| FromDoor::Poll { number, token, source, call };
    match Answer::of(pdp.ask(message, Vec::new()).await) {
        // a kept answer is what the performer wrote
        Answer::File(_, bytes) => match serde_json::from_slice::<Json>(&bytes) {
            Ok(result) => {
                let call = hex(&call);
                let ended = match result.get("error") {
                    Some(code) => json!({ "call": call, "status": "ended", "code": code }),
                    None => {
                        json!({ "call": call, "status": "ended", "code": "ok", "result": result })
                    }
                };
                Answer::Json(StatusCode::OK, ended)
            }
            Err(_error) => NoAnswer::Interrupted.answer(),
        },
        other => other,
    }
}
