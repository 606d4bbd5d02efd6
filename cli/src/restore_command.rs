//! The `backup-client restore` to paste: in results (`cli_restore`), in listings and in hints.

use std::path::{Path, PathBuf};

use intellistor::{RestoreLines, StoreUrl};

use crate::quoting;
use crate::selection::PolicySelection;

/// Restores one backup, from any current folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RestoreCommand<'a> {
    /// `--env-file`, where it was given.
    pub(crate) env_file: Option<&'a Path>,
    pub(crate) policy: PolicyWords<'a>,
    /// The archive's key.
    pub(crate) key: &'a str,
    /// `--without-manifest`.
    pub(crate) without_manifest: bool,
    /// `--only`.
    pub(crate) only: &'a [String],
    /// The folder to restore into; `restore` below the current one without it.
    pub(crate) out: Option<&'a Path>,
    /// `--in-place`, which takes the place of `--out`.
    pub(crate) in_place: bool,
    /// `--overwrite`, where it was given.
    pub(crate) overwrite: Option<&'static str>,
    /// `--no-acl`.
    pub(crate) no_acl: bool,
}

/// How the command names the policy and its store: as the command that gives it did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PolicyWords<'a> {
    /// `--policy`.
    file: Option<&'a Path>,
    /// `--policy-id`.
    id: Option<&'a str>,
    /// `--store`.
    store: Option<&'a StoreUrl>,
}

impl<'a> PolicyWords<'a> {
    /// A policy that is known by its name in a store.
    pub(crate) fn in_store(id: &'a str, store: Option<&'a StoreUrl>) -> Self {
        Self { file: None, id: Some(id), store }
    }
}

impl<'a> From<&'a Path> for PolicyWords<'a> {
    fn from(file: &'a Path) -> Self {
        Self { file: Some(file), ..Self::default() }
    }
}

impl<'a> From<&'a PathBuf> for PolicyWords<'a> {
    fn from(file: &'a PathBuf) -> Self {
        Self::from(file.as_path())
    }
}

impl<'a> From<&'a PolicySelection> for PolicyWords<'a> {
    fn from(selection: &'a PolicySelection) -> Self {
        Self {
            file: selection.policy.policy.as_deref(),
            id: selection.policy.policy_id.as_deref(),
            store: selection.store.as_ref(),
        }
    }
}

impl RestoreCommand<'_> {
    /// One line, quoted for the shell of this system.
    pub(crate) fn line(&self) -> String {
        quoting::command_line(self.words().iter().map(String::as_str))
    }

    /// The same for a result, with a line for PowerShell where it needs one.
    pub(crate) fn lines(&self) -> RestoreLines {
        let words = self.words();
        let words = words.iter().map(String::as_str);
        RestoreLines {
            powershell: quoting::powershell_line(words.clone()),
            line: quoting::command_line(words),
        }
    }

    fn words(&self) -> Vec<String> {
        let absolute = |path: &Path| {
            std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
        };
        let here = if cfg!(windows) { r".\restore" } else { "./restore" };
        let out = self.out.map_or_else(|| here.to_owned(), |out| out.to_string_lossy().into_owned());
        let mut words = vec![quoting::program("backup-client")];
        words.extend(self.env_file.into_iter().flat_map(|file| ["--env-file".to_owned(), absolute(file)]));
        words.push("restore".to_owned());
        let PolicyWords { file, id, store } = self.policy;
        words.extend(file.into_iter().flat_map(|file| ["--policy".to_owned(), absolute(file)]));
        words.extend(id.into_iter().flat_map(|id| ["--policy-id", id].map(str::to_owned)));
        words.extend(store.into_iter().flat_map(|store| ["--store".to_owned(), store.to_string()]));
        words.extend(["--key", self.key].map(str::to_owned));
        words.extend(self.without_manifest.then(|| "--without-manifest".to_owned()));
        // With `=`, a glob may begin with a dash.
        words.extend(self.only.iter().map(|glob| format!("--only={glob}")));
        words.extend(self.overwrite.into_iter().flat_map(|mode| ["--overwrite", mode].map(str::to_owned)));
        words.extend(self.no_acl.then(|| "--no-acl".to_owned()));
        match self.in_place {
            true => words.push("--in-place".to_owned()),
            false => words.extend(["--out".to_owned(), out]),
        }
        words
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn it_works_when_pasted() {
        let key = "backups/p/20261123T020000Z/b/backup.tar.gz.enc";
        let command = RestoreCommand {
            env_file: Some(Path::new("my secrets.env")),
            policy: Path::new("/home/joão/it's $HOME.yaml").into(),
            key,
            without_manifest: false,
            only: &[],
            out: None,
            in_place: false,
            overwrite: None,
            no_acl: false,
        };
        let output = std::process::Command::new("sh")
            .args(["-c", &format!("printf '%s\\n' {}", command.line())])
            .output()
            .unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        let here = std::env::current_dir().unwrap().join("my secrets.env");
        let expected =
            ["--env-file", here.to_str().unwrap(), "restore", "--policy", "/home/joão/it's $HOME.yaml"];
        assert_eq!(words.lines().skip(1).take(5).collect::<Vec<_>>(), expected);
        assert_eq!(words.lines().skip(6).collect::<Vec<_>>(), ["--key", key, "--out", "./restore"]);
    }

    #[test]
    fn it_names_the_policy_as_it_was_named() {
        let store = StoreUrl::parse("s3://b/x y").unwrap();
        let policy = PolicyWords { file: None, id: Some("docs"), store: Some(&store) };
        let key = "backups/docs/20261123T020000Z/b/backup.tar.gz.enc";
        let command = RestoreCommand {
            env_file: None,
            policy,
            key,
            without_manifest: false,
            only: &[],
            out: None,
            in_place: true,
            overwrite: Some("never"),
            no_acl: true,
        };
        let line = command.line();
        assert!(
            line.ends_with(&format!(
                " restore --policy-id docs --store 's3://b/x y' --key {key} --overwrite never --no-acl --in-place"
            )),
            "{line}"
        );
    }
}
