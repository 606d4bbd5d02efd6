//! The policy: it parses, and no one else can change it.

use intellistor_storage::disk::trust;

use super::examination::Examination;
use super::finding::Finding;
use crate::error::Error;
use crate::policy::Policy;

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let file = examination.subject.policy_file.clone();
    let policy = match Policy::load(&file) {
        Ok(policy) => policy,
        Err(error) => return Finding::of(&Error::Policy(error)),
    };
    let paths = policy.paths.len();
    let schedule = match &policy.schedule {
        Some(cron) => format!("schedule {cron}"),
        None => "no schedule".to_owned(),
    };
    let kept = if policy.retention.is_some() { "with retention" } else { "keeps all backups" };
    let seen = format!(
        "{}: {paths} {}, {schedule}, {kept}",
        policy.policy_id,
        if paths == 1 { "path" } else { "paths" }
    );
    let is_relative = policy.paths.iter().any(|path| path.is_relative());
    examination.policy = Some(policy);
    if let Err(others) = trust::check(&file) {
        let text = format!("{seen}; other accounts can change {}: {others}", file.display());
        let advice = "Make it and the folders above it writable only by the account that runs it (`chown`, `chmod go-w`)";
        let finding =
            if examination.subject.unattended { Finding::failed(text) } else { Finding::warning(text) };
        return finding.advise(advice);
    }
    if is_relative {
        return Finding::warning(format!(
            "{seen}; a path is relative, so that it depends on the current folder"
        ))
        .advise("Write it in full: a scheduled run has no current folder");
    }
    Finding::ok(seen)
}
