//! Assesses a policy: from what this machine and its scheduler know to a [`PolicyStatus`].
//!
//! **In:** the records of the policy's runs, its schedule, the clock, the ages that are allowed. **Out:** its status, with the
//! reasons why it needs a person, the worst first.

use std::cmp::Reverse;
use std::time::Duration;

use chrono::{DateTime, Utc};
use intellistor_storage::state::{Snapshot, View};
use intellistor_telemetry::run_log::LogFile;

use super::failed_start::FailedStart;
use super::health::{AllowedAges, Health, PolicyState, Reason, age_text};
use super::latest_run::{Evidence, RunResult, latest_run};
use super::log_tail::one_line;
use super::monitor::RunProgress;
use super::status::{Activity, Figures, GoodRun, JobStatus, Missed, PolicyStatus, UploadStatus};
use super::store_status::StoreStatus;
use super::times::{self, WRONG_CLOCK};
use crate::cron::Cron;
use crate::missed::missed_starts;
use crate::operations::report::BackupReport;
use crate::policy::duration_text;
use crate::schedule::ScheduleEntry;
use crate::zone::Zone;

/// Runs whose figures are shown.
const TREND: usize = 7;

/// What is on this machine of a policy.
#[derive(Debug)]
pub(super) struct PolicyRecords {
    pub(super) snapshot: Snapshot,
    pub(super) progress: Option<RunProgress>,
    pub(super) failed_starts: Vec<FailedStart>,
    pub(super) newest_log: Option<LogFile>,
}

impl PolicyStatus {
    pub(super) fn new(
        policy: String,
        records: PolicyRecords,
        schedule: Option<ScheduleEntry>,
        ages: AllowedAges,
    ) -> Self {
        let PolicyRecords { snapshot, progress, failed_starts, newest_log } = records;
        let (running, holder, View { job, history, last_good, outbox }) = match snapshot {
            Snapshot::Running(holder, view) => (true, holder, view),
            Snapshot::Idle(view) => (false, None, view),
        };
        let job = job.filter(|_| !running);
        let now = Utc::now();
        let last_run = latest_run(&Evidence {
            now,
            stopped: job.as_ref(),
            ended: history.first(),
            progress: progress.as_ref(),
            failed_starts,
            newest_log,
            schedule: schedule.as_ref(),
            running,
        });
        let activity = match (running, &job) {
            (true, _) => Activity::Running,
            (false, Some(_)) => Activity::Stopped,
            (false, None) => Activity::Idle,
        };
        let backups: Vec<(JobStatus, BackupReport)> = history
            .iter()
            .chain(&last_good)
            .filter_map(|job| Some((JobStatus::new(job), job.summary()?)))
            .collect();
        let cron = schedule.as_ref().and_then(|schedule| Cron::parse(schedule.cron.as_deref()?).ok());
        let last_good = backups.first().map(|(job, report)| {
            let at = job.ended.unwrap_or(job.began);
            let age_seconds = (now - at).num_seconds().try_into().unwrap_or(0);
            GoodRun { at, age_seconds, figures: Figures::new(report) }
        });
        let newest = backups.first().map(|(_, report)| report);
        let mut status = Self {
            policy,
            activity,
            pid: holder.map(|holder| holder.pid),
            job: job.map(|job| JobStatus::stopped(&job, progress.as_ref())),
            progress: progress.filter(|_| activity != Activity::Idle),
            last: history.first().map(JobStatus::new),
            last_good,
            trend: backups.iter().take(TREND).rev().map(|(_, report)| Figures::new(report)).collect(),
            logs_to_send: outbox,
            retention: newest.and_then(|backup| backup.retention.clone()),
            locked_until: newest.and_then(|backup| backup.locked_until.clone()),
            next_run: schedule.as_ref().and_then(|schedule| times::parse(schedule.next_run.as_deref()?)),
            last_backup: backups.into_iter().next(),
            last_run,
            schedule,
            ..Self::default()
        };
        status.growth_percent = growth_percent(&status.trend);
        if let Some(cron) = &cron {
            let since =
                status.schedule.as_ref().and_then(|schedule| times::parse(schedule.since.as_deref()?));
            status.missed = status.missed_starts(cron, since);
        }
        status.assess(ages.or_of(cron.as_ref(), now), now);
        status
    }

