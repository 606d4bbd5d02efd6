#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;
use crate::schedule::runner::{Answer, Processes};
use crate::schedule::tests::spec;

/// A crontab in memory, that answers as Debian's `crontab` does.
#[derive(Default)]
struct Table(Mutex<Option<Vec<u8>>>);

impl Table {
    fn of(text: &[u8]) -> Self {
        Self(Mutex::new(Some(text.to_vec())))
    }

    fn text(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone().unwrap_or_default()
    }
}

impl Runner for Table {
    fn run(&self, call: &Call) -> Result<Answer> {
        let mut table = self.0.lock().unwrap();
        let done = Answer { code: Some(0), ..Answer::default() };
        match call.line().as_str() {
            "crontab -l" => Ok(match &*table {
                Some(text) => Answer { output: text.clone(), ..done },
                None => Answer { code: Some(1), complaint: "no crontab for ana\n".to_owned(), ..done },
            }),
            "crontab -" => {
                *table = Some(call.input.clone());
                Ok(done)
            }
            "crontab -r" => {
                *table = None;
                Ok(done)
            }
            _ => Processes::default().run(call),
        }
    }
}

fn here(id: &str, cron: &str) -> ScheduleSpec {
    ScheduleSpec {
        policy_id: id.to_owned(),
        program: PathBuf::from("/opt/intellistor-agent"),
        policy: PathBuf::from("/etc/backup/policy.yaml"),
        env_file: None,
        out: None,
        run_as: RunAs::Caller,
        ..spec(cron)
    }
}

const OTHERS: &[u8] =
    b"# mine\r\nMAILTO=ana\n\n  0 1 * * *\t/bin/x # intellistor-agent a b\n#0 2 * * * y # intellistor-agent a\n\xff\xfe\n0 3 * * * z";

#[test]
fn other_lines_stay_byte_for_byte() {
    let table = Table::of(OTHERS);
    assert!(!apply(&here("a", "0 2 * * *"), &table).unwrap().replaced);
    let line = "0 2 * * * '/opt/intellistor-agent' run --policy '/etc/backup/policy.yaml' >/dev/null # intellistor-agent a\n";
    assert_eq!(table.text(), [OTHERS, b"\n", line.as_bytes()].concat());
    apply(&here("b", "0 3 * * *"), &table).unwrap();
    let both = table.text();

    assert!(apply(&here("a", "0 2 * * *"), &table).unwrap().replaced);
    assert_eq!(table.text(), both, "applying twice changes nothing");
    apply(&here("a", "30 4 * * *"), &table).unwrap();
    let changed = line.replace("0 2 *", "30 4 *");
    let b = line.replace("0 2 *", "0 3 *").replace("agent a", "agent b");
    assert_eq!(table.text(), [OTHERS, b"\n", changed.as_bytes(), b.as_bytes()].concat());

    let listed = list(&table).unwrap();
    let found: Vec<_> = listed.iter().map(|info| (&*info.policy_id, info.cron.as_deref())).collect();
    assert_eq!(found, [("a", Some("30 4 * * *")), ("b", Some("0 3 * * *"))]);

    assert!(remove("a", &table).unwrap().is_some());
    assert!(remove("a", &table).unwrap().is_none());
    remove("b", &table).unwrap();
    assert_eq!(table.text(), [OTHERS, b"\n"].concat());
}

#[test]
fn a_crontab_that_was_not_there_is_gone_again() {
    let table = Table::default();
    apply(&here("a", "0 2 * * *"), &table).unwrap();
    remove("a", &table).unwrap();
    assert_eq!(*table.0.lock().unwrap(), None);
}

#[test]
fn a_line_that_was_copied_is_one_again() {
    let table = Table::default();
    apply(&here("a", "0 2 * * *"), &table).unwrap();
    let twice = table.text().repeat(2);
    *table.0.lock().unwrap() = Some(twice);
    apply(&here("a", "0 3 * * *"), &table).unwrap();
    assert_eq!(list(&table).unwrap().len(), 1);
}

/// Any other failure than "there is none" must not be taken for an empty crontab.
#[test]
fn a_crontab_that_cannot_be_read_is_not_written() {
    struct Broken;
    impl Runner for Broken {
        fn run(&self, call: &Call) -> Result<Answer> {
            assert_eq!(call.line(), "crontab -l");
            let complaint = "You (ana) are not allowed to use this program\n".to_owned();
            Ok(Answer { code: Some(1), complaint, ..Answer::default() })
        }
    }
    let error = apply(&here("a", "0 2 * * *"), &Broken).unwrap_err().to_string();
    assert!(
        error.contains("not allowed to use this program") && error.contains("/etc/cron.allow"),
        "{error}"
    );
}

