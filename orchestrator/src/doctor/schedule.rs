//! The policy's schedule, and what its runs would not see of this shell.

use super::examination::Examination;
use super::finding::Finding;
use crate::schedule::{BackendKind, ScheduleEntry};

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let schedules = examination.subject.agent.as_mut().and_then(|agent| agent.schedules.take());
    let Some(schedules) = schedules else { return Finding::skipped("schedules were not asked for") };
    let all = match tokio::task::spawn_blocking(schedules).await {
        Ok(Ok(all)) => all,
        Ok(Err(finding)) => return finding.into_warning(),
        Err(error) => return Finding::warning(format!("the scheduler did not answer: {error}")),
    };
    let Some(policy) = &examination.policy else { return Finding::skipped("there is no policy") };
    let Some(entry) = all.into_iter().find(|entry| entry.policy_id == policy.policy_id) else {
        let advice = format!(
            "`intellistor-agent apply-schedule --policy-id {} --policy-path {} --env-file FILE`, unless `intellistor-agent \
             serve` runs it",
            policy.policy_id,
            examination.subject.policy_file.display()
        );
        return match &policy.schedule {
            Some(cron) => {
                Finding::warning(format!("the policy says {cron}, and has no schedule on this machine"))
                    .advise(advice)
            }
            None => Finding::skipped("the policy has none on this machine"),
        };
    };
    judged(&entry)
}

fn judged(entry: &ScheduleEntry) -> Finding {
    let cron = entry.cron.as_deref().unwrap_or("times that cannot be read back");
    let by = match entry.backend {
        BackendKind::TaskScheduler => "Task Scheduler",
        BackendKind::Systemd => "systemd, for the system",
        BackendKind::SystemdUser => "systemd, for this user while logged in",
        BackendKind::Crontab => "cron, as this user",
    };
    let next = entry.next_run.as_deref().map_or_else(String::new, |next| format!(", next {next}"));
    let seen = format!("{cron} by {by}{next}");
    let test = format!(
        "`intellistor-agent test-schedule --policy-id {}` runs it now, as its account",
        entry.policy_id
    );
    match entry.last_result {
        _ if !entry.enabled => Finding::warning(format!("{seen}; it is switched off, and will not run"))
            .advise("Enable it in the scheduler, or run `intellistor-agent apply-schedule` again"),
        Some(code) if !matches!(code, 0 | 3) => Finding::warning(format!(
            "{seen}; its last run ended with exit code {code}"
        ))
        .advise(format!("`intellistor-agent logs show --policy-id {}` says why. {test}", entry.policy_id)),
        _ => Finding::ok(seen),
    }
}

pub(super) async fn check_variables(examination: &mut Examination) -> Finding {
    let unseen = examination.subject.agent.as_ref().map_or(&[][..], |agent| &agent.unseen);
    match unseen {
        [] => Finding::ok("a scheduled run sees all that is set here"),
        all => Finding::warning(all.join("; "))
            .advise("Put them into that file, with absolute paths: a scheduled run sees nothing else"),
    }
}
