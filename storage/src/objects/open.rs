//! Opens the store that a URL names.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::objects::local::store::LocalStore;
use crate::objects::retry::{Retry, RetryPolicy};
use crate::objects::s3::addressing::S3Options;
use crate::objects::s3::store::S3Store;
use crate::objects::store::SharedStore;
use crate::objects::throttle::{Limited, Throttle};
use crate::objects::url::StoreUrl;
use crate::objects::variables::Variables;

/// How a store is opened.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// For a store that is S3.
    pub s3: S3Options,
    /// The settings of this store alone, where they are not those of the process: two stores of one process may differ in
    /// endpoint and credentials.
    pub variables: Option<Variables>,
    /// Whether a folder that is missing is an error: for what only reads, a store that was never written to is a misspelled one,
    /// or a disk that is not mounted. Otherwise the first write creates it.
    pub must_exist: bool,
    /// Once cancelled, no call is repeated.
    pub stop: CancellationToken,
    /// How fast bytes may go and come.
    pub throttle: Option<Arc<Throttle>>,
}

/// A store without retries.
#[derive(Debug, Clone)]
pub struct OpenedOnce {
    pub store: SharedStore,
    /// The same store, which tells how it is reached, where it is S3.
    pub s3: Option<S3Store>,
}

impl StoreUrl {
    /// Opens the store, with retries of what is temporary.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open(&self) -> Result<SharedStore> {
        self.open_with(OpenOptions::default()).await
    }

    /// Opens the store, with retries of what is temporary.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open_with(&self, options: OpenOptions) -> Result<SharedStore> {
        let stop = options.stop.clone();
        let store = self.open_once(options).await?.store;
        Ok(Arc::new(Retry::new(store, RetryPolicy::default()).until(stop)))
    }

    /// Opens the store to examine it: no call is repeated, so that each answer is seen.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn open_once(&self, options: OpenOptions) -> Result<OpenedOnce> {
        let OpenOptions { s3, variables, must_exist, stop: _, throttle } = options;
        Ok(match self {
            Self::S3 { bucket, prefix } => {
                let opened = match variables {
                    Some(own) => Box::pin(S3Store::from_variables(bucket, prefix, s3, &own)).await?,
                    None => Box::pin(S3Store::from_environment(bucket, prefix, s3)).await?,
                };
                let opened = opened.with_throttle(throttle);
                OpenedOnce { store: Arc::new(opened.clone()), s3: Some(opened) }
            }
            Self::Local(folder) => {
                let folder = LocalStore::open(folder).await?;
                if must_exist {
                    folder.check_exists().await?;
                }
                let opened: SharedStore = Arc::new(folder);
                let store = match throttle {
                    Some(throttle) => Arc::new(Limited::new(opened, throttle)),
                    None => opened,
                };
                OpenedOnce { store, s3: None }
            }
        })
    }
}
