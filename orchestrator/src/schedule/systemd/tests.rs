#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::process::Command;

use chrono::{NaiveDateTime, Utc};
use proptest::prelude::*;

use super::units::{Occasion, boot_timer_unit, on_calendar, service_unit, timer_unit};
use super::*;
use crate::cron::Cron;
use crate::schedule::task_scheduler::triggers::tests::expressions;
use crate::schedule::tests::spec;

const MISSING: &str = "systemd-analyze is missing: `apt-get install systemd` (it needs no running systemd)";

/// When systemd says that the expressions elapse, after `from`: the first of each, together.
fn systemd_says(calendars: &[String], from: NaiveDateTime, count: usize) -> BTreeSet<NaiveDateTime> {
    let times = |calendar: &String| {
        let output = Command::new("systemd-analyze")
            .env("TZ", "UTC")
            .env("LC_ALL", "C")
            .args([
                "calendar",
                &format!("--iterations={count}"),
                &format!("--base-time={from} UTC"),
                calendar,
            ])
            .output()
            .expect(MISSING);
        assert!(output.status.success(), "{calendar}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let found: Vec<NaiveDateTime> = text
            .lines()
            .filter_map(|line| {
                let (label, value) = line.trim().split_once(": ")?;
                let is_time =
                    label == "Next elapse" || label.starts_with("Iter") || label.starts_with("Iteration");
                is_time
                    .then(|| NaiveDateTime::parse_from_str(value.trim(), "%a %Y-%m-%d %H:%M:%S UTC").unwrap())
            })
            .collect();
        assert!(!found.is_empty(), "{calendar}: {text}");
        found
    };
    calendars.iter().flat_map(times).collect()
}

fn agrees(cron: &Cron, count: usize) {
    let from = chrono::NaiveDate::from_ymd_opt(2027, 11, 23).unwrap().and_hms_opt(10, 7, 0).unwrap();
    let theirs = systemd_says(&on_calendar(cron), from, count);
    let next = |time: &chrono::DateTime<Utc>| cron.next_after(*time);
    let ours: Vec<NaiveDateTime> =
        std::iter::successors(next(&from.and_utc()), next).take(count).map(|time| time.naive_utc()).collect();
    let theirs: Vec<NaiveDateTime> = theirs.into_iter().take(count).collect();
    assert_eq!(theirs, ours, "{cron} as {:?}", on_calendar(cron));
}

#[test]
fn systemd_computes_the_same_times() {
    for text in [
        "0 2 * * *",
        "*/15 * * * *",
        "* * * * *",
        "@hourly",
        "@weekly",
        "@monthly",
        "@yearly",
        "30 8-18/2 * * 1-5",
        "0 6,22 * * 0,6",
        "0 2 31 * *",
        "0 2 29 2 *",
        "0 2 * 6-8 *",
        "0 2 * 3 1",
        "0 2 13 * 5",
        "0 2 30 2 1",
        "0 2 31 4,6,9,11 0-6/3",
        "5 0 1,15 1,7 2-4",
        "1-3,7,50 3 */10 * *",
    ] {
        agrees(&Cron::parse(text).unwrap(), 24);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn systemd_computes_the_same_times_for_any_expression(cron in expressions()) {
        agrees(&cron, 12);
    }
}

#[test]
fn a_day_of_the_month_or_a_weekday_takes_two_lines() {
    let lines = on_calendar(&Cron::parse("0 2 13 * 5").unwrap());
    assert_eq!(lines, ["*-*-13 2:0:00", "Fri *-*-* 2:0:00"]);
    let lines = on_calendar(&Cron::parse("0 2 30,31 2 5").unwrap());
    assert_eq!(lines, ["Fri *-2-* 2:0:00"], "no February has such a day");
}

fn here(dir: &Path) -> ScheduleSpec {
    let name = "a b'c\"d\\e%f$g;#é ${HOME} %n\\x41";
    let program = dir.join("a b%f$g;#é ${HOME} %n");
    std::fs::copy("/bin/true", &program).unwrap();
    ScheduleSpec {
        policy: dir.join(name).join("policy.yaml"),
        env_file: Some(dir.join(format!("{name}.env"))),
        out: Some(dir.join("ends with \\")),
        program,
        ..spec("0 2 13 * 5")
    }
}

#[test]
fn systemd_accepts_the_units_and_finds_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = here(dir.path());
    let folder = dir.path().join("state 100%");
    std::fs::create_dir(&folder).unwrap();
    // The tool takes what is behind a colon for an alias, so each pair has a folder of its own.
    let pairs = ["scheduled", "boot"].map(|name| dir.path().join(name));
    pairs.iter().for_each(|folder| std::fs::create_dir(folder).unwrap());
    let verify = |spec: &ScheduleSpec| {
        let [scheduled, boot] = &pairs;
        let unit = |occasion| service_unit(spec, &folder, occasion, true).unwrap();
        std::fs::write(scheduled.join("t.service"), unit(Occasion::Scheduled)).unwrap();
        std::fs::write(scheduled.join("t.timer"), timer_unit(spec)).unwrap();
        std::fs::write(boot.join("t.service"), unit(Occasion::Boot)).unwrap();
        std::fs::write(boot.join("t.timer"), boot_timer_unit(spec)).unwrap();
        let verified = pairs.each_ref().map(|folder| {
            let units = ["t.service", "t.timer"].map(|name| folder.join(name));
            let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(units).output();
            let output = output.expect(MISSING);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // Other units of the machine may be faulty; ours may not.
            let ours = |line: &&str| ["/t.", "t.service", "t.timer"].iter().any(|name| line.contains(name));
            (output.status.success(), said.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>())
        });
        (verified.iter().all(|(passed, _)| *passed), verified.map(|(_, said)| said).concat())
    };
    assert_eq!(verify(&spec), (true, Vec::new()));
    spec.program = dir.path().join("no such program");
    let (passed, said) = verify(&spec);
    assert!(
        !passed && said.iter().any(|line| line.contains("not executable")),
        "the check can fail: {said:?}"
    );
}

/// Words as systemd.service(5) splits them: quotes, C escapes, then specifiers, then variables.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut chars) = (Vec::new(), line.chars());
    while let Some(c) = chars.next() {
        match c {
            ' ' => {}
            '"' => {
                let mut word = String::new();
                loop {
                    match chars.next().unwrap() {
                        '"' => break,
                        '\\' => word.push(match chars.next().unwrap() {
                            c @ ('\\' | '"') => c,
                            c => panic!("an escape \\{c} in {line}"),
                        }),
                        c => word.push(c),
                    }
                }
                words.push(word);
            }
            c => words.push(std::iter::once(c).chain(chars.by_ref().take_while(|c| *c != ' ')).collect()),
        }
    }
    let undouble = |word: &str, c: char| {
        let double = format!("{c}{c}");
        assert_eq!(word.replace(&double, "").matches(c).count(), 0, "a single {c} in {word}");
        word.replace(&double, &c.to_string())
    };
    let plain: Vec<String> = words.iter().map(|word| undouble(word, '%')).collect();
    // The program's name is no place for variables.
    plain.iter().take(1).cloned().chain(plain.iter().skip(1).map(|word| undouble(word, '$'))).collect()
}

