use std::io::Write as _;
use std::sync::Barrier;
use std::thread;

use tempfile::TempDir;
use tracing::subscriber::with_default;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::console::{self, Format, Verbosity};
use crate::run_log::{Follow, layer};

const RUN: &str = "20261124T020000Z";

fn room() -> (TempDir, PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("logs").join("nightly");
    (room, folder)
}

/// Everything on: the logs, and a console as quiet as it gets.
fn subscriber() -> Dispatch {
    let console = console::layer(Verbosity::Quiet, Format::Human, None, io::sink).unwrap();
    tracing_subscriber::registry().with(layer()).with(console).into()
}

fn in_run(log: &RunLog, events: impl FnOnce()) {
    dispatcher::with_default(&subscriber(), || log.span().in_scope(events));
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The lines without their times, which are checked.
fn lines(log: &RunLog) -> Vec<String> {
    let logged = text(log.path());
    assert_eq!(logged, text(log.last_path()), "last.log is a copy");
    assert!(logged.is_empty() || logged.ends_with('\n'));
    logged.lines().map(|line| untimed(line).to_owned()).collect()
}

fn untimed(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!((time.len(), &time[10..11], &time[19..20], &time[23..]), (24, "T", ".", "Z"), "{line}");
    chrono::DateTime::parse_from_rfc3339(time).unwrap();
    rest
}

#[test]
fn a_line_is_time_level_message_fields_and_trace() {
    let (_room, folder) = room();
    let log = RunLog::open(&folder, RUN).unwrap();
    in_run(&log, || {
        tracing::info!(target: "intellistor_actors::backup::uploader", part = 12, bytes = 8_391_203_u64, "part stored");
        log.set_trace_id("4bf92f3577b34da6a3ce929d0e0e4736");
        tracing::error!(target: "intellistor", path = "a b", "gone");
    });
    assert_eq!(
        lines(&log),
        [
            "INFO  part stored part=12 bytes=8391203",
            "ERROR gone path=\"a b\" trace=4bf92f3577b34da6a3ce929d0e0e4736"
        ]
    );
    assert_eq!(log.path(), folder.join("run_20261124T020000Z.log"));
    assert_eq!(log.last_path(), folder.join("last.log"));
    assert_eq!(log.write_failure(), None);
    log.sync().unwrap();
}

#[test]
fn no_value_forges_a_line() {
    let (_room, folder) = room();
    let log = RunLog::open(&folder, RUN).unwrap();
    let hostile = "x\n2026-11-24T02:00:00.123Z INFO  forged\r\x1b[31m\u{202e}\u{2028}";
    log.set_trace_id(hostile);
    in_run(&log, || {
        tracing::warn!(target: "intellistor", shown = %hostile, text = hostile, debug = ?hostile, "skipped {hostile}");
    });
    let logged = lines(&log);
    assert_eq!(logged.len(), 1, "{logged:?}");
    assert!(
        !logged[0].chars().any(|c| c.is_control() || ('\u{2028}'..='\u{202e}').contains(&c)),
        "{logged:?}"
    );
}

#[test]
fn a_log_has_its_own_filter() {
    let (_room, folder) = room();
    let log = RunLog::open(&folder, RUN).unwrap();
    let chatter = || {
        tracing::info!(target: "hyper", "theirs");
        tracing::warn!(target: "hyper", "theirs");
        tracing::debug!(target: "intellistor_actors::backup::scanner", "ours");
        tracing::info!(target: "intellistor_actors::backup::scanner", "ours");
    };
    in_run(&log, chatter);
    assert_eq!(lines(&log), ["WARN  theirs", "INFO  ours"]);

    // Nor does the log add to the console.
    let page = tempfile::NamedTempFile::new().unwrap();
    let written = page.reopen().unwrap();
    let console = console::layer(Verbosity::Verbose, Format::Human, None, written).unwrap();
    with_default(tracing_subscriber::registry().with(Some(layer())).with(console), || {
        log.span().in_scope(chatter)
    });
    assert_eq!(lines(&log).len(), 4);
    let shown = text(page.path());
    let shown: Vec<_> = shown.lines().map(|line| line.split_once("] ").unwrap().1).collect();
    assert_eq!(shown, ["warning: theirs in run", "info: ours in run"]);

    // A program that keeps no logs.
    let console = console::layer(Verbosity::Verbose, Format::Human, None, io::sink).unwrap();
    let none = false.then(layer);
    with_default(tracing_subscriber::registry().with(none).with(console), || log.span().in_scope(chatter));
    assert_eq!(lines(&log).len(), 4);
}

#[test]
fn without_logs_the_console_is_as_it_was() {
    let page = tempfile::NamedTempFile::new().unwrap();
    let console = console::layer(Verbosity::Normal, Format::Human, None, page.reopen().unwrap()).unwrap();
    let none = false.then(layer);
    with_default(tracing_subscriber::registry().with(none).with(console), || {
        tracing::warn!(target: "intellistor", "logged");
        tracing::info!(target: "intellistor", "not logged");
    });
    assert_eq!(text(page.path()), "warning: logged\n");
}

#[test]
fn two_runs_in_many_threads_do_not_mix() {
    let (_room, folder) = room();
    let logs = ["a", "b"].map(|policy| RunLog::open(&folder.join(policy), RUN).unwrap());
    let dispatch = subscriber();
    let together = Barrier::new(8);
    dispatcher::with_default(&dispatch, || {
        let spans = [logs[0].span(), logs[1].span()];
        tracing::error!(target: "intellistor", "outside");
        thread::scope(|threads| {
            for number in 0..8 {
                let (span, together, dispatch) = (&spans[number % 2], &together, &dispatch);
                threads.spawn(move || {
                    dispatcher::with_default(dispatch, || {
                        // As an actor does: a span of its own, below the one that came with a message.
                        let stage = tracing::trace_span!(target: "intellistor_actors", parent: span, "stage");
                        let theirs = stage.in_scope(|| tracing::trace_span!(target: "hyper", "request"));
                        together.wait();
                        for event in 0..50 {
                            let run = number % 2;
                            tracing::info!(target: "intellistor", parent: &stage, run, number, event, "one");
                            stage.in_scope(|| {
                                let _theirs = theirs.enter();
                                tracing::warn!(target: "hyper", run, number, event, "two");
                            });
                        }
                        tracing::error!(target: "intellistor", "outside");
                    });
                });
            }
        });
    });
    for (run, log) in logs.iter().enumerate() {
        let logged = lines(log);
        assert_eq!(logged.len(), 4 * 50 * 2);
        assert!(logged.iter().all(|line| line.contains(&format!(" run={run} "))), "{logged:?}");
        let logged = text(log.path());
        assert!(logged.lines().is_sorted_by_key(|line| &line[..24]));
    }
}

#[test]
fn the_inner_of_two_runs_gets_the_event() {
    let (_room, folder) = room();
    let logs = ["a", "b"].map(|policy| RunLog::open(&folder.join(policy), RUN).unwrap());
    in_run(&logs[0], || logs[1].span().in_scope(|| tracing::info!(target: "intellistor", "logged")));
    assert!(lines(&logs[0]).is_empty());
    assert_eq!(lines(&logs[1]), ["INFO  logged"]);
}

#[test]
#[cfg_attr(windows, ignore = "Wine 8 does not replace a file that is open; Windows does, from 10 on")]
fn a_resumed_run_appends_and_ends_a_torn_line() {
    let (_room, folder) = room();
    let log = RunLog::open(&folder, RUN).unwrap();
    in_run(&log, || tracing::info!(target: "intellistor", "one"));
    fs::OpenOptions::new()
        .append(true)
        .open(log.path())
        .unwrap()
        .write_all(b"2026-11-24T02:00:00.123Z INFO  to")
        .unwrap();
    drop(log);

    let log = RunLog::open(&folder, RUN).unwrap();
    assert_eq!(lines(&log), ["INFO  one", "INFO  to"]);
    in_run(&log, || tracing::info!(target: "intellistor", "three"));
    assert_eq!(lines(&log), ["INFO  one", "INFO  to", "INFO  three"]);

    let next = RunLog::open(&folder, "20261125T020000Z").unwrap();
    in_run(&next, || tracing::info!(target: "intellistor", "another"));
    assert_eq!(lines(&next), ["INFO  another"]);
    assert!(!text(log.path()).contains("another"));
    let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["last.log", "run_20261124T020000Z.log", "run_20261125T020000Z.log"]);
}

