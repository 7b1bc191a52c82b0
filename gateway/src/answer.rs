//! Answers of pdp and of performers as HTTP.

use crate::pdp::{Answered, NoAnswer, Pdp};
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::digits::hex;
use contract::door::{FromDoor, Status};
use contract::perform::Used;
use serde_json::{Value as Json, json};
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

/// Longest answer of a performer.
pub(crate) const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// How long an answer stays in its pipe though its call has not ended: most end sooner, and a door that
/// is woken for each piece takes the processor from the performer that writes it.
const LEFT_IN_PIPE: Duration = Duration::from_millis(2);
/// What an answer is read into at first.
const READ_BYTES: usize = 16 << 10;

/// An answer: a status and one JSON object, or a file.
#[derive(Debug)]
pub(crate) enum Answer {
    Json(StatusCode, Json),
    File(String, Vec<u8>),
}

/// The HTTP status of a kind of answer (RFC 9110).
const fn http(status: Status) -> StatusCode {
    match status {
        Status::Ok => StatusCode::OK,
        Status::Pending => StatusCode::ACCEPTED,
        Status::Bad => StatusCode::BAD_REQUEST,
        Status::Unauthenticated => StatusCode::UNAUTHORIZED,
        Status::Denied => StatusCode::FORBIDDEN,
        Status::NotFound => StatusCode::NOT_FOUND,
        Status::Conflict => StatusCode::CONFLICT,
        Status::Busy => StatusCode::TOO_MANY_REQUESTS,
        Status::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Status::Full => StatusCode::INSUFFICIENT_STORAGE,
    }
}

/// A refusal of the door itself.
pub(crate) fn refusal(status: StatusCode, code: &str, message: &str, next: &str) -> Answer {
    let error = json!({ "code": code, "message": message, "next": next });
    Answer::Json(status, json!({ "error": error }))
}

impl NoAnswer {
    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::NotThere => refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "a part of the box is starting again",
                "try again in a second",
            ),
            Self::Interrupted => refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "interrupted",
                "a part of the box went away while this was under way; it may have been performed",
                "look at what it changes before you try again",
            ),
            Self::Busy => refusal(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_calls",
                "too many requests wait",
                "wait for some of them to end",
            ),
        }
    }
}

impl Answer {
    /// What pdp says, without a performer.
    pub(crate) fn of(answered: Result<Answered, NoAnswer>) -> Self {
        match answered {
            Ok(Answered::Said { status, json }) => {
                Self::Json(http(status), serde_json::from_str(&json).unwrap_or_default())
            }
            Ok(Answered::File { media_type, file }) => {
                match channel::sealed::read(&file, 256 << 20) {
                    Ok(bytes) => Self::File(media_type, bytes),
                    Err(_error) => NoAnswer::Interrupted.answer(),
                }
            }
            Ok(Answered::Ended { .. }) => NoAnswer::Interrupted.answer(),
            Err(no_answer) => no_answer.answer(),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let (status, media_type, bytes) = match self {
            Self::Json(status, json) => {
                (status, "application/json".to_owned(), json.to_string().into_bytes())
            }
            Self::File(media_type, bytes) => (StatusCode::OK, media_type, bytes),
        };
        let mut response = Response::new(Body::from(bytes));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        if let Ok(value) = media_type.parse() {
            headers.insert(header::CONTENT_TYPE, value);
        }
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, header::HeaderValue::from_static("nosniff"));
        response
    }
}

/// Asks pdp for something that a performer may answer: `message` goes out with `fds` and the writing
/// end of a pipe, whose other end is read meanwhile if it takes longer, and counts only once the outcome
/// is recorded.
pub(crate) async fn performed(
    pdp: &Pdp,
    message: impl FnOnce(u64) -> FromDoor,
    fds: impl FnOnce(OwnedFd) -> Vec<OwnedFd>,
) -> Result<(Answered, Vec<u8>), NoAnswer> {
    let (read, write) = pipe_of_answer()?;
    let (ended, ends) = tokio::sync::oneshot::channel();
    let body = tokio::spawn(async move {
        tokio::time::timeout(LEFT_IN_PIPE, ends).await.ok();
        let mut bytes = Vec::with_capacity(READ_BYTES);
        let Ok(reader) = pipe::Receiver::from_owned_fd(read) else { return bytes };
        // what a performer could not write whole is no JSON and is said to be none
        reader.take(ANSWER_BYTES_MAX).read_to_end(&mut bytes).await.ok();
        bytes
    });
    let answered = pdp.ask(message, fds(write)).await;
    ended.send(()).ok();
    match answered {
        Ok(answered @ Answered::Ended { .. }) => Ok((answered, body.await.unwrap_or_default())),
        other => {
            body.abort();
            other.map(|answered| (answered, Vec::new()))
        }
    }
}

