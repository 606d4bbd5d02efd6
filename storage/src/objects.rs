//! Object stores: one trait with its promises, and one conformance suite that every store passes.
//!
//! | file | holds |
//! | --- | --- |
//! | `store` | the trait [`ObjectStore`], and what it takes and gives: `options`, `capabilities`, `object`, `upload`, `hashed`, `error` |
//! | `local`, `s3`, `memory` | the stores: a folder, S3 and compatible services, a map for tests |
//! | `forward` | what decorators do not change |
//! | `retry`, `tee`, `labelled`, `faulty` | decorators: [`Retry`] repeats what is temporary, [`Tee`] keeps a copy of the parts, [`Labelled`] adds metadata, `Faulty` fails on purpose in tests |
//! | `throttle` | bytes per second: within bodies of S3, and the decorator [`Limited`] for other stores |
//! | `listing`, `stream` | whole listings and bodies of any size, over any store |
//! | `url`, `open`, `variables` | `s3://` and `file://`; how a store is opened, and with whose settings |

pub(crate) mod capabilities;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod error;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod faulty;
pub mod forward;
pub(crate) mod hashed;
pub(crate) mod labelled;
pub(crate) mod listing;
pub(crate) mod local;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod memory;
pub(crate) mod object;
pub(crate) mod open;
pub(crate) mod options;
pub(crate) mod retry;
pub(crate) mod s3;
pub(crate) mod store;
pub(crate) mod stream;
pub(crate) mod tee;
pub mod throttle;
pub(crate) mod upload;
pub(crate) mod url;
pub(crate) mod variables;

pub use capabilities::{Capabilities, PartLimits};
#[cfg(any(test, feature = "testing"))]
pub use faulty::{Fault, Faulty, Operation};
pub use labelled::Labelled;
pub use listing::Listing;
pub use local::mark::FILE as STORE_MARK;
pub use local::store::LocalStore;
#[cfg(any(test, feature = "testing"))]
pub use memory::MemoryStore;
pub use object::{Composite, ObjectInfo, Page, StoreFolder};
pub use open::{OpenOptions, OpenedOnce};
pub use options::{Attributes, PutOptions, Retention, RetentionMode};
pub use retry::{Retry, RetryPolicy};
pub use s3::addressing::{Addressing, S3Options};
pub use s3::description::{AccessKey, Description};
pub use s3::network::Outbound;
pub use s3::store::S3Store;
pub use store::{ObjectStore, ObjectStoreExt, SharedStore};
pub use stream::put_stream;
pub use tee::Tee;
pub use throttle::{DailyWindow, Limited, Rate, Throttle, TransferLimits};
pub use upload::{Part, PartReceipt, UnfinishedUpload, Upload};
pub use url::StoreUrl;
pub use variables::Variables;