#[cfg(unix)]
#[test]
fn others_may_not_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let (room, folder) = room();
    let log = RunLog::open(&folder, RUN).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&room.path().join("logs")), 0o700);
    assert_eq!(mode(log.path()), 0o600);
    assert_eq!(mode(log.last_path()), 0o600);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_stops_nothing_and_is_reported() {
    let (_room, folder) = room();
    let log = RunLog::open(&folder, RUN).unwrap();
    in_run(&log, || {
        tracing::info!(target: "intellistor", "one");
        let full =
            LineFile::resumed(log.path(), File::options().append(true).read(true).open("/dev/full").unwrap());
        let whole = std::mem::replace(&mut log.state().run, full.unwrap());
        tracing::info!(target: "intellistor", "two");
        tracing::info!(target: "intellistor", "three");
        let failure = log.write_failure().unwrap();
        let path = log.path().display();
        assert!(
            failure.starts_with(&format!("2 lines are missing in {path}: No space left on device")),
            "{failure}"
        );
        log.state().run = whole;
        tracing::info!(target: "intellistor", "four");
    });
    assert!(text(log.path()).contains("four"));
    // `last.log` had room.
    assert_eq!(text(log.last_path()).lines().count(), 4);
}

#[test]
fn a_last_log_that_cannot_be_made_is_reported_and_made_later() {
    let (_room, folder) = room();
    // A file cannot be renamed onto a folder.
    fs::create_dir_all(folder.join(LAST).join("x")).unwrap();
    let log = RunLog::open(&folder, RUN).unwrap();
    in_run(&log, || tracing::info!(target: "intellistor", "one"));
    let failure = log.write_failure().unwrap();
    assert!(failure.contains("last.log does not contain this run's log: "), "{failure}");
    assert_eq!(text(log.path()).lines().count(), 1);

    fs::remove_dir_all(folder.join(LAST)).unwrap();
    in_run(&log, || tracing::info!(target: "intellistor", "two"));
    assert_eq!(lines(&log), ["INFO  one", "INFO  two"]);
    assert_eq!(log.write_failure(), None);
}

