//! Answers that the SDK reads whole, read no further than they may go on: what is at the other end need not be a store, nor an
//! honest one. The bytes of an object are bounded by the range that was asked for: see `download`.

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::primitives::SdkBody;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use http_body_util::Limited;

/// A page of a listing has 1,000 keys of 1,024 bytes, each of which may take six in XML.
const MOST_ANSWER_BYTES: usize = 16 << 20;

/// Bounds listings, errors, whatever a proxy says.
#[derive(Debug)]
pub(super) struct BoundedAnswers;

impl Intercept for BoundedAnswers {
    fn name(&self) -> &'static str {
        "BoundedAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        settings: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = settings.load::<Metadata>().map(Metadata::name);
        if operation != Some("GetObject") || !context.response().status().is_success() {
            bound(context.response_mut().body_mut(), MOST_ANSWER_BYTES);
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
