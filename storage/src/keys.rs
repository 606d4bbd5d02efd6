//! Keys: where a user's key comes from, how it wraps a backup's data key, and what is derived from that.
//!
//! ```text
//! user key (32 bytes, or Argon2id of a passphrase)
//!   ├─ HKDF "intellistor/v1/key-id" → key id, 8 bytes, public
//!   └─ HKDF "intellistor/v1/wrap"   → key-encryption key ─ AES-256-GCM ─ wraps the data key
//! data key (32 random bytes for each backup)
//!   ├─ HKDF salt, "intellistor/v1/segment" || backup_id || number → a segment's key
//!   ├─ HKDF "intellistor/v1/manifest" || backup_id → the manifest's HMAC key
//!   ├─ HKDF "intellistor/v1/statement" || backup_id → the HMAC key of what is said of the backup later
//!   ├─ HKDF "intellistor/v1/entries" || backup_id → the data key of the manifest's sealed lists
//!   └─ HKDF "intellistor/v1/sealed-keys" || backup_id → key-encryption key ─ AES-256-GCM ─ seals what `sealed_keys` lists
//! content key (32 random bytes for each chain of backups) ─ BLAKE3, keyed → sketches of files
//! ```
//! HKDF is RFC 5869 with SHA-256; Argon2id is RFC 9106, version 0x13. No type here is `Copy`, shows its
//! secret in `Debug`, or leaves it in memory when dropped.
//!
//! | file | holds |
//! | --- | --- |
//! | `recipients` | who can open what is sealed |
//! | `opens` | what both have in common as long as keys are symmetric |
//! | `identity` | the key that opens it |
//! | `user_key` | the key that a user keeps, and a data key wrapped by it |
//! | `passphrase` | Argon2id |
//! | `data_key` | the key of one backup, and what is derived from it |
//! | `content_key` | the key of a chain of backups, for sketches |
//! | `sealed_keys` | keys that a manifest has |
//! | `cipher` | AES-256-GCM |
//! | `secret` | 32 bytes that are zeroed when dropped |

pub(crate) mod cipher;
pub(crate) mod content_key;
pub(crate) mod data_key;
pub(crate) mod identity;
mod opens;
mod passphrase;
pub(crate) mod recipients;
mod sealed_keys;
pub(crate) mod secret;
pub(crate) mod user_key;

pub use content_key::ContentKey;
pub use data_key::DataKey;
pub use identity::Identity;
pub use opens::OpensBackups;
pub use recipients::Recipients;
pub use secret::KeyId;
pub use user_key::{UserKey, WrappedKey};
