//! How long requests may take. Those with a body are watched as it goes: [`sending`](super::sending).

use std::time::Duration;

use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;

const CONNECT: Duration = Duration::from_secs(5);
/// Until the answer begins.
pub(super) const ANSWER: Duration = Duration::from_secs(120);
/// The same where S3 puts the parts of an upload together before it answers, which may take minutes.
pub(super) const COMPLETION: Duration = Duration::from_secs(15 * 60);
/// How long an answer that has begun may pause.
const STALL: Duration = Duration::from_secs(20);

/// A request is given up after `attempt`.
pub(super) fn limited(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).operation_attempt_timeout(attempt).build()
}

/// A request is not limited as a whole. The SDK keeps the client's limit for connecting only where it is set here, too, and
/// its connections are shared by requests with the same one.
pub(super) fn unlimited() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT).disable_operation_attempt_timeout().build()
}

/// Watches what is received, and not what is sent.
pub(super) fn stalls() -> StalledStreamProtectionConfig {
    StalledStreamProtectionConfig::enabled().grace_period(STALL).upload_enabled(false).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_is_not_limited() {
        assert_eq!(unlimited().connect_timeout(), limited(ANSWER).connect_timeout());
        assert!(unlimited().has_timeouts() && unlimited().operation_attempt_timeout().is_none());
    }
}
