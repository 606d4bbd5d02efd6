//! How a body is sent: how long that may take, and its digest, which is known.
//!
//! A request with a body may take as long as it needs, and is given up when nothing of it moved for [`QUIET`]. A limit
//! for the whole would be too short on a slow line, where the parts that go side by side take minutes, or too long for
//! a dead connection. The SDK's own watch sees a body in memory as sent at once. A connection that was given up
//! is not used again, also where requests share it (HTTP/2).

use std::convert::Infallible;
use std::fmt::Debug;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::client::customize::CustomizableOperation;
use aws_sdk_s3::config::interceptors::{
    BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_s3::config::{Builder, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::{BoxError, SdkError};
use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::timeouts::unlimited;
use crate::objects::hashed::Hashed;
use crate::objects::throttle::Throttle;

/// How long nothing may move: within twice this time it is noticed. hyper takes half a MiB of a body at once, and sends it
/// before it takes more: with four parts side by side, a line of 150 kbit/s does that in this time.
const QUIET: Duration = Duration::from_secs(120);
/// What is handed to the system at a time.
const PIECE: usize = 128 << 10;

/// A body that is to be sent, once.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: Hashed,
    throttle: Option<Arc<Throttle>>,
    moved: Arc<AtomicBool>,
    connection: Arc<OnceLock<CaptureSmithyConnection>>,
}

impl Outgoing {
    pub(super) fn new(body: &Hashed, throttle: Option<Arc<Throttle>>) -> Self {
        Self { body: body.clone(), throttle, moved: Arc::default(), connection: Arc::default() }
    }

    /// For the request.
    pub(super) fn stream(&self) -> ByteStream {
        ByteStream::new(SdkBody::from_body_1_x(self.pieces()))
    }

    fn pieces(&self) -> Pieces {
        let (rest, moved, throttle) = (self.body.bytes().clone(), self.moved.clone(), self.throttle.clone());
        Pieces { rest, moved, throttle, turn: Mutex::default() }
    }

    /// A request that is not limited as a whole, and signed without hashing its body again.
    pub(super) fn request<T, E, B>(
        &self,
        request: CustomizableOperation<T, E, B>,
    ) -> CustomizableOperation<T, E, B> {
        let sha256 = hex::encode(self.body.sha256());
        request
            .config_override(Builder::new().timeout_config(unlimited()))
            .interceptor(PrecomputedDigest { sha256, connection: self.connection.clone() })
    }

    /// The answer to the request, or that the transfer stalled.
    pub(super) async fn watch<T, E, R>(
        &self,
        answer: impl Future<Output = Result<T, SdkError<E, R>>>,
    ) -> Result<T, SdkError<E, R>> {
        self.watch_by(|| tokio::time::sleep(QUIET), answer).await
    }

    async fn watch_by<T, E, R, F: Future<Output = ()>>(
        &self,
        quiet: impl Fn() -> F,
        answer: impl Future<Output = Result<T, SdkError<E, R>>>,
    ) -> Result<T, SdkError<E, R>> {
        tokio::pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = quiet() => {}
            }
            if !self.moved.swap(false, Ordering::Relaxed) {
                if let Some(connection) = self.connection.get().and_then(CaptureSmithyConnection::get) {
                    connection.poison();
                }
                return Err(SdkError::timeout_error("the transfer stalled"));
            }
        }
    }
}

/// What is not handed to the system yet.
#[derive(Debug)]
struct Pieces {
    rest: Bytes,
    moved: Arc<AtomicBool>,
    throttle: Option<Arc<Throttle>>,
    /// Waits for the limiter. The lock is never taken: a body must be `Sync`, which a future is not.
    turn: Mutex<Option<Turn>>,
}

/// Until a piece of so many bytes may be sent.
struct Turn(usize, Pin<Box<dyn Future<Output = ()> + Send>>);

impl Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Turn({})", self.0)
    }
}

