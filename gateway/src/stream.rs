//! Answers as they come. For whoever asks for `text/event-stream` (server-sent events, HTML standard section
//! 9.2), or over MCP gives a token for progress, the pieces of what a program writes go out while it
//! runs; the answer follows as it would have come alone. No byte of a pipe is read before pdp said that the
//! decision is durable, and none faster than its client takes it.

use crate::agents::{Polled, poll};
use crate::answer::{ANSWER_BYTES_MAX, Answer, ended, pipe_of_answer};
use crate::pdp::{Answered, NoAnswer, Pdp};
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use contract::bytes::Bytes;
use contract::digits::hex;
use contract::door::FromDoor;
use contract::perform::CallId;
use contract::piece::{ITEMS_BYTES_MAX, Next, Piece, next};
use hyper::body::Frame;
use serde_json::{Value as Json, json};
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

const MEDIA_TYPE: &str = "text/event-stream";
/// Longest that a stream is open; a call ends sooner, and who follows one that waits asks again.
const OPEN: Duration = Duration::from_secs(150);
/// How often a call is asked after for those who follow it.
const PAUSE: Duration = Duration::from_millis(250);
/// Most events that wait for their client.
const WAITING_MAX: usize = 4;
const READ_BYTES: usize = 16 << 10;

/// What is told of a call.
#[derive(Debug)]
pub(crate) enum Told {
    /// A piece and, of a call that can be followed, where the next one begins.
    Piece(Piece, Option<u64>),
    /// The answer; nothing follows.
    End(Answer),
}

/// A call that was let through and streams.
pub(crate) struct Begun {
    call: CallId,
    pub(crate) told: mpsc::Receiver<Told>,
}

/// Whether a stream is asked for.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let types = accepted.flat_map(|value| value.split(',')).filter_map(|one| one.split(';').next());
    types.map(str::trim).any(|one| one.eq_ignore_ascii_case(MEDIA_TYPE))
}

/// Cuts what a performer writes into pieces and the answer after them. What is no piece, or one too many,
/// begins the answer, which is then no JSON and said to be none.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    bytes: Vec<u8>,
    /// How many of them hold no end of an item.
    searched: usize,
    /// How long the items before them were.
    items_bytes: usize,
    answers: bool,
}

impl Splitter {
    /// Takes what was read; the pieces that end in it, each with the number of bytes up to its end.
    pub(crate) fn take(&mut self, read: &[u8]) -> Vec<(Piece, usize)> {
        self.bytes.extend_from_slice(read);
        let (mut pieces, mut used) = (Vec::new(), 0);
        while !self.answers {
            let rest = self.bytes.get(used..).unwrap_or_default();
            let item = match next(rest, self.searched) {
                Next::Part => {
                    self.searched = rest.len();
                    break;
                }
                Next::Item(item, length) => serde_json::from_slice(item).ok().zip(Some(length)),
                Next::Answer => None,
            };
            self.searched = 0;
            match item.filter(|(_, length)| self.items_bytes + length <= ITEMS_BYTES_MAX) {
                Some((piece, length)) => {
                    used += length;
                    self.items_bytes += length;
                    pieces.push((piece, self.items_bytes));
                }
                None => self.answers = true,
            }
        }
        self.bytes.drain(..used);
        pieces
    }

    fn is_full(&self) -> bool {
        u64::try_from(self.bytes.len()).is_ok_and(|length| length > ANSWER_BYTES_MAX)
    }

    fn into_answer(self) -> Vec<u8> {
        if self.answers { self.bytes } else { Vec::new() }
    }
}

/// Asks pdp for a call whose pieces are wanted: what is told of it, or the answer of one that did not begin.
pub(crate) async fn perform(
    pdp: &Pdp,
    (token, source): (Bytes, String),
    capability: String,
    input: OwnedFd,
) -> Result<Begun, Answer> {
    let (read, write) = pipe_of_answer().map_err(NoAnswer::answer)?;
    let (begun, begins) = oneshot::channel();
    let (name, pdp) = (capability.clone(), pdp.clone());
    let asked = tokio::spawn(async move {
        let message = |number| FromDoor::Call { number, token, source, capability, streams: true };
        pdp.ask_for(message, vec![input, write], Some(begun)).await
    });
    match begins.await {
        Ok(call) => {
            let (to, told) = mpsc::channel(WAITING_MAX);
            tokio::spawn(timeout(OPEN, relay(read, asked, to, name)));
            Ok(Begun { call, told })
        }
        Err(_never) => {
            let answered = asked.await.unwrap_or(Err(NoAnswer::Interrupted));
            Err(ended(Some(&name), answered.map(|answered| (answered, Vec::new()))))
        }
    }
}

