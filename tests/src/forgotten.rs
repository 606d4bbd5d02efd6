//! Backups that were forgotten long ago, without waiting.

use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

use chrono::Duration;
use intellistor::{BackupName, OpensBackups as _, Recipients, StoreUrl, UserKey};
use intellistor_storage::catalog::statements::{self, Forgotten};

use crate::folders::files_below;

/// Makes every `forgotten.json` in a folder store as old as if it had been put so long before; those of another key stay as they
/// are.
///
/// # Panics
/// When one cannot be replaced.
pub async fn backdate(folder: &Path, key: &UserKey, age: Duration) {
    let keys = Recipients::from(key.clone());
    let store = StoreUrl::local(folder).open().await.unwrap();
    for path in files_below(folder).into_iter().filter(|path| path.ends_with("forgotten.json")) {
        let name = path.strip_prefix(folder).unwrap().to_str().and_then(BackupName::of_object).unwrap().0;
        let Ok(says) = statements::decode::<Forgotten>(&name, &fs::read(&path).unwrap(), &keys) else {
            continue;
        };
        let (time, prunable_from) = (says.time - age, says.prunable_from - age);
        let says = Forgotten { time, prunable_from, ..says };
        let header = statements::header_in::<Forgotten>(&*store, &name).await.unwrap();
        let data_key = keys.data_key(header.keys(), header.backup_id()).unwrap();
        fs::write(&path, statements::encode(&header, &data_key, &says).unwrap()).unwrap();
        let put = SystemTime::now() - age.to_std().unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(put).unwrap();
    }
}
