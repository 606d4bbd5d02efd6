#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;
#[cfg(unix)]
use std::time::Duration;

use super::*;
use crate::cron::Cron;

/// A schedule on Windows, as tests of its files want it.
pub(crate) fn spec(cron: &str) -> ScheduleSpec {
    ScheduleSpec {
        policy_id: "mvp-default".to_owned(),
        cron: Cron::parse(cron).unwrap(),
        program: PathBuf::from(r"C:\Program Files\Intellistor\intellistor-agent.exe"),
        policy: PathBuf::from(r"C:\Backup\policy.yaml"),
        env_file: Some(PathBuf::from(r"C:\Backup\.env")),
        out: Some(PathBuf::from(r"D:\Backup local")),
        metrics_dir: None,
        weak_passphrase: false,
        run_as: RunAs::System,
    }
}

#[test]
fn a_password_is_shown_by_nothing() {
    let run_as = RunAs::User { name: "ana".to_owned(), password: Some(Password::new("s3cret".to_owned())) };
    let shown = format!("{run_as:?}");
    assert!(shown.contains("ana") && !shown.contains("s3cret"), "{shown}");
}

#[test]
fn a_policy_that_means_something_else_elsewhere_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy.yaml");
    let check = |policy_id: &str, path: &str| {
        std::fs::write(&file, format!("policy_id: {policy_id}\npaths: ['{path}']\n")).unwrap();
        let spec = ScheduleSpec { policy: file.clone(), ..spec("0 2 * * *") };
        spec.check().map_err(|error| error.to_string())
    };
    let absolute = dir.path().display().to_string();
    assert_eq!(check("mvp-default", &absolute), Ok(()));
    assert!(check("mvp-default", ".").unwrap_err().contains("Write it in full"));
    assert!(check("other", &absolute).unwrap_err().contains("it is the file of policy other"));
    std::fs::remove_file(&file).unwrap();
    let missing = ScheduleSpec { policy: file, ..spec("0 2 * * *") }.check().unwrap_err();
    assert!(matches!(missing, ScheduleError::Policy(_)));
    let bad = ScheduleSpec { policy_id: "../x".to_owned(), ..spec("0 2 * * *") }.check().unwrap_err();
    assert!(matches!(bad, ScheduleError::BadId { .. }));
}

#[cfg(unix)]
mod systemd_backend {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::schedule::systemd::{Manager, Systemd};

