use std::path::{Path, PathBuf};
use std::time::Duration;

use intellistor_storage::archive::Compression;
use intellistor_storage::objects::StoreUrl;
use proptest::prelude::*;

use super::reader::MOST_BYTES;
use super::*;

const CREATED: &str = r#"policy_id: mvp-default
paths: ['C:\workload\docs\imagens']
schedule: "0 2 * * *"
exclude: []                # globs on relative_path
compression: fast          # fast | balanced | best
# store: s3://bucket/prefix or file:///mnt/nas; default from the environment
# retention: { keep_last: 7, keep_daily: 14, keep_weekly: 8, keep_monthly: 12, timezone: UTC }
#                          # without it, all backups are kept
# notify: [{ url: 'https://hooks.example/backup' }]        # or healthchecks, or mail
# hooks: { before: [pg_dump, --file=/srv/dump/shop.sql, shop] }
# limits: { upload: 10MiB, window: "08:00-18:00" }        # bytes per second, within these hours
"#;

/// Every form of what happens around a run.
const SURROUNDED: &str = r#"policy_id: a
paths: [x]
notify:
  - { url: 'https://hooks.example/x' }
  - { url: 'env:INTELLISTOR_NOTIFY_TEAM', token: 'env:INTELLISTOR_NOTIFY_TOKEN', on: [success] }
  - { healthchecks: 'https://hc-ping.com/0f1e', on: [failed, warnings] }
  - mail: { to: ['TI <ti@empresa.com.br>'], from: backup@empresa.com.br, smtp: 'smtp.empresa.com.br', user: x }
  - { mail: { to: [a@b.c], from: d@e.f, smtp: '[::1]:2525', security: none }, on: [failed, missed] }
  - { mail: { to: [a@b.c], from: d@e.f, smtp: 'h', security: tls, user: u, password: 'env:INTELLISTOR_NOTIFY_P' } }
hooks:
  before:
    - [pg_dump, '--file=/srv/dump/a b.sql', shop]
    - ['C:\tools\x.exe', '5']
  after: [/usr/bin/true]
  on_failure: notify-send
  timeout: 30m
limits: { upload: 10MiB, download: 1500KiB, window: "20:00-06:00" }
"#;

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::from_yaml(Path::new("docs.yaml"), text)
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn a_policy_is_written_as_the_contract_shows_it() {
    let mut policy = Policy::new("mvp-default", [r"C:\workload\docs\imagens"]).unwrap();
    policy.schedule = Some("0 2 * * *".to_owned());
    assert_eq!(policy.to_yaml(), CREATED);
    assert_eq!(parse(CREATED).unwrap(), policy);
}

#[test]
fn every_field_reads_back() {
    let policy = Policy {
        policy_id: "2026-01-01".to_owned(),
        paths: ["/home/joão/it's", "aa: b # c", "-", "linha\nnova\t\u{85}\u{feff}", "\"q\"", " x "]
            .map(PathBuf::from)
            .into(),
        schedule: Some("*/5 * * * 1-5".to_owned()),
        exclude: vec!["*.tmp".to_owned(), "Cópia {a,b}/[!c]".to_owned()],
        compression: Compression::Best,
        store: Some(StoreUrl::parse("s3://bucket/prefix").unwrap()),
        resume: ResumePolicy { fresh_after: Duration::from_secs(5400) },
        logs: LogPolicy { keep_days: 7 },
        one_file_system: true,
        cloud_files: CloudFiles::Read,
        exclude_caches: true,
        streams: true,
        system_files: SystemFilesRule::Keep,
        full_every: Some(Duration::from_secs(30 * 24 * 3600)),
        detect_changes: DetectChanges::Content,
        vss: Some(VssMode::Off),
        manifest: ManifestForm::Sealed,
        retention: Some(RetentionRules {
            keep_last: 1,
            keep_within: Some(Duration::from_secs(14 * 24 * 3600)),
            keep_hourly: 2,
            keep_daily: 3,
            keep_weekly: 4,
            keep_monthly: 5,
            keep_yearly: 6,
            timezone: Some("America/Sao_Paulo".to_owned()),
        }),
        prune_after: Duration::from_secs(10 * 24 * 3600),
        lock: Some(LockPolicy { mode: LockMode::Compliance, days: 30 }),
        storage_class: Some("STANDARD_IA".to_owned()),
        ..parse(SURROUNDED).unwrap()
    };
    let yaml = policy.to_yaml();
    assert_eq!(parse(&yaml).unwrap(), policy, "{yaml}");
    policy.check().unwrap();
    assert!(yaml.contains(
        "\nretention: { keep_last: 1, keep_within: 14d, keep_hourly: 2, keep_daily: 3, keep_weekly: 4, keep_monthly: 5, keep_yearly: 6, timezone: 'America/Sao_Paulo' }\nprune_after: 10d\nlock: { mode: compliance, days: 30 }\n"
    ), "{yaml}");
}

