#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::table::{command_of, lines};
use super::*;
use crate::schedule::tests::spec;

/// Keeps a crontab in a file beside it, and answers as Debian's does.
const CRONTAB: &str = r#"#!/bin/sh
table=$(dirname "$0")/table
case $1 in
    -l) [ -e "$table" ] || { echo "no crontab for ana" >&2; exit 1; }; exec cat "$table" ;;
    -r) exec rm "$table" ;;
    -) exec cat >"$table" ;;
esac
"#;

/// A crontab of this test's own.
struct Table {
    dir: TempDir,
    crontab: Crontab,
}

impl Table {
    fn with_program(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("crontab"), script).unwrap();
        executable(&dir.path().join("crontab"));
        let search_path = Some(format!("{}:/usr/bin:/bin", dir.path().display()).into());
        Self { dir, crontab: Crontab { search_path, ..Crontab::default() } }
    }

    fn new() -> Self {
        Self::with_program(CRONTAB)
    }

    fn of(text: &[u8]) -> Self {
        let table = Self::new();
        std::fs::write(table.file(), text).unwrap();
        table
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("table")
    }

    fn text(&self) -> Vec<u8> {
        std::fs::read(self.file()).unwrap_or_default()
    }
}

fn executable(file: &Path) {
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
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
    assert!(!table.crontab.apply(&here("a", "0 2 * * *")).unwrap().replaced);
    let line = "0 2 * * * '/opt/intellistor-agent' run --policy '/etc/backup/policy.yaml' >/dev/null # intellistor-agent a\n\
                @reboot sleep 300 && '/opt/intellistor-agent' run --policy '/etc/backup/policy.yaml' --only-unfinished >/dev/null # intellistor-agent a\n";
    assert_eq!(table.text(), [OTHERS, b"\n", line.as_bytes()].concat());
    table.crontab.apply(&here("b", "0 3 * * *")).unwrap();
    let both = table.text();

    assert!(table.crontab.apply(&here("a", "0 2 * * *")).unwrap().replaced);
    assert_eq!(table.text(), both, "applying twice changes nothing");
    table.crontab.apply(&here("a", "30 4 * * *")).unwrap();
    let changed = line.replace("0 2 *", "30 4 *");
    let b = line.replace("0 2 *", "0 3 *").replace("agent a\n", "agent b\n");
    assert_eq!(table.text(), [OTHERS, b"\n", changed.as_bytes(), b.as_bytes()].concat());

    let listed = table.crontab.list().unwrap();
    let found: Vec<_> = listed.iter().map(|info| (&*info.policy_id, info.cron.as_deref())).collect();
    assert_eq!(found, [("a", Some("30 4 * * *")), ("b", Some("0 3 * * *"))]);

    assert!(table.crontab.remove("a").unwrap().is_some());
    assert!(table.crontab.remove("a").unwrap().is_none());
    table.crontab.remove("b").unwrap();
    assert_eq!(table.text(), [OTHERS, b"\n"].concat());
}

#[test]
fn a_crontab_that_was_not_there_is_gone_again() {
    let table = Table::new();
    table.crontab.apply(&here("a", "0 2 * * *")).unwrap();
    table.crontab.remove("a").unwrap();
    assert!(!table.file().exists());
}

#[test]
fn a_line_that_was_copied_is_one_again() {
    let table = Table::new();
    table.crontab.apply(&here("a", "0 2 * * *")).unwrap();
    let twice = table.text().repeat(2);
    std::fs::write(table.file(), twice).unwrap();
    table.crontab.apply(&here("a", "0 3 * * *")).unwrap();
    assert_eq!(table.crontab.list().unwrap().len(), 1);
}

