//! A store and the key to the backups in it, as most tests use them together.

use std::io::Write;

use intellistor::{
    BackupName, BackupOptions, BackupReport, Catalog, DecryptReport, Identity, Policy, Recipients,
    RestoreOptions, RestoreReport, Result, RunOptions, SharedStore, StoreUrl, UserKey, VerifiedManifest,
    VerifyReport,
};

#[derive(Debug, Clone)]
pub struct Vault {
    pub catalog: Catalog,
    pub recipients: Recipients,
    pub identity: Identity,
}

impl Vault {
    pub async fn open(url: &StoreUrl, key: UserKey) -> Result<Self> {
        Ok(Self::new(url.open().await?, key))
    }

    pub fn new(store: SharedStore, key: UserKey) -> Self {
        Self { catalog: Catalog::new(store), recipients: key.clone().into(), identity: key.into() }
    }

    pub async fn backup(&self, policy: &Policy, options: BackupOptions) -> Result<BackupReport> {
        intellistor::backup(&self.catalog, &self.recipients, policy, options).await
    }

    pub async fn restore(&self, name: &BackupName, options: RestoreOptions) -> Result<RestoreReport> {
        intellistor::restore(&self.catalog, &self.identity, name, options).await
    }

    pub async fn verify(&self, name: &BackupName, run: RunOptions) -> Result<VerifyReport> {
        intellistor::verify(&self.catalog, &self.identity, name, run).await
    }

    pub async fn decrypt(
        &self,
        name: &BackupName,
        out: Box<dyn Write + Send>,
        run: RunOptions,
    ) -> Result<DecryptReport> {
        intellistor::decrypt(&self.catalog, &self.identity, name, out, run).await
    }

    pub async fn show(&self, name: &BackupName) -> Result<VerifiedManifest> {
        intellistor::show(&self.catalog, &self.identity, name).await
    }
}