    /// A policy whose state cannot be read.
    pub(super) fn unreadable(policy: String, error: String) -> Self {
        let (health, state) = (Health::Unknown, PolicyState::Unreadable);
        let text = format!("its state cannot be read: {}", one_line(&error));
        Self { policy, health, state, reasons: vec![Reason { health, state, text }], ..Self::default() }
    }

    /// Starts of a schedule that was made at `since` and that no run has answered since. None while a run is active, which
    /// answers them, and of a disabled schedule.
    pub fn missed_starts(&self, cron: &Cron, since: Option<DateTime<Utc>>) -> Option<Missed> {
        let is_off = self.schedule.as_ref().is_some_and(|schedule| !schedule.enabled);
        if self.activity == Activity::Running || is_off {
            return None;
        }
        let now = Zone::of_this_machine().now();
        let zone = now.timezone();
        // Of a schedule whose age is unknown, the last run is the first that is known.
        let active = self.last_run.as_ref().map(|run| run.at().with_timezone(&zone));
        // A run of a wrong clock answers no start until its date.
        let active = active.filter(|active| *active <= now + WRONG_CLOCK);
        let since = since.map(|since| since.with_timezone(&zone)).or(active)?;
        let missed = missed_starts(cron, active, since, now)?;
        Some(Missed { first: missed.first.to_utc(), last: missed.last.to_utc(), count: missed.count })
    }

    /// With what its store has.
    #[must_use]
    pub fn with_store(mut self, store: StoreStatus, uploads: Vec<UploadStatus>) -> Self {
        self.reasons.extend(store.reason());
        self.reasons.sort_by_key(|reason| Reverse(reason.health));
        (self.store, self.unfinished_uploads) = (Some(store), Some(uploads));
        self.summarize();
        self
    }

    /// Looks for what is wrong.
    pub(super) fn assess(&mut self, ages: AllowedAges, now: DateTime<Utc>) {
        self.reasons = reasons(self, ages, now);
        self.summarize();
    }

    fn summarize(&mut self) {
        let worst = self.reasons.first();
        self.health = worst.map_or(Health::Ok, |reason| reason.health);
        self.state = match (worst, self.activity) {
            (Some(reason), _) => reason.state,
            (None, Activity::Running) => PolicyState::Running,
            (None, _) => PolicyState::Ok,
        };
    }
}

fn growth_percent(trend: &[Figures]) -> Option<i64> {
    let [oldest, .., newest] = trend else { return None };
    let (before, now) = (i128::from(oldest.bytes), i128::from(newest.bytes));
    ((now - before) * 100).checked_div(before)?.try_into().ok()
}