/// Any other failure than "there is none" must not be taken for an empty crontab.
#[test]
fn a_crontab_that_cannot_be_read_is_not_written() {
    let script = "#!/bin/sh\n[ \"$1\" = -l ] || touch \"$(dirname \"$0\")/table\"\n\
                  echo 'You (ana) are not allowed to use this program' >&2\nexit 1\n";
    let table = Table::with_program(script);
    let error = table.crontab.apply(&here("a", "0 2 * * *")).unwrap_err().to_string();
    assert!(!table.file().exists(), "it was written");
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
    let dir = tempfile::tempdir().unwrap();
    let name = "a b'c\"d\\%e%%f\\\\%g$HOME `id` #x; & | > é !";
    let program = dir.path().join(name);
    std::fs::write(&program, "#!/bin/sh\nfor word; do printf '%s\\n' \"$word\"; done >&2\nexit 3\n").unwrap();
    executable(&program);
    let policy = dir.path().join(name).with_extension("yaml");
    let spec = ScheduleSpec { program, policy: policy.clone(), ..here("a", "0 2 * * *") };
    let both = lines(&spec).unwrap();
    let (line, boot) = both.split_once('\n').unwrap();
    assert!(boot.starts_with("@reboot sleep 300 && "), "{boot}");
    let answer = SystemCommand::new(["sh", "-c", &cron(line)]).run().unwrap();
    assert_eq!(answer.stderr.lines().collect::<Vec<_>>(), ["run", "--policy", policy.to_str().unwrap()]);
    assert_eq!(answer.code, Some(3));
    assert_eq!(Some(cron(line)), command_of(line));

    let table = Table::new();
    table.crontab.apply(&spec).unwrap();
    assert_eq!(table.crontab.run_now("a", Duration::from_secs(60)).unwrap(), 3);
    // What cron gives it, and nothing of this process: without a home the agent has no place for its state.
    let script = r#"#!/bin/sh
(env | cut -d= -f1; [ "$(pwd -P)" = "$(cd && pwd -P)" ] && echo at home) >"$(dirname "$0")/seen"
"#;
    std::fs::write(&spec.program, script).unwrap();
    assert_eq!(table.crontab.run_now("a", Duration::from_secs(60)).unwrap(), 0);
    let seen = std::fs::read_to_string(dir.path().join("seen")).unwrap();
    let has = |name: &str| seen.lines().any(|line| line == name);
    assert!(["HOME", "LOGNAME", "PATH", "SHELL", "at home"].into_iter().all(has), "{seen}");
    assert!(!has("CARGO_MANIFEST_DIR") && !has("USER"), "{seen}");

    assert!(matches!(
        table.crontab.run_now("b", Duration::from_secs(60)),
        Err(ScheduleError::NotScheduled { .. })
    ));
}

#[test]
fn what_a_crontab_cannot_hold_is_refused() {
    let refused = |path: &str| {
        let spec = ScheduleSpec { policy: Path::new(path).to_owned(), ..here("a", "0 2 * * *") };
        lines(&spec).unwrap_err().to_string()
    };
    assert!(refused("policy.yaml").contains("absolute path"));
    assert!(refused("/a\n* * * * * evil").contains("control character"));
    let run_as = RunAs::User { name: "ana".to_owned(), password: None };
    let error = Table::new().crontab.apply(&ScheduleSpec { run_as, ..here("a", "0 2 * * *") }).unwrap_err();
    assert!(error.to_string().contains("Log in as that user"), "{error}");
}

#[test]
fn a_machine_without_cron_is_reported_unless_it_hides_processes() {
    let dir = tempfile::tempdir().unwrap();
    let process = |id: &str, name: &str| {
        std::fs::create_dir(dir.path().join(id)).unwrap();
        std::fs::write(dir.path().join(id).join("comm"), format!("{name}\n")).unwrap();
    };
    let mut table = Table::new();
    table.crontab.processes = dir.path().to_owned();
    let absence = || {
        let notes = table.crontab.apply(&here("a", "0 2 * * *")).unwrap().notes;
        notes.into_iter().find(|note| note.contains("no cron is running"))
    };
    std::fs::write(dir.path().join("uptime"), "1").unwrap();
    process("20", "bash");
    assert_eq!(absence(), None, "root's processes are hidden");
    process("1", "init");
    assert!(absence().unwrap().contains("serve"));
    process("30", "crond");
    assert_eq!(absence(), None);
}

#[test]
fn a_zone_of_the_crontab_is_found() {
    let zone = |table: &str| cron_tz(table.as_bytes());
    assert_eq!(zone("A=1\nCRON_TZ = Asia/Tokyo\n0 2 * * * x\n").as_deref(), Some("Asia/Tokyo"));
    assert_eq!(zone("# CRON_TZ=Asia/Tokyo\nTZ=Asia/Tokyo\n0 2 * * * CRON_TZ=1 x\n"), None);
}