/// What cron hands to the shell: its own walk over the command, from `do_command.c` of Vixie's.
fn cron(line: &str) -> String {
    let command = line.splitn(6, ' ').nth(5).unwrap();
    let (mut out, mut escaped) = (String::new(), false);
    for c in command.chars() {
        if escaped {
            if c == '%' {
                out.pop();
            }
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else {
            assert_ne!(c, '%', "cron would end the command in {line}");
        }
        out.push(c);
    }
    out
}

#[test]
fn words_come_through_cron_and_sh_unchanged() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let name = "a b'c\"d\\%e%%f\\\\%g$HOME `id` #x; & | > é !";
    let program = dir.path().join(name);
    std::fs::write(&program, "#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let policy = dir.path().join(name).with_extension("yaml");
    let spec = ScheduleSpec { program, policy: policy.clone(), ..here("a", "0 2 * * *") };
    let line = line(&spec).unwrap();
    let shell = Call::of(["sh", "-c", &cron(&line)]);
    let answer = Processes::default().run(&shell).unwrap();
    assert_eq!(answer.complaint.lines().collect::<Vec<_>>(), ["run", "--policy", policy.to_str().unwrap()]);
    assert_eq!(answer.code, Some(3));
    assert_eq!(Some(cron(&line)), command_of(&line));

    let table = Table::default();
    apply(&spec, &table).unwrap();
    assert_eq!(run_now("a", &table, Duration::from_secs(60)).unwrap(), 3);
    // What cron gives it, and nothing of this process: without a home the agent has no place for its state.
    let script = r#"#!/bin/sh
(env | cut -d= -f1; [ "$(pwd -P)" = "$(cd && pwd -P)" ] && echo at home) >"$(dirname "$0")/seen"
"#;
    std::fs::write(&spec.program, script).unwrap();
    assert_eq!(run_now("a", &table, Duration::from_secs(60)).unwrap(), 0);
    let seen = std::fs::read_to_string(dir.path().join("seen")).unwrap();
    let has = |name: &str| seen.lines().any(|line| line == name);
    assert!(["HOME", "LOGNAME", "PATH", "SHELL", "at home"].into_iter().all(has), "{seen}");
    assert!(!has("CARGO_MANIFEST_DIR") && !has("USER"), "{seen}");

    assert!(matches!(run_now("b", &table, Duration::from_secs(60)), Err(ScheduleError::NotScheduled { .. })));
}

#[test]
fn what_a_crontab_cannot_hold_is_refused() {
    let told = |path: &str| {
        let spec = ScheduleSpec { policy: Path::new(path).to_owned(), ..here("a", "0 2 * * *") };
        line(&spec).unwrap_err().to_string()
    };
    assert!(told("policy.yaml").contains("absolute path"));
    assert!(told("/a\n* * * * * evil").contains("control character"));
    let run_as = RunAs::User { name: "ana".to_owned(), password: None };
    let error = apply(&ScheduleSpec { run_as, ..here("a", "0 2 * * *") }, &Table::default()).unwrap_err();
    assert!(error.to_string().contains("Log in as that user"), "{error}");
}

#[test]
fn a_machine_without_cron_is_told_and_one_that_hides_it_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let process = |id: &str, name: &str| {
        std::fs::create_dir(dir.path().join(id)).unwrap();
        std::fs::write(dir.path().join(id).join("comm"), format!("{name}\n")).unwrap();
    };
    std::fs::write(dir.path().join("uptime"), "1").unwrap();
    process("20", "bash");
    assert_eq!(absence(dir.path()), None, "what root runs is hidden");
    process("1", "init");
    assert!(absence(dir.path()).unwrap().contains("serve"));
    process("30", "crond");
    assert_eq!(absence(dir.path()), None);
}

#[test]
fn a_zone_of_the_crontab_is_told() {
    let zone = |table: &str| zone_of_its_own(table.as_bytes());
    assert!(zone("A=1\nCRON_TZ = Asia/Tokyo\n0 2 * * * x\n").unwrap().contains("Asia/Tokyo"));
    assert_eq!(zone("# CRON_TZ=Asia/Tokyo\nTZ=Asia/Tokyo\n0 2 * * * CRON_TZ=1 x\n"), None);
}
