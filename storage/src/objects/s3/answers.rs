//! What is done with every answer before the SDK reads it.
//!
//! - The store's clock is learnt from its `Date`.
//! - Pages that say they are a success are stopped before anything is read from them. Refusals are looked at with their
//!   body.
//! - Answers that the SDK reads whole are cut at a bound: what is at the other end need not be a store, nor an honest one.
//!   The bytes of an object are bounded by the range that was asked for: see `download`.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use http_body_util::Limited;

use super::clock::StoreClock;
use super::foreign::{NotS3, is_page};

/// A page of a listing has 1,000 keys of 1,024 bytes, each of which may take six in XML.
const MOST_ANSWER_BYTES: usize = 16 << 20;

/// Learns from answers, and bounds them.
#[derive(Debug)]
pub(super) struct Answers(pub(super) StoreClock);

impl Intercept for Answers {
    fn name(&self) -> &'static str {
        "Answers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = settings.load::<Metadata>().map(Metadata::name);
        let answer = context.response_mut();
        self.0.learn(answer.headers());
        if answer.status().is_success() && is_page(answer.status().as_u16(), answer.headers()) {
            return Err(NotS3::of(answer).into());
        }
        if operation != Some("GetObject") || !answer.status().is_success() {
            bound(answer.body_mut(), MOST_ANSWER_BYTES);
        }
        Ok(())
    }
}

fn bound(body: &mut SdkBody, most_bytes: usize) {
    let whole = std::mem::replace(body, SdkBody::taken());
    *body = SdkBody::from_body_1_x(Limited::new(whole, most_bytes));
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use aws_sdk_s3::primitives::ByteStream;
    use bytes::Bytes;
    use http_body::{Body, Frame};

    use super::*;

    /// A body without end.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[7; 4096])))))
        }
    }

    #[tokio::test]
    async fn an_answer_without_end_is_an_error_and_not_memory() {
        let mut endless = SdkBody::from_body_1_x(Endless);
        bound(&mut endless, 1 << 20);
        let error = ByteStream::new(endless).collect().await.unwrap_err();
        assert!(format!("{error:?}").contains("LengthLimit"), "{error:?}");
        let mut short = SdkBody::from("an answer");
        bound(&mut short, 9);
        assert_eq!(ByteStream::new(short).collect().await.unwrap().into_bytes(), "an answer");
    }
}
