//! `policy-create`: writes a policy to start from.

use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};

use clap::Args;
use intellistor::{Policy, StoreUrl, leftovers};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Done;
use crate::session::Session;

const TEMPORARY: &str = ".policy-";

/// Write a policy: what to back up, what to leave out, and where to store it
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  backup-client policy-create --out policy.yaml --paths ~/Documents ~/Pictures
  backup-client policy-create --out db.yaml --policy-id database --paths /srv/db --exclude '*.tmp' 'cache/*'
  backup-client policy-create --out nas.yaml --store file:///mnt/nas

The file is commented; edit it as you like. Relative paths are made absolute.")]
pub(crate) struct PolicyCreate {
    /// The file to write; its folder is created if it does not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The policy's name in the store, in logs and in schedules: at most 64 letters, digits, `.`, `_` and `-`
    #[arg(long, value_name = "ID", default_value = "mvp-default")]
    policy_id: String,
    /// Files and folders to back up
    #[arg(long, value_name = "PATH", num_args = 1.., default_value = ".")]
    paths: Vec<PathBuf>,
    /// When the agent runs it, as a cron expression: minute, hour, day of month, month, day of week
    #[arg(long, value_name = "CRON", default_value = "0 2 * * *")]
    schedule: String,
    /// What to leave out: globs, matched against the path relative to each of --paths; `*` also matches `/`
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    exclude: Vec<String>,
    /// The store: s3://bucket/prefix or file:///folder; without it, each run uses AWS_S3_BUCKET
    #[arg(long, value_name = "URL")]
    store: Option<String>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(command: &PolicyCreate, session: &Session) -> Result<Done, Failure> {
    let paths = command.paths.iter().map(|path| absolute(path)).collect::<Result<Vec<_>, _>>()?;
    let mut policy = Policy::new(&command.policy_id, paths)?;
    policy.schedule = Some(command.schedule.clone());
    policy.exclude = command.exclude.clone();
    policy.store = match &command.store {
        Some(url) => Some(StoreUrl::parse(url).map_err(|e| Failure::configuration(e.to_string()))?),
        None => None,
    };
    policy.check()?;
    // A disk that is not mounted today may be a good path tomorrow.
    for missing in policy.missing_paths() {
        session.screen.warn(missing);
    }
    policy.check_overlap()?;
    write(&command.out, &policy.to_yaml(), command.force)?;
    Done::document(&json!({ "created": command.out.to_string_lossy() }), Exit::Success)
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    let refused = |e| Failure::configuration(format!("cannot make {path:?} an absolute path: {e}"));
    let absolute = std::path::absolute(path).map_err(refused)?;
    // `..` after a symbolic link is not the folder before it: only the system can tell which one it is.
    let climbs = absolute.components().any(|part| part == Component::ParentDir);
    if climbs { absolute.canonicalize().map_err(refused) } else { Ok(absolute) }
}

/// The file appears whole or not at all.
fn write(out: &Path, text: &str, force: bool) -> Result<(), Failure> {
    let refused = |e: std::io::Error| match e.kind() {
        ErrorKind::AlreadyExists => Failure::new(Exit::Failed, format!("{} exists already", out.display()))
            .hint("name another file with --out, or replace this one with --force"),
        _ => Failure::new(Exit::Failed, format!("cannot write {}: {e}", out.display()))
            .hint("check that its folder exists, that you may write to it, and that the disk is not full"),
    };
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| {
        Failure::new(Exit::Failed, format!("cannot create the folder {}: {e}", folder.display()))
    })?;
    leftovers::remove_abandoned_in(folder, |name| leftovers::is_temporary(name, TEMPORARY));
    let mut builder = tempfile::Builder::new();
    // A policy holds no secret; what others may read is up to the umask.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.prefix(TEMPORARY).tempfile_in(folder).map_err(refused)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(refused)?;
    let kept = if force { file.persist(out) } else { file.persist_noclobber(out) };
    kept.map(drop).map_err(|e| refused(e.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(absolute(Path::new(".")).unwrap(), here);
        assert_eq!(absolute(Path::new("a/./b")).unwrap(), here.join("a").join("b"));
        assert_eq!(absolute(Path::new("..")).unwrap(), here.parent().unwrap().canonicalize().unwrap());
    }

    #[test]
    fn a_policy_is_replaced_only_by_force() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("p.yaml");
        write(&out, "one", false).unwrap();
        let text = write(&out, "two", false).unwrap_err().to_string();
        assert!(text.contains("exists already") && text.contains("--force"), "{text}");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "one");
        write(&out, "two", true).unwrap();
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "two");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let below = dir.path().join("policies/of/p.yaml");
        write(&below, "three", false).unwrap();
        assert_eq!(std::fs::read_to_string(&below).unwrap(), "three");
        let text = write(&out.join("p.yaml"), "x", false).unwrap_err().to_string();
        assert!(text.contains("cannot create the folder"), "{text}");
    }
}