#[test]
fn what_happens_around_a_run_has_defaults() {
    let policy = parse(SURROUNDED).unwrap();
    let on: Vec<_> = policy.notify.iter().map(|rule| rule.on.len()).collect();
    assert_eq!(on, [3, 1, 2, 3, 2, 3]);
    let Channel::Mail(mail) = &policy.notify[3].channel else { panic!("{:?}", policy.notify[3]) };
    assert_eq!(
        (mail.host.as_str(), mail.port, mail.security),
        ("smtp.empresa.com.br", 587, SmtpSecurity::Starttls)
    );
    assert_eq!(mail.password.name(), SMTP_PASSWORD);
    let hooks = policy.hooks.unwrap();
    assert_eq!(hooks.before[0], ["pg_dump", "--file=/srv/dump/a b.sql", "shop"]);
    assert_eq!((hooks.after, hooks.on_failure.len()), (vec![vec!["/usr/bin/true".to_owned()]], 1));
    assert_eq!(
        parse("policy_id: a\npaths: [x]\nhooks: { after: x }\n").unwrap().hooks.unwrap().timeout.as_secs(),
        3600
    );
}

#[test]
fn what_happens_around_a_run_is_checked_with_its_line() {
    for (lines, line, what) in [
        ("notify: [{}]", 3, "has none"),
        ("notify:\n- { url: 'https://a/', healthchecks: 'https://b/' }", 4, "one of `url`"),
        ("notify:\n- { url: 'ftp://a/' }", 4, "https://"),
        ("notify:\n- { url: 'https://ana:hush@a/x' }", 4, "a user or a password"),
        ("notify:\n- { url: 'https://a/', token: hush }", 4, "env:INTELLISTOR_NOTIFY_TOKEN"),
        ("notify:\n- { url: 'http://a/', token: 'env:INTELLISTOR_NOTIFY_T' }", 4, "readable"),
        ("notify:\n- { url: 'env:AWS_SECRET_ACCESS_KEY' }", 4, "env:INTELLISTOR_NOTIFY_"),
        ("notify:\n- { url: 'https://a/', on: [never] }", 4, "failed, warnings, success, missed"),
        ("notify:\n- { url: 'https://a/', on: [] }", 4, "empty"),
        ("notify:\n- { urls: 'https://a/' }", 4, "Known fields: url, token"),
        ("notify:\n- { healthchecks: 'https://a/', on: [missed] }", 4, "failures"),
        ("notify:\n- { mail: { to: [x], from: a@b.c, smtp: h } }", 4, "not a mail address"),
        (
            "notify:\n- { mail: { to: [\"a@b.c\\r\\nBcc: x@y.z\"], from: a@b.c, smtp: h } }",
            4,
            "not a mail address",
        ),
        ("notify:\n- { mail: { to: [a@b.c], from: a@b.c, smtp: 'h:x' } }", 4, "host:port"),
        (
            "notify:\n- { mail: { to: [a@b.c], from: a@b.c, smtp: h, security: none, user: x } }",
            4,
            "readable",
        ),
        (
            "notify:\n- { mail: { to: [a@b.c], from: a@b.c, smtp: h, password: hush } }",
            4,
            "belongs to a `user`",
        ),
        ("hooks: {}", 3, "no command"),
        ("hooks: { timeout: 1h }", 3, "no command"),
        ("hooks:\n  before: []", 4, "no command"),
        ("hooks:\n  before: [[]]", 4, "names no program"),
        ("hooks:\n  before: [a, [b]]", 4, "brackets"),
        ("hooks:\n  before: 'pg_dump shop > x'", 4, "no shell"),
        ("hooks:\n  before: [./dump.sh]", 4, "whole path"),
        ("hooks:\n  before: [~/dump.sh]", 4, "not expanded"),
        ("hooks:\n  before: [sleep, 5]", 4, "in quotes"),
        ("hooks:\n  before: [x]\n  timeout: 0s", 5, "from 1s to 7d"),
        ("hooks:\n  befor: [x]", 4, "unknown field \"befor\""),
        ("limits: {}", 3, "no rate"),
        ("limits: { window: \"08:00-18:00\" }", 3, "no rate"),
        ("limits: { upload: 10 }", 3, "no unit"),
        ("limits: { upload: 10MiB, window: night }", 3, "08:00-18:00"),
    ] {
        let refused = refusal(&format!("policy_id: a\npaths: [x]\n{lines}\n"));
        // What is missing is found at the start of its block, or where that ends.
        let lines_of = [line - 1, line, line + 1].map(|line| format!("docs.yaml, line {line}, "));
        assert!(lines_of.iter().any(|at| refused.starts_with(at)), "{lines}: {refused}");
        assert!(refused.contains(what), "{lines}: {refused}");
        let reason = refused.lines().next().unwrap_or_default();
        assert!(!reason.contains("hush") || what.contains("TOKEN"), "{refused}");
    }
}

