//! A request's body, which stays at hand after whoever answered has let go of it.

use axum::body::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A body of bounded length that two can read: who answers, then who clears the connection.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Limited<Incoming>>>);

impl Shared {
    /// At most `most` bytes of `body`.
    pub(crate) fn new(body: Incoming, most: usize) -> Self {
        Self(Arc::new(Mutex::new(Limited::new(body, most))))
    }

    fn body(&self) -> MutexGuard<'_, Limited<Incoming>> {
        // a body that a panic left is still a body
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most bytes that are still to come, when that is known.
    pub(crate) fn at_most(&self) -> Option<u64> {
        self.body().size_hint().upper()
    }

    /// True while something may still come.
    pub(crate) fn is_unread(&self) -> bool {
        !self.body().is_end_stream()
    }

    /// Reads what is left, and keeps none of it; ends early on a body that is too long or broken.
    pub(crate) async fn read_out(mut self) {
        while let Some(Ok(_frame)) = self.frame().await {}
    }
}

impl Body for Shared {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut *self.body()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body().size_hint()
    }
}
