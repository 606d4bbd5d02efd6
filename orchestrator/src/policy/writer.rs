//! A policy as YAML with comments.

use std::fmt::Write as _;

use intellistor_actors::backup::changes::DetectChanges;

use super::definition::{CloudFiles, LogPolicy, ManifestForm, Policy, ResumePolicy, SystemFilesRule};
use super::digest::{cloud_files_word, compression_word, detection_word};
use super::duration::duration_text;
use super::fields;
use super::hooks::hooks_text;
use super::lifecycle::{LockPolicy, RetentionRules};
use super::limits::limits_text;
use super::notify::notify_text;

impl Policy {
    /// The policy as a file, with comments that explain it. Every path must be Unicode, which [`check`](Self::check)
    /// ensures.
    pub fn to_yaml(&self) -> String {
        let list =
            |texts: &mut dyn Iterator<Item = String>| format!("[{}]", texts.collect::<Vec<_>>().join(", "));
        let paths = list(&mut self.paths.iter().map(|path| quoted(&path.to_string_lossy())));
        let exclude = list(&mut self.exclude.iter().map(|glob| quoted(glob)));
        let compression = compression_word(self.compression);
        let mut yaml = format!("policy_id: {}\npaths: {paths}\n", plain_or_quoted(&self.policy_id));
        // Writing to a String cannot fail.
        let _ = match &self.schedule {
            Some(schedule) => writeln!(yaml, "schedule: {}", double_quoted(schedule)),
            None => writeln!(yaml, "# schedule: \"0 2 * * *\""),
        };
        let _ = writeln!(yaml, "{:<26} # globs on relative_path", format!("exclude: {exclude}"));
        let _ = writeln!(yaml, "{:<26} # fast | balanced | best", format!("compression: {compression}"));
        let _ = match &self.store {
            Some(store) => writeln!(yaml, "store: {}", quoted(&store.to_string())),
            None => {
                writeln!(yaml, "# store: s3://bucket/prefix or file:///mnt/nas; default from the environment")
            }
        };
        for (field, is_set) in [
            ("one_file_system", self.one_file_system),
            ("exclude_caches", self.exclude_caches),
            ("streams", self.streams),
        ] {
            if is_set {
                let _ = writeln!(yaml, "{field}: true");
            }
        }
        // Written only where it is not the default.
        if self.system_files == SystemFilesRule::Keep {
            let _ = writeln!(yaml, "system_files: keep");
        }
        if let Some(full_every) = self.full_every {
            let _ = writeln!(yaml, "full_every: {}", quoted(&duration_text(full_every)));
        }
        if self.cloud_files != CloudFiles::default() {
            let _ = writeln!(yaml, "cloud_files: {}", cloud_files_word(self.cloud_files));
        }
        if self.detect_changes != DetectChanges::default() {
            let _ = writeln!(yaml, "detect_changes: {}", detection_word(self.detect_changes));
        }
        if let Some(vss) = self.vss {
            let _ = writeln!(yaml, "vss: {}", quoted(vss.word()));
        }
        if self.manifest == ManifestForm::Sealed {
            let _ = writeln!(yaml, "manifest: sealed");
        }
        if self.resume != ResumePolicy::default() {
            let fresh_after = quoted(&duration_text(self.resume.fresh_after));
            let _ = writeln!(yaml, "resume: {{ fresh_after: {fresh_after} }}");
        }
        if self.logs != LogPolicy::default() {
            let _ = writeln!(yaml, "logs: {{ keep_days: {} }}", self.logs.keep_days);
        }
        self.write_lifecycle(&mut yaml);
        self.write_surroundings(&mut yaml);
        yaml
    }

    fn write_lifecycle(&self, yaml: &mut String) {
        let _ = match &self.retention {
            Some(rules) => writeln!(yaml, "retention: {{ {} }}", rules_text(rules)),
            None => yaml.write_str(RETENTION_EXAMPLE),
        };
        if self.prune_after != fields::PRUNE_AFTER {
            let _ = writeln!(yaml, "prune_after: {}", duration_text(self.prune_after));
        }
        if let Some(LockPolicy { mode, days }) = self.lock {
            let _ = writeln!(yaml, "lock: {{ mode: {}, days: {days} }}", mode.word());
        }
        if let Some(class) = &self.storage_class {
            let _ = writeln!(yaml, "storage_class: {}", quoted(class));
        }
    }
}

impl Policy {
    /// What happens around a run.
    fn write_surroundings(&self, yaml: &mut String) {
        let _ = match self.notify.is_empty() {
            true => yaml.write_str(NOTIFY_EXAMPLE),
            false => write!(yaml, "notify:\n{}", notify_text(&self.notify, quoted)),
        };
        let _ = match &self.hooks {
            Some(hooks) => writeln!(yaml, "hooks: {}", hooks_text(hooks, quoted)),
            None => yaml.write_str(HOOKS_EXAMPLE),
        };
        let _ = match &self.limits {
            Some(limits) => writeln!(yaml, "limits: {}", limits_text(limits)),
            None => yaml.write_str(LIMITS_EXAMPLE),
        };
    }
}

const NOTIFY_EXAMPLE: &str = "\
# notify: [{ url: 'https://hooks.example/backup' }]        # or healthchecks, or mail
";
const HOOKS_EXAMPLE: &str = "\
# hooks: { before: [pg_dump, --file=/srv/dump/shop.sql, shop] }
";
const LIMITS_EXAMPLE: &str = "\
# limits: { upload: 10MiB, window: \"08:00-18:00\" }        # bytes per second, within these hours
";
const RETENTION_EXAMPLE: &str = "\
# retention: { keep_last: 7, keep_daily: 14, keep_weekly: 8, keep_monthly: 12, timezone: UTC }
#                          # without it, all backups are kept
";

/// The rules that keep something, and the zone.
fn rules_text(rules: &RetentionRules) -> String {
    // No `..`: a new rule must be written, too.
    let RetentionRules {
        keep_last,
        keep_within,
        keep_hourly,
        keep_daily,
        keep_weekly,
        keep_monthly,
        keep_yearly,
        timezone,
    } = rules;
    let number = |name, number: &u32| (*number > 0).then(|| format!("{name}: {number}"));
    let fields = [
        number("keep_last", keep_last),
        keep_within.map(|span| format!("keep_within: {}", duration_text(span))),
        number("keep_hourly", keep_hourly),
        number("keep_daily", keep_daily),
        number("keep_weekly", keep_weekly),
        number("keep_monthly", keep_monthly),
        number("keep_yearly", keep_yearly),
        timezone.as_ref().map(|zone| format!("timezone: {}", quoted(zone))),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// A name that YAML would take for a number, a truth value or nothing needs quotes.
fn plain_or_quoted(policy_id: &str) -> String {
    const RESERVED: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let plain = policy_id.starts_with(|c: char| c.is_ascii_alphabetic())
        && !RESERVED.contains(&policy_id.to_ascii_lowercase().as_str());
    if plain { policy_id.to_owned() } else { quoted(policy_id) }
}

/// Single quotes keep backslashes and accents as they are; only what they cannot hold is escaped.
fn quoted(text: &str) -> String {
    let fits = |c: char| {
        !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
    };
    if text.chars().all(fits) { format!("'{}'", text.replace('\'', "''")) } else { double_quoted(text) }
}

fn double_quoted(text: &str) -> String {
    let mut yaml = String::from("\"");
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(yaml, "\\{c}"),
            ' '..='~' => write!(yaml, "{c}"),
            _ => write!(yaml, "\\U{:08x}", u32::from(c)),
        };
    }
    yaml + "\""
}