    /// A scheduler whose `systemctl` writes down its arguments and answers as one that works.
    fn scheduler(dir: &Path) -> Scheduler {
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$*\" >> {}/calls\ncase \"$*\" in\n\
             *ActiveState*) echo ActiveState=active;;\n\
             *ExecMainStatus*) echo ExecMainStatus=3; echo ExecMainExitTimestampMonotonic=17;;\nesac\n",
            dir.display()
        );
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("systemctl"), script).unwrap();
        std::fs::set_permissions(bin.join("systemctl"), std::fs::Permissions::from_mode(0o755)).unwrap();
        let search_path = Some(format!("{}:/usr/bin:/bin", bin.display()).into());
        let mut systemd = Systemd {
            system: Manager::system(dir.join("system")),
            user: Manager::user(dir.join("user")),
            state_folder: dir.join("state"),
        };
        (systemd.system.search_path, systemd.user.search_path) = (search_path.clone(), search_path);
        Scheduler { backend: Box::new(systemd) }
    }

    fn spec_in(dir: &Path, run_as: RunAs) -> ScheduleSpec {
        let policy = dir.join("policy.yaml");
        std::fs::write(&policy, "policy_id: mvp-default\npaths: ['/home']\n").unwrap();
        let (program, out) = (dir.join("agent"), None);
        ScheduleSpec { program, policy, env_file: Some(dir.join(".env")), out, run_as, ..spec("0 2 * * *") }
    }

    fn units(dir: &Path) -> Vec<String> {
        let mut all: Vec<String> = ["system", "user"]
            .iter()
            .flat_map(|scope| std::fs::read_dir(dir.join(scope)).into_iter().flatten())
            .map(|entry| entry.unwrap().path().strip_prefix(dir).unwrap().display().to_string())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn one_schedule_is_made_changed_run_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let scheduler = scheduler(dir);
        let first = scheduler.apply(&spec_in(dir, RunAs::System)).unwrap();
        assert!(!first.replaced && first.notes.is_empty());
        assert_eq!((first.schedule.backend, first.schedule.last_result), (BackendKind::Systemd, Some(3)));
        assert_eq!(first.next_runs.len(), 5);
        assert_eq!(first.schedule.next_run.as_deref(), Some(&*first.next_runs[0]));

        let mut changed = spec_in(dir, RunAs::System);
        changed.cron = Cron::parse("30 4 * * 1-5").unwrap();
        assert!(scheduler.apply(&changed).unwrap().replaced);
        let listed = scheduler.list().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].cron.as_deref(), Some("30 4 * * 1-5"));
        assert_eq!(
            scheduler.run_now("mvp-default", Duration::from_secs(60)).unwrap(),
            TestRun { policy_id: "mvp-default".to_owned(), exit_code: 3 }
        );

        let removed = scheduler.remove("mvp-default").unwrap();
        assert!(removed.removed && removed.files.len() == 4 && removed.notes.is_empty());
        assert!(units(dir).is_empty(), "{:?}", units(dir));
        assert!(!scheduler.remove("mvp-default").unwrap().removed);
        assert!(scheduler.list().unwrap().is_empty());
        let error = scheduler.run_now("mvp-default", Duration::from_secs(60)).unwrap_err();
        assert!(matches!(error, ScheduleError::NotScheduled { .. }));

        let calls = std::fs::read_to_string(dir.join("calls")).unwrap();
        let is_change = |line: &&str| !line.starts_with("show") && *line != "--version";
        let changes: Vec<&str> = calls.lines().filter(is_change).collect();
        let timer = "intellistor-agent-mvp-default.timer";
        let both = format!("{timer} intellistor-agent-mvp-default:boot.timer");
        let apply = ["daemon-reload".to_owned(), format!("enable {both}"), format!("restart {timer}")];
        let rest = [
            "reset-failed intellistor-agent-mvp-default.service".to_owned(),
            "start --wait intellistor-agent-mvp-default.service".to_owned(),
            format!("disable --now {both}"),
            format!("clean --what=state {timer}"),
            "daemon-reload".to_owned(),
        ];
        assert_eq!(changes, [&apply[..], &apply[..], &rest[..]].concat());
    }

    #[test]
    fn an_old_systemd_gets_units_that_it_accepts_and_an_old_schedule_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let scheduler = scheduler(dir);
        let script = std::fs::read_to_string(dir.join("bin/systemctl")).unwrap();
        let old = script.replace("case", "[ \"$1\" = --version ] && echo 'systemd 239 (239-82.el8)'\ncase");
        std::fs::write(dir.join("bin/systemctl"), old).unwrap();
        let applied = scheduler.apply(&spec_in(dir, RunAs::System)).unwrap();
        assert!(applied.notes[0].contains("older than 244"), "{applied:?}");
        let service = dir.join("system/intellistor-agent-mvp-default.service");
        assert!(!std::fs::read_to_string(service).unwrap().contains("Restart="));
        for unit in units(dir).iter().filter(|unit| unit.contains(":boot")) {
            std::fs::remove_file(dir.join(unit)).unwrap();
        }
        assert_eq!(scheduler.remove("mvp-default").unwrap().files.len(), 2);
        let calls = std::fs::read_to_string(dir.join("calls")).unwrap();
        assert!(calls.contains("disable --now intellistor-agent-mvp-default.timer\n"), "{calls}");
    }

    #[test]
    fn a_schedule_moves_between_the_system_and_the_user() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let scheduler = scheduler(dir);
        scheduler.apply(&spec_in(dir, RunAs::System)).unwrap();
        let moved = scheduler.apply(&spec_in(dir, RunAs::Caller)).unwrap();
        assert!(moved.replaced && moved.notes[0].contains("enable-linger"), "{moved:?}");
        let name = "user/intellistor-agent-mvp-default";
        assert_eq!(
            units(dir),
            [".service", ".timer", ":boot.service", ":boot.timer"].map(|kind| format!("{name}{kind}"))
        );
        let calls = std::fs::read_to_string(dir.join("calls")).unwrap();
        assert!(calls.contains("--user enable"), "{calls}");
    }

    #[test]
    fn data_is_flat_json() {
        let dir = tempfile::tempdir().unwrap();
        let applied = scheduler(dir.path()).apply(&spec_in(dir.path(), RunAs::System)).unwrap();
        let json = serde_json::to_value(&applied).unwrap();
        assert_eq!((&json["kept"], &json["cron"]), (&"systemd".into(), &"0 2 * * *".into()));
        assert_eq!(json["next_runs"].as_array().unwrap().len(), 5);
    }

    #[test]
    fn a_refusal_of_systemctl_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let scheduler = scheduler(dir.path());
        let script = "#!/bin/sh\necho 'Access denied' >&2\nexit 4\n";
        std::fs::write(dir.path().join("bin/systemctl"), script).unwrap();
        let error = scheduler.apply(&spec_in(dir.path(), RunAs::System)).unwrap_err().to_string();
        assert!(
            error.contains("`systemctl --version` failed: Access denied") && error.contains("sudo"),
            "{error}"
        );
        assert!(units(dir.path()).is_empty(), "a schedule that was not made is not listed");
    }

    #[test]
    fn what_was_left_in_the_other_place_is_removed_too() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let scheduler = scheduler(dir);
        scheduler.apply(&spec_in(dir, RunAs::Caller)).unwrap();
        std::fs::create_dir_all(dir.join("system")).unwrap();
        for unit in units(dir) {
            let left = unit.replace("user/", "system/");
            std::fs::copy(dir.join(unit), dir.join(left)).unwrap();
        }
        let removed = scheduler.remove("mvp-default").unwrap();
        assert_eq!((removed.removed, removed.files.len()), (true, 8));
        assert!(units(dir).is_empty(), "{:?}", units(dir));
    }

    #[test]
    fn the_agents_folder_is_made_for_its_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        scheduler(dir.path()).apply(&spec_in(dir.path(), RunAs::System)).unwrap();
        let mode = std::fs::metadata(dir.path().join("state")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