impl Pieces {
    /// How much may be sent now.
    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<usize> {
        let piece = self.rest.len().min(PIECE);
        let Some((throttle, slice)) =
            self.throttle.as_ref().and_then(|throttle| Some((throttle, throttle.upload_slice()?)))
        else {
            return Poll::Ready(piece);
        };
        let turn = self.turn.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Turn(bytes, wait) = turn.get_or_insert_with(|| {
            let (bytes, throttle) = (piece.min(slice), throttle.clone());
            Turn(bytes, Box::pin(async move { throttle.upload(bytes as u64).await }))
        });
        let bytes = *bytes;
        std::task::ready!(wait.as_mut().poll(context));
        *turn = None;
        Poll::Ready(bytes)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Also while it waits for the limiter: that is no stall.
        self.moved.store(true, Ordering::Relaxed);
        let piece = std::task::ready!(self.poll_turn(context));
        Poll::Ready((piece > 0).then(|| Ok(Frame::data(self.rest.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

/// Gives a request its digest, and learns which connection it takes.
#[derive(Debug)]
struct PrecomputedDigest {
    /// In hex.
    sha256: String,
    connection: Arc<OnceLock<CaptureSmithyConnection>>,
}

impl Intercept for PrecomputedDigest {
    fn name(&self) -> &'static str {
        "PrecomputedDigest"
    }

    fn modify_before_signing(
        &self,
        _: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(PayloadSigningOverride::Precomputed(self.sha256.clone()));
        Ok(())
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(connection) = config.load::<CaptureSmithyConnection>() {
            // A request is sent once.
            let _ = self.connection.set(connection.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::{poll_fn, ready};

    use futures::executor::block_on;

    use super::*;

    type Answer = Result<&'static str, SdkError<Infallible, ()>>;

    fn outgoing(bytes: usize) -> (Outgoing, Pieces) {
        let outgoing = Outgoing::new(&Hashed::new(vec![7; bytes].into()), None);
        let pieces = outgoing.pieces();
        (outgoing, pieces)
    }

    fn next(pieces: &mut Pieces) -> Option<usize> {
        let context = &mut Context::from_waker(std::task::Waker::noop());
        match Pin::new(pieces).poll_frame(context) {
            Poll::Ready(frame) => frame.map(|frame| frame.unwrap().into_data().unwrap().len()),
            Poll::Pending => panic!("all is there"),
        }
    }

    #[test]
    fn a_body_goes_in_pieces_and_tells_its_length() {
        let (_, mut pieces) = outgoing(2 * PIECE + 1);
        assert_eq!(pieces.size_hint().exact(), Some(2 * PIECE as u64 + 1));
        assert_eq!(
            [next(&mut pieces), next(&mut pieces), next(&mut pieces)],
            [Some(PIECE), Some(PIECE), Some(1)]
        );
        assert!(pieces.is_end_stream() && next(&mut pieces).is_none());
    }

    /// Sends a piece between any two looks at the watch, up to `pieces` of them.
    fn watched(outgoing: &Outgoing, mut body: Pieces, mut pieces: usize) -> Answer {
        let answer = poll_fn(|_| {
            if pieces == 0 {
                return Poll::Pending;
            }
            pieces -= 1;
            if next(&mut body).is_some() { Poll::Pending } else { Poll::Ready(Answer::Ok("stored")) }
        });
        block_on(outgoing.watch_by(|| ready(()), answer))
    }

    #[test]
    fn a_body_that_moves_has_its_time() {
        let (outgoing, body) = outgoing(20 * PIECE);
        assert_eq!(watched(&outgoing, body, usize::MAX).unwrap(), "stored");
    }

    #[test]
    fn a_body_that_stays_where_it_is_is_given_up() {
        for pieces in [0, 1, 20] {
            let (outgoing, body) = outgoing(20 * PIECE);
            let given_up = watched(&outgoing, body, pieces);
            assert!(matches!(given_up, Err(SdkError::TimeoutError(_))), "after {pieces} pieces");
        }
    }
}
