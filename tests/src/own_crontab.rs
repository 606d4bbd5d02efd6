//! An agent whose crontab is a file of the test's own, so that the machine's stays as it is.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::agent_sandbox::AgentSandbox;
use crate::cannot_run;

const CRONTAB: &str = r#"#!/bin/sh
table=$(dirname "$0")/table
case $1 in
    -l) [ -e "$table" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }; exec cat "$table" ;;
    -r) exec rm "$table" ;;
    -) exec cat >"$table" ;;
esac
"#;

/// A sandbox of a policy whose `bin/crontab` keeps the crontab in `bin/table`, with one file to back up. What a scheduled run sees
/// is in `b.env`; the shell of the one who applies a schedule has the same. `None` where systemd runs: it would get the
/// schedules.
pub fn with_own_crontab(policy_id: &str) -> Option<AgentSandbox> {
    if Path::new("/run/systemd/system").is_dir() {
        cannot_run("systemd runs here, and a test does not write into it");
        return None;
    }
    let mut sandbox = AgentSandbox::new(policy_id);
    let bin = sandbox.at("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("crontab"), CRONTAB).unwrap();
    fs::set_permissions(bin.join("crontab"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(sandbox.at("casa")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    sandbox.agent = sandbox.agent.clone().var("PATH", path).var("HOME", sandbox.at("casa"));
    fs::write(sandbox.source().join("Relatório.txt"), "olá").unwrap();
    let settings = sandbox.agent.env_file(&["AWS_", "INTELLISTOR_"]);
    fs::write(sandbox.at("b.env"), settings).unwrap();
    fs::set_permissions(sandbox.at("b.env"), fs::Permissions::from_mode(0o600)).unwrap();
    Some(sandbox)
}