#[test]
fn a_notices_url_is_shown_up_to_its_host() {
    let policy = parse(SURROUNDED).unwrap();
    let shown = format!("{policy:?}");
    assert!(shown.contains("https://hooks.example") && !shown.contains("hooks.example/x"), "{shown}");
    assert!(!shown.contains("0f1e"), "{shown}");
}

#[test]
fn windows_files_are_accepted() {
    let windows = format!("\u{feff}{}", CREATED.replace('\n', "\r\n"));
    assert_eq!(parse(&windows).unwrap(), parse(CREATED).unwrap());
    let hint = refusal("policy_id: a\npaths: [\"C:\\workload\"]\n");
    assert!(hint.contains("line 2") && hint.contains("single quotes"), "{hint}");
}

#[test]
fn errors_name_file_line_and_text() {
    let yaml = refusal("policy_id: a\npaths: [x\nexclude: []\n");
    assert!(yaml.starts_with("docs.yaml, line "), "{yaml}");
    let field = refusal("policy_id: a\npaths: [x]\n\nexcludes: []\n");
    assert!(field.starts_with("docs.yaml, line 4, column 1: unknown field \"excludes\""), "{field}");
    assert!(field.contains("policy_id, paths, schedule, exclude, compression, store"), "{field}");
    assert!(field.ends_with("\n  4 | excludes: []\nwrite: exclude: []"), "{field}");
    let variant = refusal("policy_id: a\npaths: [x]\ncompression: zip\n");
    assert!(
        variant.contains("line 3") && variant.contains("\"zip\" is not one of fast, balanced, best"),
        "{variant}"
    );
    let span = refusal("policy_id: a\npaths: [x]\nresume: { fresh_after: soon }\n");
    assert!(span.contains("line 3") && span.contains("\"soon\" is not a duration"), "{span}");
    let detection = refusal("policy_id: a\npaths: [x]\ndetect_changes: size\n");
    assert!(
        detection.contains("line 3") && detection.contains("not one of ctime, mtime, content"),
        "{detection}"
    );
    let chain = refusal("policy_id: a\npaths: [x]\nfull_every: monthly\n");
    assert!(chain.contains("line 3") && chain.contains("\"monthly\" is not a duration"), "{chain}");
    let nested = refusal("policy_id: a\npaths: [x]\nlogs: { keep: 7 }\n");
    assert!(nested.contains("line 3") && nested.contains("Known fields: keep_days"), "{nested}");
    let missing = refusal("policy_id: a\n");
    assert!(missing.contains("`paths` is missing"), "{missing}");
    let twice = refusal("policy_id: a\npaths: [x]\npolicy_id: b\n");
    assert!(twice.contains("line 3") && twice.contains("duplicate"), "{twice}");
    assert!(refusal("").starts_with("docs.yaml"));
    assert!(refusal("just text").contains("line 1"));
}

