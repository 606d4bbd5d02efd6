//! The sandbox of the whole-system tests: a real S3 server, trees of odd files, and the programs as child
//! processes. Tests wait for events, not for time.

// A test that cannot be set up should say so at the line where it failed.
#![allow(clippy::unwrap_used)]

#[cfg(unix)]
pub mod agent_sandbox;
pub mod collector;
pub mod decrypt_py;
pub mod disk;
pub mod events;
pub mod folders;
pub mod forgotten;
pub mod hostile_backup;
#[cfg(unix)]
pub mod memory_sandbox;
pub mod moto;
pub mod network;
pub mod nightly_backups;
#[cfg(unix)]
pub mod own_crontab;
#[cfg(unix)]
pub mod played_page;
pub mod program;
#[cfg(unix)]
pub mod pty;
pub mod recorder;
#[cfg(unix)]
pub mod run_history;
#[cfg(unix)]
pub mod running;
pub mod s3_server;
#[cfg(unix)]
pub mod sample_tree;
pub mod secret_search;
pub mod store_calls;
#[cfg(unix)]
pub mod tree;
pub mod vault;
#[cfg(unix)]
pub mod wine;

/// Reports that a test lacks what it needs on this machine, and does nothing.
///
/// # Panics
/// Where `INTELLISTOR_TEST_ALL` is set, as `.ci/test` does: there every test must run.
#[track_caller]
#[allow(clippy::print_stderr, reason = "a test that does nothing must be seen to")]
pub fn cannot_run(why: &str) {
    assert!(std::env::var_os("INTELLISTOR_TEST_ALL").is_none(), "this test cannot run here: {why}");
    eprintln!("SKIPPED: {why}");
}
