//! Bodies of answers, and what they hold until they have been sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use axum::response::Response;
use http_body::{Frame, SizeHint};

use super::shim::Turn;

/// How much of a body is handed over at once: what is left counts as unsent.
const PIECE: usize = 16 * 1024;

/// A body that is handed over piece by piece, as the caller takes it, so that its call is under way for as long as it is
/// in memory: else somebody who reads nothing could have any number of long answers lie here.
#[derive(Debug)]
struct Sending {
    body: Body,
    next: Bytes,
    _turn: Turn,
}

/// Makes an answer hold a turn until it has been sent, or cannot be.
pub fn holding(turn: Turn, response: Response) -> Response {
    response.map(|body| {
        Body::new(Sending {
            body,
            next: Bytes::new(),
            _turn: turn,
        })
    })
}

impl HttpBody for Sending {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.next.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.next = data,
                    Err(other) => return Poll::Ready(Some(Ok(other))),
                },
                other => return Poll::Ready(other),
            }
        }
        let piece = self.next.len().min(PIECE);
        let piece = self.next.split_to(piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (its, next) = (self.body.size_hint(), self.next.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(its.lower() + next);
        if let Some(upper) = its.upper() {
            hint.set_upper(upper + next);
        }
        hint
    }
}
