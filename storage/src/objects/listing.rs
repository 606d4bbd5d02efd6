//! A whole listing, page by page.

use crate::error::Result;
use crate::objects::error::{StoreError, StoreErrorKind};
use crate::objects::object::ObjectInfo;
use crate::objects::store::ObjectStore;

/// The pages of a listing; each is asked for when it is wanted.
#[derive(Debug)]
pub struct Listing<'s> {
    store: &'s dyn ObjectStore,
    prefix: String,
    last: Option<String>,
    ended: bool,
}

impl<'s> Listing<'s> {
    /// Objects whose key begins with `prefix`.
    pub fn new(store: &'s dyn ObjectStore, prefix: impl Into<String>) -> Self {
        Self { store, prefix: prefix.into(), last: None, ended: false }
    }

    /// The next page, which may be empty only if it is the last; `None` after that.
    ///
    /// # Errors
    /// Those of the store; [`Unsupported`](StoreErrorKind::Unsupported) when a page says that more follows and brings
    /// nothing new.
    pub async fn next_page(&mut self) -> Result<Option<Vec<ObjectInfo>>> {
        if self.ended {
            return Ok(None);
        }
        let page = self.store.list(&self.prefix, self.last.as_deref()).await?;
        self.ended = !page.more;
        if page.more {
            let last = page.objects.last().map(|object| object.key.clone());
            if last <= self.last {
                let reason =
                    "its listing does not advance: it says that there is more, but returns nothing new";
                let url = self.store.url();
                return Err(
                    StoreError::new(StoreErrorKind::Unsupported, url, "list", &self.prefix, reason).into()
                );
            }
            self.last = last;
        }
        Ok(Some(page.objects))
    }
}