/// Each line is the third of a policy.
#[test]
fn what_cannot_be_kept_or_locked_is_refused_with_its_position() {
    for (line, column, reason) in [
        ("retention: {}", 12, "`retention` has no rule"),
        ("retention:", 0, "`retention` has no rule"),
        ("retention: { keep_last: 0 }", 12, "`retention` has no rule"),
        ("retention: { timezone: UTC }", 12, "`retention` has no rule"),
        ("retention: { keep_within: 0d }", 27, "`keep_within` is 0s, and must be from 1h to 36500d"),
        ("retention: { keep_within: 6m }", 27, "`keep_within` is 6m, and must be from 1h"),
        ("retention: { keep_within: 200y }", 27, "to 36500d"),
        ("retention: { keep_within: 14 }", 27, "\"14\" is not a duration"),
        ("retention: { keep_last: -1 }", 25, "is not a whole number from 0 to 4294967295"),
        ("retention: { keep_last: 4294967296 }", 25, "is not a whole number from 0 to 4294967295"),
        (
            "retention: { keep_last: 99999999999999999999999 }",
            25,
            "is not a whole number from 0 to 4294967295",
        ),
        ("retention: { keep_last: 1.5 }", 25, "is not a whole number from 0 to 4294967295"),
        ("retention: { keep_last: seven }", 25, "is not a whole number from 0 to 4294967295"),
        ("retention: { keep_daily: 7, timezone: America/Sao_Paolo }", 39, "Write America/Sao_Paulo"),
        ("retention: { keep_daily: 7, timezone: GMT-3 }", 39, "is not a time zone"),
        ("retention: [7]", 12, "as in `retention: { keep_daily: 7, keep_weekly: 5 }`"),
        ("retention: 7", 12, "as in `retention: { keep_daily: 7, keep_weekly: 5 }`"),
        ("lock: 30", 7, "as in `lock: { mode: governance, days: 30 }`"),
        ("logs: 7", 7, "as in `logs: { keep_days: 90 }`"),
        ("resume: 6h", 9, "as in `resume: { fresh_after: 6h }`"),
        ("retention: { keep_daily: -3d }", 26, "is not a whole number from 0"),
        ("retention: { keep_within: -3d }", 27, "is not a duration: it is negative. Write 14d"),
        ("prune_after: 400000d", 14, "that is a hundred years"),
        ("prune_after: 1d", 14, "`prune_after` is 1d, and must be from 2d to 36500d"),
        ("prune_after: 0", 14, "`prune_after` is 0s"),
        ("prune_after: soon", 14, "is not a duration"),
        ("prune_after: 30m", 14, "from 2d"),
        ("logs: { keep_days: -1 }", 20, "is not a whole number"),
        ("lock:", 0, "a mode, governance or compliance"),
        ("lock: { mode: governance }", 0, "`days` is missing"),
        ("lock: { days: 30 }", 0, "`mode` is missing"),
        ("lock: { mode: governance, days: 0 }", 33, "from 1 to 36500"),
        ("lock: { mode: governance, days: 36501 }", 33, "from 1 to 36500"),
        ("lock: { mode: governance, days: -1 }", 33, "is not a whole number from 0 to 4294967295"),
        ("storage_class: standard_ia", 16, "Write STANDARD_IA"),
        ("storage_class: ''", 16, "Write STANDARD_IA, for example"),
        ("storage_class: \"A\\nB\"", 16, "Write STANDARD_IA, for example"),
    ] {
        let refused = refusal(&format!("policy_id: a\npaths: [x]\n{line}\n"));
        assert!(refused.starts_with("docs.yaml, line 3") && refused.contains(reason), "{line}: {refused}");
        assert!(column == 0 || refused.contains(&format!("column {column}:")), "{line}: {refused}");
    }
}

