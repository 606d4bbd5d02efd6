//! The key under which backups of a chain compare content in public.

use std::fmt;

use crate::keys::secret::{Secret, random};

/// The random key of a chain of backups, from a full on: sketches of their files are made under it. Without it a plain
/// manifest's sketches confirm no guess at a file's content. Each manifest has it, sealed under its backup's data key.
#[derive(Clone)]
pub struct ContentKey(pub(super) Secret);

impl ContentKey {
    /// A new random key.
    #[must_use]
    pub fn generate() -> Self {
        Self(Secret(random()))
    }

    pub(crate) fn hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(&self.0.0)
    }
}

impl fmt::Debug for ContentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentKey(..)")
    }
}
