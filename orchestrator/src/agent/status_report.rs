//! The status of all policies of a machine, and what a monitor is shown of it.
//!
//! **In:** policies' statuses. **Out:** one report, those that need a person first, and one line with performance data, by the
//! convention of Nagios' plugins: <https://www.monitoring-plugins.org/doc/guidelines.html>.

use chrono::{DateTime, Utc};
use intellistor_telemetry::Escaped;
use serde::Serialize;

use super::health::{AllowedAges, Health, age_text};
use super::status::PolicyStatus;
use super::times::to_the_second;

/// Its serde form is the JSON of `intellistor-agent status`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StatusReport {
    /// When this was found.
    #[serde(serialize_with = "to_the_second")]
    pub at: DateTime<Utc>,
    /// The worst of all policies.
    pub health: Health,
    /// Why the system's scheduler could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler_error: Option<String>,
    /// Those that need a person first, then by name.
    pub policies: Vec<PolicyStatus>,
}

/// What a monitor is shown, by the convention of Nagios.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    pub code: u8,
    /// One line.
    pub line: String,
}

impl Health {
    /// The word and the exit code of Nagios' convention.
    fn of_monitors(self) -> (&'static str, u8) {
        match self {
            Self::Ok => ("OK", 0),
            Self::Warning => ("WARNING", 1),
            Self::Critical => ("CRITICAL", 2),
            Self::Unknown => ("UNKNOWN", 3),
        }
    }
}

impl CheckResult {
    /// When nothing can be found out.
    pub fn unknown(why: &str) -> Self {
        Self { code: 3, line: format!("UNKNOWN - {}", text_of(why)) }
    }
}

impl StatusReport {
    pub fn new(mut policies: Vec<PolicyStatus>, scheduler_error: Option<String>) -> Self {
        policies.sort_by(|a, b| b.health.cmp(&a.health).then_with(|| a.policy.cmp(&b.policy)));
        let health = policies.first().map(|status| status.health).unwrap_or_default();
        Self { at: Utc::now(), health, scheduler_error, policies }
    }

    /// One line for a monitor: the worst state, its reason, and figures of each policy.
    pub fn check(&self, ages: AllowedAges) -> CheckResult {
        if self.policies.is_empty() {
            return CheckResult::unknown(
                "no policy has run or is scheduled here; INTELLISTOR_HOME must have the same value as for the runs",
            );
        }
        let (mut word, mut code) = self.health.of_monitors();
        let mut bad: Vec<String> = self
            .policies
            .iter()
            .filter(|status| status.health != Health::Ok)
            .map(|status| {
                let reason = status.reasons.first().map(|reason| reason.text.as_str()).unwrap_or_default();
                format!("{}: {}", status.policy, text_of(reason))
            })
            .collect();
        if let Some(error) = &self.scheduler_error {
            // What was missed is not known then.
            if self.health < Health::Unknown {
                (word, code) = Health::Unknown.of_monitors();
            }
            bad.push(format!("the scheduler does not answer: {}", text_of(error)));
        }
        let count = self.policies.len();
        let policies = if count == 1 { "1 policy".to_owned() } else { format!("{count} policies") };
        let text = if bad.is_empty() {
            let oldest = self.policies.iter().filter_map(|status| status.last_good.as_ref());
            let oldest = oldest.map(|good| good.age_seconds).max().map_or_else(String::new, |seconds| {
                format!(
                    ", the oldest last good run {} ago",
                    age_text(std::time::Duration::from_secs(seconds))
                )
            });
            format!("{policies}{oldest}")
        } else {
            format!("{} ({} of {policies})", bad.join("; "), bad.len())
        };
        CheckResult { code, line: format!("{word} - {text}{}", self.performance_data(ages)) }
    }