#[test]
fn a_malformed_timestamp_opens_no_log() {
    let (_room, folder) = room();
    let error = RunLog::open(&folder, "../../etc/x").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(!folder.exists());
    fs::create_dir_all(folder.parent().unwrap()).unwrap();
    fs::write(&folder, "a file").unwrap();
    let error = RunLog::open(&folder, RUN).unwrap_err().to_string();
    assert!(
        error.contains(&*folder.to_string_lossy()) && error.contains("let this account write there"),
        "{error}"
    );
}

#[test]
#[cfg_attr(windows, ignore = "Wine 8 does not replace a file that is open; Windows does, from 10 on")]
fn a_follower_sees_the_lines_of_one_run_after_another() {
    let (_room, folder) = room();
    let mut follow = Follow::new(&folder.join(LAST));
    let mut seen = Vec::new();
    for (run, event) in [(RUN, "one"), (RUN, "two"), ("20261125T020000Z", "three")] {
        let log = RunLog::open(&folder, run).unwrap();
        in_run(&log, || tracing::info!(target: "intellistor", path = "a\nb", "{event}"));
        seen.extend(follow.read().unwrap());
    }
    let seen: Vec<_> = seen.iter().map(|line| untimed(line)).collect();
    assert_eq!(seen, [r#"INFO  one path=a\nb"#, r#"INFO  two path=a\nb"#, r#"INFO  three path=a\nb"#]);
}
