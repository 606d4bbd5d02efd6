//! A store whose new objects carry metadata.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;
use crate::objects::options::{Attributes, PutOptions};
use crate::objects::store::{ObjectStore, SharedStore};
use crate::objects::upload::Upload;

/// Adds metadata to what is put and to the uploads that are begun through it. Metadata of the same name in the options
/// of a call wins.
#[derive(Debug)]
pub struct Labelled {
    store: SharedStore,
    metadata: BTreeMap<String, String>,
}

impl Labelled {
    /// Adds `name: value`. A store that keeps no metadata then refuses every object: see
    /// [`Capabilities::metadata`](crate::objects::Capabilities::metadata).
    pub fn new(store: SharedStore, name: &str, value: String) -> Self {
        Self { store, metadata: BTreeMap::from([(name.to_owned(), value)]) }
    }

    fn label(&self, attributes: &Attributes) -> Attributes {
        let mut metadata = self.metadata.clone();
        metadata.extend(attributes.metadata.clone());
        Attributes { metadata, ..attributes.clone() }
    }
}

#[async_trait]
impl ObjectStore for Labelled {
    crate::forward!(store: url folders capabilities now_ms prepare get_range head list delete put_part list_parts);
    crate::forward!(store: last_part_ms complete_with composite list_uploads abort_upload);
    crate::forward!(store: erase attributes retain set_legal_hold check_object_lock);

    async fn put_with(&self, key: &str, body: Bytes, options: &PutOptions) -> Result<()> {
        let attributes = self.label(&options.attributes);
        self.store.put_with(key, body, &PutOptions { attributes, ..*options }).await
    }

    async fn begin_with(&self, key: &str, attributes: &Attributes) -> Result<Upload> {
        self.store.begin_with(key, &self.label(attributes)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::conformance;
    use crate::objects::memory::MemoryStore;
    use crate::objects::store::ObjectStoreExt as _;

    fn labelled() -> (MemoryStore, Labelled) {
        let memory = MemoryStore::default();
        (memory.clone(), Labelled::new(std::sync::Arc::new(memory), "trace-id", "1f".to_owned()))
    }

    #[tokio::test]
    async fn it_conforms() {
        conformance::check(std::sync::Arc::new(labelled().1)).await;
    }

    #[tokio::test]
    async fn what_a_call_names_itself_wins() {
        let (memory, store) = labelled();
        let own = |name: &str| Attributes {
            metadata: BTreeMap::from([(name.to_owned(), "own".to_owned())]),
            ..Attributes::default()
        };
        let put = async |key, attributes| {
            let options = PutOptions { attributes, ..PutOptions::default() };
            store.put_with(key, Bytes::new(), &options).await.unwrap();
            memory.kept(key).unwrap().metadata.into_iter().collect::<Vec<_>>()
        };
        let label = ("trace-id".to_owned(), "1f".to_owned());
        assert_eq!(put("a", Attributes::default()).await, std::slice::from_ref(&label));
        assert_eq!(put("b", own("other")).await, [("other".to_owned(), "own".to_owned()), label]);
        assert_eq!(put("c", own("trace-id")).await, [("trace-id".to_owned(), "own".to_owned())]);
        let upload = store.begin_upload("d").await.unwrap();
        store.complete_upload(&upload, &[]).await.unwrap();
        assert!(memory.kept("d").unwrap().metadata.contains_key("trace-id"));
    }
}
