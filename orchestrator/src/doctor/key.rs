//! The key: there is one, and no one else can read or change it.

use intellistor_storage::disk::trust;

use super::examination::Examination;
use super::finding::Finding;
use super::subject::ConfiguredKey;

pub(super) async fn check(examination: &mut Examination) -> Finding {
    let subject = &examination.subject;
    let ConfiguredKey { key, variable, file } = match &subject.key {
        Ok(configured) => configured,
        Err(finding) => return finding.clone(),
    };
    if let Some(weakness) = key.weakness().filter(|_| !subject.weak_passphrase) {
        return Finding::failed(format!("the passphrase of {variable} is easily guessed: {weakness}"))
            .advise("Use a longer one, of several words, or a key file; --weak-passphrase uses it anyway");
    }
    let id = match key.id() {
        Some(id) => format!("key {id}"),
        None => "a passphrase".to_owned(),
    };
    let Some(file) = file else { return Finding::ok(format!("{id}, from {variable}")) };
    let seen = format!("{id}, from {} ({variable})", file.display());
    if let Err(others) = trust::check(file) {
        return Finding::warning(format!("{seen}; other accounts can change it: {others}"))
            .advise("Make it and the folders above it writable only by the account that runs it (`chown`, `chmod go-w`)");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o044 != 0) {
            return Finding::warning(format!("{seen}; other accounts can read it"))
                .advise(format!("`chmod 600 {}`", file.display()));
        }
    }
    Finding::ok(seen)
}