/// Reads a pipe as fast as its client takes what is in it. A client that is gone closes it, which ends the call.
async fn relay(
    read: OwnedFd,
    asked: JoinHandle<Result<Answered, NoAnswer>>,
    to: mpsc::Sender<Told>,
    name: String,
) {
    let Ok(mut pipe) = pipe::Receiver::from_owned_fd(read) else { return };
    let mut splitter = Splitter::default();
    let mut chunk = vec![0; READ_BYTES];
    while !splitter.is_full() {
        let count = tokio::select! {
            () = to.closed() => return,
            count = pipe.read(&mut chunk) => count.unwrap_or(0),
        };
        let Some(read) = chunk.get(..count).filter(|read| !read.is_empty()) else { break };
        for (piece, _) in splitter.take(read) {
            if to.send(Told::Piece(piece, None)).await.is_err() {
                return;
            }
        }
    }
    drop(pipe);
    let answered = asked.await.unwrap_or(Err(NoAnswer::Interrupted));
    let answer = answered.map(|answered| (answered, splitter.into_answer()));
    to.send(Told::End(ended(Some(&name), answer))).await.ok();
}

/// Follows a call that waited for a person, from a byte of its pieces on; where it is no call of theirs, or
/// was not let through, the answer that says so.
pub(crate) async fn follow(
    pdp: Pdp,
    (token, source): (Bytes, String),
    call: CallId,
    mut from: u64,
) -> Response {
    let ask = move |from| {
        let (pdp, token, source) = (pdp.clone(), token.clone(), source.clone());
        async move { poll(&pdp, token, source, call, Some(from)).await }
    };
    let mut polled = match ask(from).await {
        Polled::Said(Answer::Json(status, json)) if !status.is_success() => {
            return Answer::Json(status, json).into_response();
        }
        polled => polled,
    };
    let (to, told) = mpsc::channel(WAITING_MAX);
    tokio::spawn(timeout(OPEN, async move {
        loop {
            match polled {
                Polled::Pieces(pieces) => {
                    for (piece, end) in pieces {
                        from = end;
                        if to.send(Told::Piece(piece, Some(end))).await.is_err() {
                            return;
                        }
                    }
                }
                Polled::Said(Answer::Json(
                    StatusCode::ACCEPTED | StatusCode::SERVICE_UNAVAILABLE,
                    _,
                )) => {}
                Polled::Said(answer) => return drop(to.send(Told::End(answer)).await),
            }
            tokio::select! {
                () = to.closed() => return,
                () = sleep(PAUSE) => {}
            }
            polled = ask(from).await;
        }
    }));
    response(Begun { call, told })
}

/// An event, as a stream has it.
fn event(name: &str, id: Option<u64>, data: &Json) -> axum::body::Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // JSON on one line has no end of a line in it
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

impl Told {
    fn event(self) -> axum::body::Bytes {
        match self {
            Self::Piece(piece, id) => event("output", id, &json!(piece)),
            Self::End(Answer::Json(status, answer)) => {
                event("end", None, &json!({ "status": status.as_u16(), "answer": answer }))
            }
            Self::End(Answer::File(..)) => event("end", None, &Json::Null),
        }
    }
}

