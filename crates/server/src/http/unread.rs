//! The rest of a body that nobody wanted.
//!
//! Whoever refuses a request may do so before its body has come: it is too large, or the caller has no right. An answer sent then
//! is followed by the end of the connection, and a client that is still writing learns of that first: *broken pipe* in place of the
//! reason. So the rest is read and thrown away before the answer goes out, within bounds.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use parking_lot::Mutex;

/// Who sends more than this behind what was refused finds the connection closed, in bytes.
const REST_BYTES_MAX: usize = 32 << 20;
/// And who takes longer.
const REST_MAX: Duration = Duration::from_secs(5);

/// A body that can be read to its end when its reader has gone.
pub(super) struct Unread<B>(Arc<Mutex<Begun<B>>>);

struct Begun<B> {
    body: B,
    /// Whether the client sends it: one that waits for leave (`Expect: 100-continue`) gets that with the first attempt to read.
    comes: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Unread<B> {
    /// Takes hold of `body`. `None`: there is nothing to come.
    pub(super) fn of(body: B, head: &HeaderMap) -> (Shared<B>, Option<Self>) {
        let ended = body.is_end_stream();
        let comes = !head.contains_key(header::EXPECT);
        let begun = Arc::new(Mutex::new(Begun { body, comes }));
        (Shared(begun.clone()), (!ended).then_some(Self(begun)))
    }

    /// Reads and throws away what is left, at most [`REST_BYTES_MAX`] for at most [`REST_MAX`].
    pub(super) async fn throw_away(self) {
        if !self.0.lock().comes {
            return;
        }
        let thrown_away = async {
            let mut bytes = 0;
            while bytes < REST_BYTES_MAX
                && let Some(Ok(frame)) = poll_fn(|context| poll(&self.0, context)).await
            {
                bytes += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        // Whoever is not done by then is answered all the same, and cut off.
        let _ = tokio::time::timeout(REST_MAX, thrown_away).await;
    }
}

/// The same body, for its reader.
pub(super) struct Shared<B>(Arc<Mutex<Begun<B>>>);

impl<B: Body + Unpin> Body for Shared<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled<Self> {
        poll(&self.0, context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().body.size_hint()
    }
}

/// What [`Body::poll_frame`] answers.
type Polled<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

fn poll<B: Body + Unpin>(begun: &Mutex<Begun<B>>, context: &mut Context<'_>) -> Polled<B> {
    let mut begun = begun.lock();
    begun.comes = true;
    Pin::new(&mut begun.body).poll_frame(context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A body of pieces of 1 MiB, none of which ever comes late.
    struct Pieces(usize);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Polled<Self> {
            let left = self.0;
            self.0 = left.saturating_sub(1);
            let piece = || Ok(Frame::data(Bytes::from(vec![0; 1 << 20])));
            Poll::Ready((left > 0).then(piece))
        }

        fn is_end_stream(&self) -> bool {
            self.0 == 0
        }
    }

    /// Of a body of so many pieces, of which its reader takes some, how many are left in the end.
    #[track_caller]
    fn check(pieces: usize, read: usize, head: &[(header::HeaderName, &str)], left: usize) {
        let head = head
            .iter()
            .map(|(name, value)| (name.clone(), value.parse().expect("a value")));
        let (mut reader, unread) = Unread::of(Pieces(pieces), &head.collect());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("a runtime").block_on(async {
            for _ in 0..read {
                let _ = poll_fn(|context| Pin::new(&mut reader).poll_frame(context)).await;
            }
            if let Some(unread) = unread {
                unread.throw_away().await;
            }
        });
        assert_eq!(reader.0.lock().body.0, left, "{pieces}, {read} of them read");
    }

    #[test]
    fn the_rest_of_a_body_is_read_within_bounds() {
        check(0, 0, &[], 0);
        check(1, 0, &[], 0);
        check(9, 0, &[], 0);
        check(9, 4, &[], 0);
        check(9, 9, &[], 0);
        check(40, 0, &[], 8);
    }

    #[test]
    fn who_waits_to_be_told_is_not_told_to_send() {
        let waits = [(header::EXPECT, "100-continue")];
        check(9, 0, &waits, 9);
        check(9, 1, &waits, 0);
    }
}