#[test]
fn words_come_through_systemd_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let spec = ScheduleSpec { weak_passphrase: true, ..here(dir.path()) };
    let unit = service_unit(&spec, dir.path(), Occasion::Scheduled, true).unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let paths = [&spec.policy, spec.env_file.as_ref().unwrap(), spec.out.as_ref().unwrap()];
    let [policy, env_file, out] = paths.map(|path| path.to_str().unwrap());
    let program = spec.program.to_str().unwrap();
    assert_eq!(
        words(line),
        [program, "run", "--policy", policy, "--env-file", env_file, "--out", out, "--weak-passphrase"]
    );
}

#[test]
fn every_setting_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let spec = here(dir.path());
    let service = service_unit(&spec, Path::new("/var/lib/x y\\"), Occasion::Scheduled, true).unwrap();
    let timer = timer_unit(&spec);
    for line in [
        "Type=oneshot",
        "WorkingDirectory=/var/lib/x y\\/",
        "SuccessExitStatus=3",
        "Restart=on-failure",
        "RestartSec=10min",
        "RestartPreventExitStatus=2 4 5",
        "StartLimitIntervalSec=82800s",
        "StartLimitBurst=4",
        "TimeoutStartSec=72h",
        "KillSignal=SIGINT",
        "Nice=10",
        "IOSchedulingClass=idle",
        "After=network-online.target",
    ] {
        assert!(service.lines().any(|found| found == line), "{line} in {service}");
    }
    for line in [
        "# Schedule: 0 2 13 * 5",
        "OnCalendar=*-*-13 2:0:00",
        "OnCalendar=Fri *-*-* 2:0:00",
        "Persistent=true",
        "RandomizedDelaySec=0",
        "AccuracySec=1s",
        "WantedBy=timers.target",
    ] {
        assert!(timer.lines().any(|found| found == line), "{line} in {timer}");
    }
}