/// A call as a response whose body comes as it goes.
pub(crate) fn response(begun: Begun) -> Response {
    let first = event("begin", None, &json!({ "call": hex(&begun.call) }));
    let mut response = Response::new(Body::new(Events { first: Some(first), told: begun.told }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

struct Events {
    first: Option<axum::body::Bytes>,
    told: mpsc::Receiver<Told>,
}

impl hyper::body::Body for Events {
    type Data = axum::body::Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        self.told.poll_recv(context).map(|told| told.map(|told| Ok(Frame::data(told.event()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::perform::Used;
    use rustix::io::{Errno, write};

    const ITEM: &[u8] = b"\x1e{\"output\":\"stdout\",\"content\":\"a\",\"base64\":false}\n";

    /// The pieces and the answer of what a worker writes, read in parts of `length` bytes.
    fn split(written: &[u8], length: usize) -> (Vec<(Piece, usize)>, Vec<u8>) {
        let mut splitter = Splitter::default();
        let pieces = written.chunks(length).flat_map(|part| splitter.take(part)).collect();
        (pieces, splitter.into_answer())
    }

    #[test]
    fn whatever_a_worker_writes_is_pieces_and_then_one_answer() {
        let endless = [&b"\x1e"[..], &[b'x'; 200 << 10]].concat();
        let many = ITEM.repeat(ITEMS_BYTES_MAX / ITEM.len());
        let item = String::from_utf8(ITEM.to_vec()).unwrap();
        let unknown = item.replace("content", "answer");
        for (after, answer) in [
            (&b"{\"exit\":0}"[..], &b"{\"exit\":0}"[..]),
            (b"", b""),
            (&ITEM[..20], b""),
            // everything that is no piece is the answer, and none that is JSON
            (b"garbage\n", b"garbage\n"),
            (b"\0\xff\x1e", b"\0\xff\x1e"),
            (b"\x1e{\"exit\":0}\n", b"\x1e{\"exit\":0}\n"),
            (b"\x1e\0\n{}", b"\x1e\0\n{}"),
            (unknown.as_bytes(), unknown.as_bytes()),
            (&endless, &endless),
        ] {
            let written = [ITEM, ITEM, after].concat();
            for length in [1, 7, 64, written.len()] {
                let (pieces, seen) = split(&written, length);
                let ends: Vec<usize> = pieces.iter().map(|(_, end)| *end).collect();
                assert_eq!(ends, [ITEM.len(), 2 * ITEM.len()], "{after:?}");
                assert!(seen == answer, "{after:?} by {length}");
            }
        }
        let (pieces, answer) = split(&[&many, ITEM, b"{}"].concat(), 64 << 10);
        assert_eq!(pieces.len(), ITEMS_BYTES_MAX / ITEM.len());
        assert_eq!(answer, [ITEM, b"{}"].concat(), "too many");
    }

    fn asked(code: &str) -> JoinHandle<Result<Answered, NoAnswer>> {
        let code = code.to_owned();
        tokio::spawn(async { Ok(Answered::Ended { call: [7; 16], code, used: Used::default() }) })
    }

    #[tokio::test]
    async fn pieces_and_the_answer_come_in_their_order() {
        for (after, code, status) in
            [(&b"{\"exit\":0}"[..], "ok", 200), (b"\x1e{}\n", "bad_answer", 422)]
        {
            let (read, end) = pipe_of_answer().unwrap();
            write(&end, &[ITEM, after].concat()).unwrap();
            drop(end);
            let (to, mut told) = mpsc::channel(WAITING_MAX);
            tokio::spawn(relay(read, asked("ok"), to, "process.run".to_owned()));
            let piece = told.recv().await.unwrap().event();
            let said = "event: output\ndata: {\"base64\":false,\"content\":\"a\",\"output\":\"stdout\"}\n\n";
            assert_eq!(piece, said);
            let end = String::from_utf8(told.recv().await.unwrap().event().to_vec()).unwrap();
            let data = end.strip_prefix("event: end\ndata: ").unwrap();
            let end: Json = serde_json::from_str(data).unwrap();
            assert_eq!(end.get("status"), Some(&json!(status)), "{end}");
            assert!(data.contains(&format!("\"code\":\"{code}\"")), "{end}");
            assert!(told.recv().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_client_that_reads_nothing_costs_a_pipe_and_one_that_is_gone_closes_it() {
        const MOST: usize = 256 << 10;
        let (read, end) = pipe_of_answer().unwrap();
        rustix::io::ioctl_fionbio(&end, true).unwrap();
        let (to, told) = mpsc::channel(WAITING_MAX);
        tokio::spawn(relay(read, asked("ok"), to, "process.run".to_owned()));
        let (mut written, mut full) = (0, 0);
        while full < 1_000 {
            match write(&end, ITEM) {
                Ok(count) => (written, full) = (written + count, 0),
                Err(Errno::AGAIN) => full += 1,
                Err(errno) => panic!("{errno}"),
            }
            assert!(written < MOST, "the door goes on reading");
            tokio::task::yield_now().await;
        }
        drop(told);
        while write(&end, ITEM) != Err(Errno::PIPE) {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn a_stream_is_for_who_asks_for_it() {
        let asks = |accept: &'static str| {
            is_wanted(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]))
        };
        assert!(asks("text/event-stream") && asks("application/json, Text/Event-Stream;q=0.5"));
        assert!(!asks("*/*") && !asks("application/json") && !is_wanted(&HeaderMap::new()));
    }
}
