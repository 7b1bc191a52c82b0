//! The agents' door: a plain JSON interface and MCP for the same calls.

use crate::answer::{Answer, ended, performed, refusal};
use crate::mcp;
use crate::pdp::{NoAnswer, Pdp};
use crate::serve::{BODY_BYTES_MAX, Source};
use crate::stream;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use contract::bytes::Bytes;
use contract::digits::{hex, unhex_array};
use contract::door::FromDoor;
use contract::perform::CallId;
use contract::piece::{self, Piece};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::os::fd::OwnedFd;

/// The plain interface, and MCP at `/mcp`.
pub(crate) fn routes(pdp: Pdp) -> Router {
    Router::new()
        .route("/v1/tools", get(tools))
        .route("/v1/calls", post(call))
        .route("/v1/calls/{call}", get(became))
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
) -> Response {
    let Some(token) = token(&headers) else {
        pdp.refused(&source, "unauthenticated");
        return unauthenticated().into_response();
    };
    let called: Called = match serde_json::from_slice(&body) {
        Ok(called) => called,
        Err(error) => {
            pdp.refused(&source, "bad_request");
            let message = format!("no call: {error}");
            let next = "send {\"capability\": NAME, \"input\": OBJECT}";
            let refusal = refusal(StatusCode::BAD_REQUEST, "bad_request", &message, next);
            return refusal.into_response();
        }
    };
    let input = called.input.unwrap_or_else(|| Json::Object(serde_json::Map::new()));
    let caller = (token, source);
    if !stream::is_wanted(&headers) {
        return perform(&pdp, caller, called.capability, &input).await.into_response();
    }
    match perform_streaming(&pdp, caller, called.capability, &input).await {
        Ok(begun) => stream::response(begun),
        Err(answer) => answer.into_response(),
    }
}

/// One call of `caller`, a token and an address, whatever protocol it came by.
pub(crate) async fn perform(
    pdp: &Pdp,
    (token, source): (Bytes, String),
    capability: String,
    input: &Json,
) -> Answer {
    let input = match sealed(&capability, input) {
        Ok(input) => input,
        Err(refusal) => return refusal,
    };
    let name = capability.clone();
    let message = |number| FromDoor::Call { number, token, source, capability, streams: false };
    ended(Some(&name), performed(pdp, message, |answer| vec![input, answer]).await)
}

/// The same for who wants pieces: what is told of it, or the answer of a call that did not begin.
pub(crate) async fn perform_streaming(
    pdp: &Pdp,
    caller: (Bytes, String),
    capability: String,
    input: &Json,
) -> Result<stream::Begun, Answer> {
    let input = sealed(&capability, input)?;
    stream::perform(pdp, caller, capability, input).await
}

/// The input of a call.
fn sealed(capability: &str, input: &Json) -> Result<OwnedFd, Answer> {
    const NAME_BYTES_MAX: usize = 128;
    if capability.len() > NAME_BYTES_MAX {
        let (message, next) = ("the capability's name is too long", "list the capabilities");
        return Err(refusal(StatusCode::BAD_REQUEST, "bad_request", message, next));
    }
    let sealed = channel::sealed::holding(input.to_string().as_bytes());
    sealed.map_err(|_error| NoAnswer::Busy.answer())
}

async fn became(
    State(pdp): State<Pdp>,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
    Path(call): Path<String>,
    uri: Uri,
) -> Response {
    let Some(token) = token(&headers) else { return unauthenticated().into_response() };
    let asked = number(&call).and_then(|call| Ok((call, from(&headers, &uri)?)));
    let (call, from) = match asked {
        Ok(asked) => asked,
        Err(refusal) => return refusal.into_response(),
    };
    if stream::is_wanted(&headers) {
        return stream::follow(pdp, (token, source), call, from.unwrap_or(0)).await;
    }
    poll(&pdp, token, source, call, from).await.answer(call, from).into_response()
}

/// A call's number.
pub(crate) fn number(digits: &str) -> Result<CallId, Answer> {
    let message = "a call's number has 32 hexadecimal digits";
    let next = "copy it from the answer";
    unhex_array(digits)
        .ok_or_else(|| refusal(StatusCode::BAD_REQUEST, "bad_request", message, next))
}

/// From which byte on pieces are wanted: what the query says, or the last event that a client that comes
/// back has seen.
fn from(headers: &HeaderMap, uri: &Uri) -> Result<Option<u64>, Answer> {
    let said = uri.query().into_iter().flat_map(|query| query.split('&'));
    let said = said.filter_map(|one| one.strip_prefix("from=")).next();
    let seen = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let Some(digits) = said.or(seen) else { return Ok(None) };
    let message = "`from` is a number of bytes";
    let next = "copy it from the answer before";
    let from = digits.parse().map(Some);
    from.map_err(|_error| refusal(StatusCode::BAD_REQUEST, "bad_request", message, next))
}

/// What there is to say of a call.
pub(crate) enum Polled {
    /// It is under way and has written this; each piece with the byte after it.
    Pieces(Vec<(Piece, u64)>),
    Said(Answer),
}

impl Polled {
    /// As one answer to who asked from a byte on.
    pub(crate) fn answer(self, call: CallId, from: Option<u64>) -> Answer {
        let pieces = match self {
            Self::Said(answer) => return answer,
            Self::Pieces(pieces) => pieces,
        };
        let next = pieces.last().map(|(_, end)| *end).or(from);
        let pieces: Vec<Piece> = pieces.into_iter().map(|(piece, _)| piece).collect();
        let json = json!({ "call": hex(&call), "status": "running", "next": "ask again",
            "pieces": pieces, "from": next });
        Answer::Json(StatusCode::ACCEPTED, json)
    }
}

/// What became of a call; its pieces from a byte on, if they are asked for and it is under way.
pub(crate) async fn poll(
    pdp: &Pdp,
    token: Bytes,
    source: String,
    call: CallId,
    from: Option<u64>,
) -> Polled {
    let message = |number| FromDoor::Poll { number, token, source, call, from };
    Polled::Said(match Answer::of(pdp.ask(message, Vec::new()).await) {
        Answer::File(media_type, bytes) if media_type == piece::MEDIA_TYPE => {
            let pieces = stream::Splitter::default().take(&bytes).into_iter();
            let begin = from.unwrap_or(0);
            let end = |length| begin.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
            return Polled::Pieces(pieces.map(|(piece, to)| (piece, end(to))).collect());
        }
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
    })
}