#[test]
fn a_name_that_is_nearly_known_is_corrected() {
    for (line, right) in [
        ("retention: { keep-last: 7 }", "retention: { keep_last: 7 }"),
        ("retention: { keep_dayly: 7, keep_last: 3 }", "retention: { keep_daily: 7, keep_last: 3 }"),
        ("retension: { keep_last: 7 }", "retention: { keep_last: 7 }"),
        ("prune-after: 9d", "prune_after: 9d"),
        ("lock: { mode: Governance, days: 3 }", "lock: { mode: governance, days: 3 }"),
        ("lock: { mode: governance, day: 3 }", "lock: { mode: governance, days: 3 }"),
        ("compression: ballanced", "compression: balanced"),
    ] {
        let refused = refusal(&format!("policy_id: a\npaths: [x]\n{line}\n"));
        assert!(refused.ends_with(&format!("\nwrite: {right}")), "{line}: {refused}");
        parse(&format!("policy_id: a\npaths: [x]\n{right}\n")).unwrap();
    }
    let block = refusal("policy_id: a\npaths: [x]\nretention:\n  keep_last: 3\n  keep_weeks: 2\n");
    assert!(block.contains("line 5, column 3") && block.ends_with("\nwrite: keep_weekly: 2"), "{block}");
    let far = refusal("policy_id: a\npaths: [x]\nretention: { days: 7 }\n");
    assert!(far.contains("Known fields: keep_last, keep_within") && !far.contains("write:"), "{far}");
}

#[test]
fn fields_that_were_set_by_hand_are_checked() {
    let policy = || Policy::new("a", ["x"]).unwrap();
    let rules = |rules| Policy { retention: Some(rules), ..policy() };
    let one = || RetentionRules { keep_last: 1, ..RetentionRules::default() };
    rules(one()).check().unwrap();
    for wrong in [
        rules(RetentionRules::default()),
        rules(RetentionRules { keep_within: Some(Duration::ZERO), ..one() }),
        rules(RetentionRules { timezone: Some("Mars/Phobos".to_owned()), ..one() }),
        Policy { prune_after: Duration::from_secs(3600), ..policy() },
        Policy { lock: Some(LockPolicy { mode: LockMode::Governance, days: 0 }), ..policy() },
        Policy { storage_class: Some("é".to_owned()), ..policy() },
    ] {
        wrong.check().unwrap_err();
    }
}

#[test]
fn a_lock_is_read_from_a_word() {
    let lock = |text: &str| text.parse::<LockPolicy>();
    assert_eq!(lock("governance:30").unwrap(), LockPolicy { mode: LockMode::Governance, days: 30 });
    assert_eq!(lock("compliance:7d").unwrap(), LockPolicy { mode: LockMode::Compliance, days: 7 });
    for bad in [
        "",
        "governance",
        "30",
        "governance:",
        "governance:0",
        "governance:-1",
        "legal:3",
        "governance:36501",
    ] {
        lock(bad).unwrap_err();
    }
}