    fn performance_data(&self, ages: AllowedAges) -> String {
        let limit =
            |age: Option<std::time::Duration>| age.map_or(String::new(), |age| age.as_secs().to_string());
        let limits = match (limit(ages.warning), limit(ages.critical)) {
            (warning, critical) if warning.is_empty() && critical.is_empty() => String::new(),
            (warning, critical) => format!(";{warning};{critical}"),
        };
        let of = |status: &PolicyStatus| {
            let good = status.last_good.as_ref()?;
            let (id, figures) = (&status.policy, &good.figures);
            Some(format!(
                "'{id}_age'={}s{limits} '{id}_duration'={:.3}s '{id}_bytes'={}B '{id}_stored'={}B '{id}_problems'={}",
                good.age_seconds, figures.seconds, figures.bytes, figures.archive_bytes, figures.problems
            ))
        };
        let data: Vec<String> = self.policies.iter().filter_map(of).collect();
        if data.is_empty() { String::new() } else { format!(" | {}", data.join(" ")) }
    }
}

/// One line without the sign that begins performance data.
fn text_of(text: &str) -> String {
    Escaped(text.trim()).to_string().replace('|', "/")
}

#[cfg(test)]
mod tests {
    use super::super::health::{PolicyState, Reason};
    use super::super::status::{Figures, GoodRun};
    use super::*;

    fn good(policy: &str) -> PolicyStatus {
        let figures = Figures {
            timestamp: "20261126T020000Z".to_owned(),
            backup_id: "b".to_owned(),
            seconds: 12.5,
            files: 3,
            bytes: 2048,
            archive_bytes: 512,
            problems: 0,
        };
        let last_good = Some(GoodRun { at: Utc::now(), age_seconds: 18_000, figures });
        PolicyStatus { policy: policy.to_owned(), last_good, ..PolicyStatus::default() }
    }

    fn bad(policy: &str, health: Health, text: &str) -> PolicyStatus {
        let state = PolicyState::Failed;
        let reasons = vec![Reason { health, state, text: text.to_owned() }];
        PolicyStatus { policy: policy.to_owned(), health, state, reasons, ..PolicyStatus::default() }
    }

    #[test]
    fn a_monitor_reads_one_line() {
        let line = |policies: Vec<PolicyStatus>| {
            let CheckResult { code, line } = StatusReport::new(policies, None).check(AllowedAges::default());
            (code, line)
        };
        let figures = "'docs_age'=18000s 'docs_duration'=12.500s 'docs_bytes'=2048B 'docs_stored'=512B 'docs_problems'=0";
        let ok = format!("OK - 1 policy, the oldest last good run 5 h ago | {figures}");
        assert_eq!(line(vec![good("docs")]), (0, ok));
        let failed = bad("zeta", Health::Critical, "no key\nfor | it");
        let critical = format!("CRITICAL - zeta: no key\\nfor / it (1 of 2 policies) | {figures}");
        assert_eq!(line(vec![good("docs"), failed]), (2, critical));
        assert_eq!(line(vec![bad("a", Health::Warning, "w")]).0, 1);
        assert_eq!(line(vec![bad("a", Health::Unknown, "u")]).0, 3);
        assert_eq!(line(Vec::new()).0, 3);
    }

    #[test]
    fn limits_are_in_the_figures_and_a_silent_scheduler_is_unknown() {
        let hours = |hours: u64| Some(std::time::Duration::from_secs(hours * 3600));
        let ages = AllowedAges { warning: hours(36), critical: hours(60) };
        let report = StatusReport::new(vec![good("docs")], Some("no bus".to_owned()));
        let CheckResult { code, line } = report.check(ages);
        assert!(code == 3 && line.starts_with("UNKNOWN - the scheduler does not answer: no bus"), "{line}");
        assert!(line.contains("'docs_age'=18000s;129600;216000 "), "{line}");
    }

    #[test]
    fn those_that_need_a_person_come_first() {
        let policies = vec![
            good("b"),
            bad("w", Health::Warning, ""),
            good("a"),
            bad("f", Health::Critical, ""),
            bad("u", Health::Unknown, ""),
        ];
        let order: Vec<_> =
            StatusReport::new(policies, None).policies.into_iter().map(|s| s.policy).collect();
        assert_eq!(order, ["f", "u", "w", "a", "b"]);
    }
}
