//! Bodies that are looked at on their way: one that is remembered as it is read, one whose end is
//! noticed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;

use crate::codec::BODY_LEN_MAX;
use crate::journal::Journal;
use crate::metrics::Lasting;

/// What has been read of a body.
pub(crate) type Seen = Arc<Mutex<Vec<u8>>>;

/// A body and what is read of it, as far as bodies are read at all.
pub(super) fn remembered(body: Body) -> (Body, Seen) {
    let seen = Seen::default();
    (Body::new(Watched { inner: body, seen: Some(seen.clone()), at_end: None }), seen)
}

/// A body whose end is told to the audit, and ends the counting of a lasting request.
pub(super) fn until_end(
    body: Body,
    journal: Arc<Journal>,
    code: u16,
    lasting: Option<Arc<Lasting>>,
) -> Body {
    let at_end = AtEnd { journal, code, _lasting: lasting };
    Body::new(Watched { inner: body, seen: None, at_end: Some(at_end) })
}

struct AtEnd {
    journal: Arc<Journal>,
    code: u16,
    _lasting: Option<Arc<Lasting>>,
}

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(recorder) = self.journal.recorder.get() {
            recorder.ended(self.code, self.journal.notes());
        }
    }
}

struct Watched {
    inner: Body,
    seen: Option<Seen>,
    at_end: Option<AtEnd>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(seen), Some(data)) = (&this.seen, frame.data_ref()) {
                    let mut seen = seen.lock();
                    let room = BODY_LEN_MAX.saturating_sub(seen.len());
                    seen.extend_from_slice(&data[..data.len().min(room)]);
                }
            }
            Poll::Ready(_) => drop(this.at_end.take()),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
