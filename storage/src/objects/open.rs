//! Opens the store that a URL names.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::error::Result;
use crate::objects::local::store::LocalStore;
use crate::objects::retry::{Retry, RetryPolicy};
use crate::objects::s3::addressing::S3Options;
use crate::objects::s3::store::S3Store;
use crate::objects::store::SharedStore;
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
    /// Once cancelled, no call is repeated.
    pub stop: CancellationToken,
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
        let OpenOptions { s3, variables, stop } = options;
        let store: SharedStore = match self {
            Self::S3 { bucket, prefix } => {
                let opened = match variables {
                    Some(own) => Box::pin(S3Store::from_variables(bucket, prefix, s3, &own)).await?,
                    None => Box::pin(S3Store::from_environment(bucket, prefix, s3)).await?,
                };
                Arc::new(opened)
            }
            Self::Local(folder) => Arc::new(LocalStore::open(folder).await?),
        };
        Ok(Arc::new(Retry::new(store, RetryPolicy::default()).until(stop)))
    }
}
