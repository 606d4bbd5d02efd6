//! This machine's clock against the store's: S3 refuses requests that are dated more than 15 minutes off.

use chrono::{DateTime, TimeDelta, Utc};
use intellistor_storage::{Error as StorageError, StoreErrorKind};

use super::examination::Examination;
use super::finding::Finding;

/// S3's own bound.
const MOST: TimeDelta = TimeDelta::minutes(15);
/// A clock that is set by NTP is never this wrong.
const NOTED: TimeDelta = TimeDelta::minutes(5);
const ADVICE: &str = "Set this machine's clock, best with NTP (`timedatectl set-ntp true`, `w32tm /resync`)";

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let refused = matches!(
        &examination.first,
        Some(Err(StorageError::Store(error))) if error.kind == StoreErrorKind::ClockSkew
    );
    let theirs =
        examination.store().and_then(|store| store.now_ms()).and_then(DateTime::from_timestamp_millis);
    let Some(theirs) = theirs else {
        return match refused {
            true => Finding::failed("the store refuses this machine's clock").advise(ADVICE),
            false => Finding::skipped("the store's answers have no date"),
        };
    };
    judged(Utc::now() - theirs, refused)
}

/// `ahead`: how far this machine's clock is ahead of the store's.
fn judged(ahead: TimeDelta, refused: bool) -> Finding {
    let seconds = ahead.num_seconds();
    let by = match seconds.unsigned_abs() {
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 2 * 3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    };
    let text = match seconds {
        // The date of an answer has no fractions.
        -1..=1 => "agrees with the store's".to_owned(),
        2.. => format!("{by} ahead of the store's"),
        _ => format!("{by} behind the store's"),
    };
    if refused || ahead.abs() > MOST {
        Finding::failed(format!("{text}; S3 refuses more than 15 min")).advise(ADVICE)
    } else if ahead.abs() > NOTED {
        Finding::warning(format!("{text}; S3 refuses more than 15 min")).advise(ADVICE)
    } else {
        Finding::ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::CheckState;
    use super::*;

    #[test]
    fn the_bounds_are_those_of_s3() {
        for (seconds, state, says) in [
            (0, CheckState::Ok, "agrees"),
            (-40, CheckState::Ok, "40 s behind"),
            (299, CheckState::Ok, "4 min ahead"),
            (301, CheckState::Warning, "5 min ahead"),
            (-901, CheckState::Failed, "15 min behind"),
            (7200, CheckState::Failed, "2 h ahead"),
        ] {
            let row = judged(TimeDelta::seconds(seconds), false).row("clock", "clock");
            assert_eq!(row.state, state, "{row:?}");
            assert!(row.detail.contains(says), "{row:?}");
        }
        assert_eq!(judged(TimeDelta::zero(), true).state, CheckState::Failed);
    }
}