#[test]
fn what_people_type_is_read_or_corrected() {
    for (lines, right) in [
        ("paths: [x]\nexclude: [*.tmp]", "exclude: ['*.tmp']"),
        ("paths: [x]\nexclude: *.tmp", "exclude: '*.tmp'"),
        ("paths: [x]\nexclude:\n- **/cache", "- '**/cache'"),
        ("paths: [x]\nschedule: @daily", "schedule: '@daily'"),
        ("paths: [\"C:\\Users\"]", "paths: ['C:\\Users']"),
        ("paths:\n- /x\n- \"C:\\Users\"", "- 'C:\\Users'"),
        ("paths:\n- C:\\Relat\u{f3}rio: final", "- 'C:\\Relat\u{f3}rio: final'"),
        ("paths: [%TEMP%]", "paths: ['%TEMP%']"),
        ("paths: [x]\nexclude: [{a,b}.txt]", "exclude: ['{a,b}.txt']"),
    ] {
        let refused = refusal(&format!("policy_id: a\n{lines}\n"));
        assert!(refused.starts_with("docs.yaml, line "), "{refused}");
        assert!(refused.ends_with(&format!("\nwrite: {right}")), "{lines}: {refused}");
        parse(&format!("policy_id: a\n{}\n", lines.replace(lines.lines().last().unwrap(), right))).unwrap();
    }
    let parsed = |lines: &str| parse(&format!("policy_id: a\n{lines}\n")).unwrap();
    assert_eq!(parsed("paths: /tmp").paths, [Path::new("/tmp")]);
    assert_eq!(parsed("paths: /tmp\nexclude: '*.tmp'").exclude, ["*.tmp"]);
    for empty in ["exclude:", "exclude: []", "exclude: ~", "exclude:   # nothing yet"] {
        assert!(parsed(&format!("paths: [x]\n{empty}\ncompression: best")).exclude.is_empty(), "{empty}");
    }
    let none = refusal("policy_id: a\npaths:\n");
    assert!(none.contains("line 2") && none.contains("`paths` is empty"), "{none}");
    let relative = refusal("policy_id: a\npaths: ''\n");
    assert!(relative.contains("line 2, column 8") && relative.contains("is empty"), "{relative}");
    let escaped = refusal("policy_id: a\npaths: [\"D:\\net\"]\n");
    assert!(escaped.contains("line 2") && escaped.contains("single quotes"), "{escaped}");
    let tabs = refusal("policy_id: a\npaths:\n\t- /tmp\n");
    assert!(tabs.contains("line 3") && tabs.ends_with("write: - /tmp"), "{tabs}");
}

#[test]
fn values_are_checked_with_their_position() {
    let id = refusal("policy_id: a/b\npaths: [x]\n");
    assert!(id.contains("line 1, column 12") && id.contains("[A-Za-z0-9][A-Za-z0-9._-]{0,63}"), "{id}");
    let none = refusal("policy_id: a\npaths: []\n");
    assert!(none.contains("line 2") && none.contains("`paths` is empty"), "{none}");
    let empty = refusal("policy_id: a\npaths:\n- x\n- ''\n");
    assert!(empty.contains("line 4") && empty.contains("is empty"), "{empty}");
    let glob = refusal("policy_id: a\npaths: [x]\nexclude: ['ok', 'a[']\n");
    assert!(glob.contains("line 3, column 17") && glob.contains("\"a[\""), "{glob}");
    let store = refusal("policy_id: a\npaths: [x]\nstore: ftp://host\n");
    assert!(store.contains("line 3, column 8") && store.contains("ftp://host"), "{store}");
    let schedule = refusal("policy_id: a\npaths: [x]\nschedule: daily\n");
    assert!(schedule.contains("line 3") && schedule.contains("five fields"), "{schedule}");
    assert!(matches!(Policy::new("a", [""; 0]), Err(PolicyError::NoPaths)));
    assert!(matches!(Policy::new("", ["x"]), Err(PolicyError::BadId { .. })));
}

#[test]
fn an_excerpt_cannot_control_a_terminal() {
    let long = refusal(&format!("policy_id: a\n{}: \u{1b}\u{7}\n", "x".repeat(5000)));
    assert!(!long.contains('\u{1b}') && long.len() < 6000, "{long}");
}

#[test]
fn bombs_are_refused() {
    let deep = format!("policy_id: a\npaths: {}x{}\n", "[".repeat(5000), "]".repeat(5000));
    assert!(parse(&deep).is_err());
    let laughs: String =
        (1..20).map(|i| format!("a{i}: &a{i} [*a{0}, *a{0}, *a{0}, *a{0}]\n", i - 1)).collect();
    assert!(parse(&format!("a0: &a0 [x]\n{laughs}policy_id: a\npaths: *a19\n")).is_err());
    assert!(matches!(parse(&"#".repeat(MOST_BYTES + 1)), Err(PolicyError::TooLarge { .. })));
    assert!(parse("policy_id: a\npaths: [x]\n---\npolicy_id: b\n").is_err());
}

