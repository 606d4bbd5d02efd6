//! What `kill -9` leaves under temporary names is removed by the next command at that place, once it is old.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails at that line")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use intellistor_tests::agent_sandbox::AgentSandbox;
use intellistor_tests::program::Client;

/// A leftover of two days ago, and one that a living process may have just made.
fn leave(folder: &Path, name: impl Fn(char) -> String) -> (PathBuf, PathBuf) {
    let (old, fresh) = (folder.join(name('a')), folder.join(name('b')));
    let made = File::create(&old).unwrap();
    made.set_modified(SystemTime::now() - Duration::from_secs(48 * 3600)).unwrap();
    File::create(&fresh).unwrap();
    (old, fresh)
}

/// A backup in a folder, and what restores it.
fn backed_up() -> (AgentSandbox, Client) {
    let sandbox = AgentSandbox::new("resto");
    fs::write(sandbox.source().join("a.txt"), "a").unwrap();
    sandbox.write_policy(&format!("store: file://{}\n", sandbox.at("store").display()));
    sandbox.client.run(["-q", "backup", "--policy", "policy.yaml"]).expect(0);
    let client = sandbox.client.clone();
    (sandbox, client)
}

#[test]
fn puts_that_were_killed_leave_nothing_in_a_folder_store() {
    let put = |c: char| format!(".put-{c}0000000-0000-4000-8000-000000000000");
    for command in [&["backup"][..], &["list"], &["verify", "--latest"]] {
        let (sandbox, client) = backed_up();
        let policy = sandbox.at("store/backups/resto");
        let timestamp =
            fs::read_dir(&policy).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.is_dir());
        let timestamp = timestamp.unwrap();
        let (old, fresh) = leave(&timestamp, put);
        client.run(["-q"].iter().chain(command).chain(&["--policy", "policy.yaml"])).expect(0);
        assert!(!old.exists() && fresh.exists(), "{command:?}");
    }
}

#[test]
fn restores_that_were_killed_leave_nothing_where_the_next_one_goes() {
    let (sandbox, client) = backed_up();
    fs::create_dir_all(sandbox.at("out")).unwrap();
    let (old, fresh) =
        leave(&sandbox.at("out"), |c| format!(".intellistor-{}.part", c.to_string().repeat(32)));
    client.run(["-q", "restore", "--policy", "policy.yaml", "--latest", "--out", "out"]).expect(0);
    assert!(!old.exists() && fresh.exists());
    assert_eq!(fs::read(sandbox.at("out/a.txt")).unwrap(), b"a");
}

#[test]
fn plain_text_of_a_decrypt_that_was_killed_goes_with_the_next_one() {
    let (sandbox, client) = backed_up();
    fs::create_dir(sandbox.at("out")).unwrap();
    let (old, fresh) = leave(&sandbox.at("out"), |c| format!(".decrypt-{}", c.to_string().repeat(6)));
    let mine = sandbox.at("out/.decrypt-notes-of-mine");
    File::create(&mine).unwrap().set_modified(SystemTime::now() - Duration::from_secs(48 * 3600)).unwrap();
    client.run(["-q", "decrypt", "--policy", "policy.yaml", "--latest", "--out", "out/a.tar.gz"]).expect(0);
    assert!(!old.exists() && fresh.exists() && mine.exists());
}