/// The reasons, the worst first; none when all is well.
fn reasons(status: &PolicyStatus, ages: AllowedAges, now: DateTime<Utc>) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |health, state, text: String| reasons.push(Reason { health, state, text });
    let schedule = status.schedule.as_ref();
    if let Some(run) = &status.last_run {
        let why = [run.error.as_deref().map(one_line), run.hint.as_deref()].into_iter().flatten();
        let why = why.map(|text| format!(": {text}")).collect::<String>();
        match run.result {
            RunResult::Failed => {
                add(Health::Critical, PolicyState::Failed, format!("the last run failed{why}"));
            }
            RunResult::Stopped if run.error.is_some() => add(
                Health::Critical,
                PolicyState::Failed,
                format!("the last run failed, and the next one resumes its job{why}"),
            ),
            RunResult::Stopped => add(
                Health::Warning,
                PolicyState::Stopped,
                "the last run was stopped; the next one resumes its job".to_owned(),
            ),
            RunResult::Cancelled => {
                add(Health::Warning, PolicyState::Stopped, "the last job was cancelled".to_owned());
            }
            RunResult::CompletedWithWarnings => add(
                Health::Warning,
                PolicyState::Warnings,
                format!("the last run finished with warnings{why}; its log names them"),
            ),
            RunResult::Unknown => {
                add(Health::Warning, PolicyState::Stopped, "the last run left only its log".to_owned());
            }
            RunResult::Completed => {
                if let Some(hint) = &run.hint {
                    add(
                        Health::Warning,
                        PolicyState::Warnings,
                        format!("the last run left no record here: {hint}"),
                    );
                }
            }
        }
    } else if status.activity == Activity::Idle {
        let scheduled =
            if schedule.is_some() { "it is scheduled and has never run" } else { "it has never run" };
        add(Health::Warning, PolicyState::NeverRan, scheduled.to_owned());
    }
    if let Some(missed) = &status.missed {
        let ago = age_text((now - missed.first).to_std().unwrap_or_default());
        let text = match missed.count {
            1 => format!("the start {ago} ago did not happen"),
            count => format!("{count} starts did not happen, the first {ago} ago"),
        };
        add(
            Health::Critical,
            PolicyState::Missed,
            format!("{text}: was the machine off, or its scheduler not running?"),
        );
    }
    for missing in schedule.iter().flat_map(|schedule| &schedule.missing) {
        // Shown as the reason of the last run already.
        if status.last_run.as_ref().is_none_or(|run| run.hint.as_ref() != Some(missing)) {
            add(Health::Critical, PolicyState::Failed, format!("the next run will fail: {missing}"));
        }
    }
    if schedule.is_some_and(|schedule| !schedule.enabled) {
        add(Health::Warning, PolicyState::Warnings, "its schedule is switched off".to_owned());
    }
    if let Some(good) = &status.last_good {
        if good.at > now + WRONG_CLOCK {
            let date = good.at.format("%Y-%m-%d %H:%M UTC");
            let text = format!("its last run is dated in the future ({date}): check this machine's clock");
            add(Health::Critical, PolicyState::Old, text);
        }
        let age = (now - good.at).to_std().unwrap_or_default();
        let is_over = |allowed: Option<Duration>| allowed.filter(|allowed| age > *allowed);
        let over = |allowed| {
            format!("the last good run is {} old, more than {}", age_text(age), duration_text(allowed))
        };
        if let Some(allowed) = is_over(ages.critical) {
            add(Health::Critical, PolicyState::Old, over(allowed));
        } else if let Some(allowed) = is_over(ages.warning) {
            add(Health::Warning, PolicyState::Old, over(allowed));
        }
    } else if status.last_run.is_some() && ages.critical.is_some() {
        add(Health::Critical, PolicyState::Failed, "no run has made a backup yet".to_owned());
    }
    reasons.sort_by_key(|reason| Reverse(reason.health));
    reasons
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::agent::latest_run::{LatestRun, RunSource};

    fn good_run(at: DateTime<Utc>) -> PolicyStatus {
        let figures = Figures {
            timestamp: "20261126T020000Z".to_owned(),
            backup_id: "b".to_owned(),
            seconds: 1.0,
            files: 1,
            bytes: 1,
            archive_bytes: 1,
            problems: 0,
        };
        let last_run = LatestRun {
            result: RunResult::Completed,
            source: RunSource::Queue,
            began: Some(at),
            ended: Some(at),
            seconds: None,
            error: None,
            hint: None,
            log: None,
        };
        let last_good = Some(GoodRun { at, age_seconds: 0, figures });
        PolicyStatus { policy: "docs".to_owned(), last_run: Some(last_run), last_good, ..Default::default() }
    }

    #[test]
    fn a_good_run_of_a_wrong_clock_is_none() {
        let now = Utc::now();
        let mut soon = good_run(now + TimeDelta::minutes(50));
        soon.assess(AllowedAges::default(), now);
        assert_eq!((soon.health, soon.reasons), (Health::Ok, Vec::new()));
        let mut wrong = good_run(now + TimeDelta::days(400));
        wrong.assess(AllowedAges::default(), now);
        assert_eq!(wrong.health, Health::Critical);
        assert!(wrong.reasons[0].text.contains("dated in the future"), "{:?}", wrong.reasons);
        // It answers no start either.
        let cron = Cron::parse("0 2 * * *").unwrap();
        let missed = wrong.missed_starts(&cron, Some(now - TimeDelta::days(3))).unwrap();
        assert!((2..=3).contains(&missed.count), "{missed:?}");
    }

    #[test]
    fn a_reason_is_one_line() {
        let now = Utc::now();
        let mut status = good_run(now);
        if let Some(run) = &mut status.last_run {
            run.result = RunResult::Failed;
            run.error =
                Some("error: cannot open the store\n  caused by: no network\n  try: again".to_owned());
        }
        status.assess(AllowedAges::default(), now);
        assert_eq!(status.reasons[0].text, "the last run failed: cannot open the store");
        let unread = PolicyStatus::unreadable("docs".to_owned(), "no\nadvice".to_owned());
        assert_eq!(unread.reasons[0].text, "its state cannot be read: no");
    }
}
