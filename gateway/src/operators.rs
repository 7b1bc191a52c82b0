//! The operators' door: signed statements in, answers out.

use crate::agents::nowhere;
use crate::answer::{Answer, ended, performed, refusal};
use crate::pdp::{NoAnswer, Pdp};
use crate::serve::{BODY_BYTES_MAX, Source};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Extension, Router};
use contract::bytes::Bytes;
use contract::digits::unhex;
use contract::door::FromDoor;
use contract::statement::STATEMENT_BYTES_MAX;

/// Where a statement's signature is: 128 hexadecimal digits.
const SIGNATURE: &str = "kruxos-signature";
/// The statement, when the body of the request is the act's own: hexadecimal digits.
const STATEMENT: &str = "kruxos-statement";

/// Pairing, statements.
pub(crate) fn routes(pdp: Pdp) -> Router {
    Router::new()
        .route("/v1/challenge", post(challenge))
        .route("/v1/pair", post(pair))
        .route("/v1/prove", get(prove))
        .route("/v1/act", post(act))
        .fallback(nowhere)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(pdp)
}

async fn challenge(State(pdp): State<Pdp>) -> Answer {
    Answer::of(pdp.ask(|number| FromDoor::Challenge { number }, Vec::new()).await)
}

async fn prove(State(pdp): State<Pdp>) -> Answer {
    Answer::of(pdp.ask(|number| FromDoor::Prove { number }, Vec::new()).await)
}

async fn pair(State(pdp): State<Pdp>, body: axum::body::Bytes) -> Answer {
    match std::str::from_utf8(&body) {
        Ok(text) if text.len() <= STATEMENT_BYTES_MAX => {
            let request = text.to_owned();
            Answer::of(pdp.ask(|number| FromDoor::Pair { number, request }, Vec::new()).await)
        }
        _ => bad("a pairing request is a short JSON text"),
    }
}

async fn act(
    State(pdp): State<Pdp>,
    Extension(Source(source)): Extension<Source>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Answer {
    let Some(signature) = headers.get(SIGNATURE).and_then(|value| unhex(value.to_str().ok()?))
    else {
        pdp.refused(&source, "bad_request");
        return bad("the header `kruxos-signature` is missing or no hexadecimal digits");
    };
    let (statement, file) = match headers.get(STATEMENT) {
        None => (body.to_vec(), None),
        Some(statement) => match statement.to_str().ok().and_then(unhex) {
            Some(statement) => (statement, Some(body)),
            None => return bad("the header `kruxos-statement` is no hexadecimal digits"),
        },
    };
    let statement = match String::from_utf8(statement) {
        Ok(statement) if statement.len() <= STATEMENT_BYTES_MAX => statement,
        _ => {
            pdp.refused(&source, "bad_request");
            return bad("the statement is too long or no UTF-8");
        }
    };
    let file = match file.map(|body| channel::sealed::holding(&body)).transpose() {
        Ok(file) => file,
        Err(_error) => return NoAnswer::Busy.answer(),
    };
    let (has_body, signature) = (file.is_some(), Bytes(signature));
    let message = |number| FromDoor::Act { number, source, statement, signature, body: has_body };
    ended(
        None,
        performed(&pdp, message, |answer| [Some(answer), file].into_iter().flatten().collect())
            .await,
    )
}

fn bad(message: &str) -> Answer {
    refusal(StatusCode::BAD_REQUEST, "bad_request", message, "use krux, or see docs/surface.md")
}