#[test]
fn accounts_and_paths_that_a_unit_cannot_hold_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = here(dir.path());
    let unit = |spec: &ScheduleSpec| {
        service_unit(spec, dir.path(), Occasion::Scheduled, true).map_err(|error| error.to_string())
    };
    let user = |name: &str| RunAs::User { name: name.to_owned(), password: None };
    spec.run_as = user("ana");
    let of_ana = unit(&spec).unwrap();
    assert!(of_ana.contains("\nUser=ana\n"));
    assert!(!of_ana.contains("WorkingDirectory"), "she may not enter the agent's folder");
    spec.run_as = user("ana\nExecStart=/bin/sh");
    assert!(unit(&spec).unwrap_err().contains("not the name of an account"));
    spec.run_as = RunAs::Caller;
    assert!(!unit(&spec).unwrap().contains("network-online"));
    spec.program = dir.path().join("a'b");
    assert!(unit(&spec).unwrap_err().contains("a quote or a backslash"));
    spec = here(dir.path());
    spec.policy = PathBuf::from("policy.yaml");
    assert!(unit(&spec).unwrap_err().contains("absolute path"));
    spec.policy = PathBuf::from("/a\nExecStart=/bin/sh");
    assert!(unit(&spec).unwrap_err().contains("control character"));
}

#[test]
fn a_run_is_tried_again_where_its_next_start_is_far_away() {
    let dir = tempfile::tempdir().unwrap();
    let limit = |cron: &str, can_restart| {
        let spec = ScheduleSpec { cron: Cron::parse(cron).unwrap(), ..here(dir.path()) };
        let unit = service_unit(&spec, dir.path(), Occasion::Scheduled, can_restart).unwrap();
        assert_eq!(unit.contains("Restart=on-failure"), unit.contains("StartLimitBurst=4"), "{unit}");
        unit.lines().find_map(|line| line.strip_prefix("StartLimitIntervalSec=").map(str::to_owned))
    };
    for (cron, within) in [
        ("0 2 * * *", Some("82800s")),
        ("0 2 * * 1", Some("82800s")),
        ("0 2 1 1 *", Some("82800s")),
        ("0 */6 * * *", Some("18000s")),
        ("0 8,10 * * *", Some("3600s")),
        ("0 8,9 * * *", None),
        ("*/15 * * * *", None),
        ("@hourly", None),
    ] {
        assert_eq!(limit(cron, true).as_deref(), within, "{cron}");
    }
    assert_eq!(limit("0 2 * * *", false), None, "a systemd that refuses it");
}

#[test]
fn what_the_stop_of_the_machine_interrupted_is_resumed_after_its_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = ScheduleSpec { cron: Cron::parse("@hourly").unwrap(), ..here(dir.path()) };
    let service = service_unit(&spec, dir.path(), Occasion::Boot, true).unwrap();
    let start = service.lines().find(|line| line.starts_with("ExecStart=")).unwrap();
    assert!(start.ends_with(" --only-unfinished"), "{start}");
    for line in ["SuccessExitStatus=3 5", "Restart=on-failure"] {
        assert!(service.lines().any(|found| found == line), "{line} in {service}");
    }
    assert!(!service.contains("[Install]"), "the start of the machine would wait for it");
    assert!(boot_timer_unit(&spec).contains("OnBootSec=5min"));
    spec.run_as = RunAs::Caller;
    assert!(boot_timer_unit(&spec).contains("OnStartupSec=5min"));
}