#[test]
fn files_are_read_and_their_errors_name_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.yaml");
    std::fs::write(&file, CREATED).unwrap();
    assert_eq!(Policy::load(&file).unwrap(), parse(CREATED).unwrap());
    std::fs::write(&file, [0xff, 0xfe, b'p', 0]).unwrap();
    assert!(Policy::load(&file).unwrap_err().to_string().contains("is not UTF-8"));
    let gone = Policy::load(&dir.path().join("gone.yaml")).unwrap_err().to_string();
    assert!(gone.contains("gone.yaml") && gone.contains("cannot read policy"), "{gone}");
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.yaml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for path in [&*pipe, dir.path()] {
        let (send, refused) = std::sync::mpsc::channel();
        let path = path.to_owned();
        std::thread::spawn(move || drop(send.send(Policy::load(&path))));
        let refused = refused.recv_timeout(Duration::from_secs(10)).expect("it hangs");
        assert!(matches!(refused, Err(PolicyError::NotAFile { .. })), "{refused:?}");
    }
}

/// Every secret is marked: whatever mistake is beside it, and wherever, no error shows the mark.
#[test]
fn no_error_of_a_policy_shows_a_secret() {
    const RULES: [&str; 9] = [
        "{ url: 'https://h/S3CR3T', token: S3CR3T, MISTAKE }",
        "{ url: \"https://S3CR3T:S3CR3T@h/S3CR3T?S3CR3T\", MISTAKE }",
        "{ healthchecks: https://h/S3CR3T, MISTAKE }",
        "{ url: 'env:INTELLISTOR_NOTIFY_A', token: 'S3CR3T, ''S3CR3T', MISTAKE }",
        "{ url: 'https://h/', tokn: S3CR3T, MISTAKE }",
        "{ \"pass_word\": S3CR3T, mail: { to: [a@b.c], from: a@b.c, smtp: 'u:S3CR3T@h', user: u, password: S3CR3T }, MISTAKE }",
        "{ url:https://h/S3CR3T, MISTAKE }",
        "\n    url: https://h/S3CR3T\n    token: S3CR3T, S3CR3T\n    MISTAKE",
        "\n    token:\n      S3CR3T\n    password: >-\n      S3CR3T\n      S3CR3T: [\n    MISTAKE",
    ];
    const MISTAKES: [&str; 12] = [
        "on: [failed]",
        "on: [nope]",
        "on: []",
        "om: [failed]",
        "on: https://h/S3CR3T",
        "https://h/S3CR3T: x",
        "on: *x",
        "on: [failed",
        "on: \"\\x\"",
        "url: https://h/S3CR3T",
        "token S3CR3T",
        "mail: { to: [x], from: y, smtp: 'a:b' }",
    ];
    let hooks = [
        "hooks: { before: [\"./x --token=S3CR3T https://u:S3CR3T@h/S3CR3T\"] }",
        "hooks: { before: [env, PGPASSWORD=S3CR3T, [x]] }",
        "store: 's3://S3CR3T:S3CR3T@b'",
        "token: S3CR3T",
        "notify: https://h/S3CR3T",
        "policy_id: https://h/S3CR3T",
        "exclude: ['https://h/S3CR3T[']",
        "storage_class: https://h/S3CR3T",
        "full_every: https://h/S3CR3T",
        "retention: { keep_last: 1, timezone: 'https://h/S3CR3T' }",
        "limits: { upload: 'https://h/S3CR3T' }",
        "lock: { mode: 'https://h/S3CR3T', days: 1 }",
    ];
    let rules = RULES.iter().flat_map(|rule| {
        MISTAKES.map(|mistake| format!("paths: [x]\nnotify:\n  - {}\n", rule.replace("MISTAKE", mistake)))
    });
    let others = hooks.map(|line| match line.starts_with("policy_id") {
        true => format!("paths: [x]\n{line}\n"),
        false => format!("paths: [x]\npolicy_id: a\n{line}\n"),
    });
    let mut refused = 0;
    for text in rules.chain(others) {
        let text = if text.contains("policy_id") { text } else { format!("policy_id: a\n{text}") };
        let Err(error) = parse(&text) else { continue };
        refused += 1;
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("S3CR3T"), "{text}\n{shown}");
        }
    }
    assert!(refused > 110, "{refused}");
}