/// What a performer's answer comes through: where it is read, and where it is written.
pub(crate) fn pipe_of_answer() -> Result<(OwnedFd, OwnedFd), NoAnswer> {
    let flags = rustix::pipe::PipeFlags::CLOEXEC;
    rustix::pipe::pipe_with(flags).map_err(|_errno| NoAnswer::Busy)
}

/// A performer's answer beside its call's number and code.
pub(crate) fn ended(
    capability: Option<&str>,
    answered: Result<(Answered, Vec<u8>), NoAnswer>,
) -> Answer {
    let (call, code, used, body) = match answered {
        Ok((Answered::Ended { call, code, used }, body)) => (call, code, used, body),
        Ok((answered, _)) => return Answer::of(Ok(answered)),
        Err(no_answer) => return no_answer.answer(),
    };
    let call = hex(&call);
    let result = serde_json::from_slice::<Json>(&body);
    match (code.as_str(), result) {
        ("ok", Ok(result)) => Answer::Json(
            StatusCode::OK,
            json!({ "call": call, "code": "ok", "result": result, "used": used }),
        ),
        ("ok", Err(_no_json)) => failed(capability, &call, "bad_answer", &used, None),
        (code, result) => failed(capability, &call, code, &used, result.ok().as_ref()),
    }
}

/// How a call failed: the words of its declaration, or of every call.
fn failed(
    capability: Option<&str>,
    call: &str,
    code: &str,
    used: &Used,
    body: Option<&Json>,
) -> Answer {
    let declared = capability
        .and_then(capabilities::find)
        .and_then(|declaration| declaration.failures.iter().find(|failure| failure.code == code));
    let said = body.and_then(|body| body.pointer("/error/message")).and_then(Json::as_str);
    let memory = format!(
        "the call needed more memory than the {} MiB that it may",
        used.memory_max_bytes >> 20
    );
    let (message, next) = match (declared, code) {
        (Some(failure), _) => (failure.when, failure.next),
        (None, "late") => ("the call took longer than it may", "ask for less at once"),
        (None, "out_of_memory") => (memory.as_str(), "ask for less"),
        (None, "answer_too_long") => {
            ("the answer is longer than it may be", "ask for less at once")
        }
        (None, "denied") => ("the cage stopped it", "name what you need in the call"),
        (None, "unknown") => {
            ("the call was cut off: it may have been performed or not", "look, then decide")
        }
        (None, _) => ("the call failed", "try again, or tell an operator"),
    };
    let message = said.unwrap_or(message);
    let error = json!({ "code": code, "message": message, "next": next, "call": call });
    let answer = json!({ "error": error, "call": call, "used": used });
    Answer::Json(StatusCode::UNPROCESSABLE_ENTITY, answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(answer: Answer) -> Option<String> {
        let Answer::Json(_, json) = answer else { return None };
        json.pointer("/error/code").and_then(Json::as_str).map(str::to_owned)
    }

    #[test]
    fn an_answer_that_is_no_json_is_said_to_be_none() {
        let done = |code: &str| {
            let used = Used { memory_max_bytes: 96 << 20, ..Used::default() };
            Answered::Ended { call: [0; 16], code: code.to_owned(), used }
        };
        let bad = ended(None, Ok((done("ok"), b"x".to_vec())));
        assert_eq!(code(bad).as_deref(), Some("bad_answer"));
        let refused = ended(None, Ok((done("refused-busy"), Vec::new())));
        assert_eq!(code(refused).as_deref(), Some("refused-busy"));
        let unknown = ended(None, Ok((done("unknown"), Vec::new())));
        assert_eq!(code(unknown).as_deref(), Some("unknown"));
        let Answer::Json(_, json) = ended(None, Ok((done("out_of_memory"), Vec::new()))) else {
            panic!("no JSON")
        };
        let message = json.pointer("/error/message").and_then(Json::as_str).unwrap_or_default();
        assert!(message.contains("96 MiB"), "it names the limit: {message}");
    }
}
