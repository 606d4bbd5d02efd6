//! Decorators forward what they do not change.

use std::pin::Pin;

use crate::error::Result;

/// What a method of a trait under `async_trait` gives.
pub type Answer<'f, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'f>>;

/// Implements the named methods of [`ObjectStore`](crate::objects::ObjectStore) by those of the store in a field:
/// `forward!(store: url folders head);`. The trait has no default bodies, so a method that is neither named nor written
/// out is a compile error.
#[macro_export]
macro_rules! forward {
    ($field:ident: $($method:ident)+) => { $($crate::forward!(@ $field $method);)+ };
    (@ $field:ident url) => {
        fn url(&self) -> String {
            self.$field.url()
        }
    };
    (@ $field:ident folders) => {
        fn folders(&self) -> Vec<$crate::objects::StoreFolder> {
            self.$field.folders()
        }
    };
    (@ $field:ident capabilities) => {
        fn capabilities(&self) -> $crate::objects::Capabilities {
            self.$field.capabilities()
        }
    };
    (@ $field:ident now_ms) => {
        fn now_ms(&self) -> Option<i64> {
            self.$field.now_ms()
        }
    };
    (@ $field:ident prepare) => {
        fn prepare<'s, 'f>(&'s self) -> $crate::objects::forward::Answer<'f, ()>
        where
            's: 'f,
            Self: 'f,
        {
            self.$field.prepare()
        }
    };
    (@ $field:ident put_with) => {
        fn put_with<'s, 'k, 'o, 'f>(
            &'s self,
            key: &'k str,
            body: bytes::Bytes,
            options: &'o $crate::objects::PutOptions,
        ) -> $crate::objects::forward::Answer<'f, ()>
        where
            's: 'f,
            'k: 'f,
            'o: 'f,
            Self: 'f,
        {
            self.$field.put_with(key, body, options)
        }
    };
    (@ $field:ident get_range) => {
        fn get_range<'s, 'k, 'f>(
            &'s self,
            key: &'k str,
            range: std::ops::Range<u64>,
        ) -> $crate::objects::forward::Answer<'f, bytes::Bytes>
        where
            's: 'f,
            'k: 'f,
            Self: 'f,
        {
            self.$field.get_range(key, range)
        }
    };
    (@ $field:ident list) => {
        fn list<'s, 'p, 'a, 'f>(
            &'s self,
            prefix: &'p str,
            after: Option<&'a str>,
        ) -> $crate::objects::forward::Answer<'f, $crate::objects::Page>
        where
            's: 'f,
            'p: 'f,
            'a: 'f,
            Self: 'f,
        {
            self.$field.list(prefix, after)
        }
    };
    (@ $field:ident begin_with) => {
        fn begin_with<'s, 'k, 'o, 'f>(
            &'s self,
            key: &'k str,
            attributes: &'o $crate::objects::Attributes,
        ) -> $crate::objects::forward::Answer<'f, $crate::objects::Upload>
        where
            's: 'f,
            'k: 'f,
            'o: 'f,
            Self: 'f,
        {
            self.$field.begin_with(key, attributes)
        }
    };
    (@ $field:ident put_part) => {
        fn put_part<'s, 'u, 'p, 'f>(
            &'s self,
            upload: &'u $crate::objects::Upload,
            part: &'p $crate::objects::Part,
        ) -> $crate::objects::forward::Answer<'f, $crate::objects::PartReceipt>
        where
            's: 'f,
            'u: 'f,
            'p: 'f,
            Self: 'f,
        {
            self.$field.put_part(upload, part)
        }
    };
    (@ $field:ident complete_with) => {
        fn complete_with<'s, 'u, 'p, 'f>(
            &'s self,
            upload: &'u $crate::objects::Upload,
            parts: &'p [$crate::objects::PartReceipt],
            if_absent: bool,
        ) -> $crate::objects::forward::Answer<'f, ()>
        where
            's: 'f,
            'u: 'f,
            'p: 'f,
            Self: 'f,
        {
            self.$field.complete_with(upload, parts, if_absent)
        }
    };
    (@ $field:ident head) => { $crate::forward!(@of $field head str => Option<u64>); };
    (@ $field:ident erase) => { $crate::forward!(@of $field erase str => ()); };
    (@ $field:ident attributes) => {
        $crate::forward!(@of $field attributes str => Option<$crate::objects::Attributes>);
    };
    (@ $field:ident retain) => {
        fn retain<'s, 'k, 'f>(
            &'s self,
            key: &'k str,
            retention: $crate::objects::Retention,
        ) -> $crate::objects::forward::Answer<'f, ()>
        where
            's: 'f,
            'k: 'f,
            Self: 'f,
        {
            self.$field.retain(key, retention)
        }
    };
    (@ $field:ident set_legal_hold) => {
        fn set_legal_hold<'s, 'k, 'f>(
            &'s self,
            key: &'k str,
            held: bool,
        ) -> $crate::objects::forward::Answer<'f, ()>
        where
            's: 'f,
            'k: 'f,
            Self: 'f,
        {
            self.$field.set_legal_hold(key, held)
        }
    };
    (@ $field:ident check_object_lock) => {
        fn check_object_lock<'s, 'f>(&'s self) -> $crate::objects::forward::Answer<'f, ()>
        where
            's: 'f,
            Self: 'f,
        {
            self.$field.check_object_lock()
        }
    };
    (@ $field:ident delete) => { $crate::forward!(@of $field delete str => ()); };
    (@ $field:ident composite) => {
        $crate::forward!(@of $field composite str => Option<$crate::objects::Composite>);
    };
    (@ $field:ident list_uploads) => {
        $crate::forward!(@of $field list_uploads str => Vec<$crate::objects::UnfinishedUpload>);
    };
    (@ $field:ident list_parts) => {
        $crate::forward!(@of $field list_parts $crate::objects::Upload => Vec<$crate::objects::PartReceipt>);
    };
    (@ $field:ident last_part_ms) => {
        $crate::forward!(@of $field last_part_ms $crate::objects::Upload => Option<i64>);
    };
    (@ $field:ident abort_upload) => {
        $crate::forward!(@of $field abort_upload $crate::objects::Upload => ());
    };
    (@of $field:ident $method:ident $of:ty => $given:ty) => {
        fn $method<'s, 'o, 'f>(&'s self, of: &'o $of) -> $crate::objects::forward::Answer<'f, $given>
        where
            's: 'f,
            'o: 'f,
            Self: 'f,
        {
            self.$field.$method(of)
        }
    };
}