#[test]
fn missing_paths_are_named_and_only_all_of_them_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("Relatórios");
    let policy = |paths: &[&Path]| Policy::new("a", paths.to_vec()).unwrap();
    let one_of_two = policy(&[dir.path(), &missing]);
    one_of_two.check_paths().unwrap();
    let refused: Vec<_> = one_of_two.missing_paths().iter().map(ToString::to_string).collect();
    assert!(refused.len() == 1 && refused[0].contains("Relatórios"), "{refused:?}");
    let refused = policy(&[&missing]).check_paths().unwrap_err().to_string();
    assert!(refused.contains("Relatórios") && refused.contains("does not exist"), "{refused}");
    let refused = policy(&[&missing, &dir.path().join("x")]).check_paths().unwrap_err().to_string();
    assert!(refused.contains("none of the paths") && refused.contains("Relatórios"), "{refused}");
    let home = Policy::new("a", ["~/x"]).unwrap().check_paths().unwrap_err().to_string();
    assert!(home.contains("`~` is not expanded"), "{home}");
}

#[test]
fn a_path_that_is_named_twice_is_refused_with_its_line() {
    for (one, other) in [("/a/b", "/a/b/"), ("/a/b", "/a//./b"), ("a", "./a")] {
        let refused = refusal(&format!("policy_id: a\npaths:\n- {one}\n- x\n- {other}\n"));
        assert!(refused.contains("line 5") && refused.contains("twice"), "{refused}");
        assert!(matches!(Policy::new("a", [one, other]), Err(PolicyError::SamePath { .. })));
    }
    Policy::new("a", ["/a/b", "/a/bc", "/a"]).unwrap();
}

#[test]
fn a_pattern_that_can_match_nothing_is_refused_with_what_to_write() {
    for (pattern, right) in
        [("/srv/cache", "\"cache\""), ("./cache", "\"cache\""), ("!x", "cannot re-include")]
    {
        let refused = refusal(&format!("policy_id: a\npaths: [x]\nexclude: ['ok', '{pattern}']\n"));
        assert!(refused.contains("line 3, column 17") && refused.contains(right), "{refused}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0usize..CREATED.len()) {
        let noise = String::from_utf8_lossy(&bytes);
        let _ = parse(&noise);
        let _ = parse(&format!("{}{noise}", &CREATED[..cut]));
        let _ = parse(&format!("{}{noise}{}", &CREATED[..cut], &CREATED[cut..]));
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "[a-c:\\-\\[\\]{}#&*!|>'\"%@`,? \n\t\\\\~<é\u{1f600}]{0,60}") {
        let _ = parse(&text);
        let _ = parse(&format!("policy_id: a\npaths: {text}\n"));
    }

    #[test]
    fn any_policy_reads_back(
        policy_id in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
        paths in proptest::collection::vec("[^\0]{1,20}", 1..4),
    ) {
        // Random paths may be the same.
        let Ok(policy) = Policy::new(policy_id, paths) else { return Ok(()) };
        prop_assert_eq!(parse(&policy.to_yaml()).unwrap(), policy);
    }
}

#[test]
fn vss_is_one_of_three_words() {
    let parse = |word: &str| parse(&format!("policy_id: p\npaths: [/x]\nvss: {word}\n"));
    for (word, mode) in [("off", VssMode::Off), ("try", VssMode::Try), ("required", VssMode::Required)] {
        assert_eq!(parse(word).unwrap().vss, Some(mode), "{word}");
        assert_eq!(mode.word(), word);
    }
    assert_eq!(parse("").unwrap().vss, None);
    for word in ["on", "true", "yes", "requird", "[try]"] {
        let error = parse(word).unwrap_err().to_string();
        assert!(error.contains("line 3") || error.contains(":3"), "{word}: {error}");
    }
    let error = parse("requird").unwrap_err().to_string();
    assert!(error.contains("vss: required"), "{error}");
}
