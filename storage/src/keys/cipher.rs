//! AES-256-GCM, the only cipher: AWS-LC's, which TLS needs anyway, and which seals several times as fast as the one in Rust.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

pub(crate) const NONCE_BYTES: usize = 12;
pub(crate) const TAG_BYTES: usize = 16;

/// A key, ready for use. AWS-LC clears it when it is dropped.
pub(crate) struct Cipher(LessSafeKey);

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has AES-256's length")))
    }

    /// Seals `text`, whose last bytes are room for the tag, in its place. Nonce law (must): no nonce twice under one
    /// key, which is the caller's to see to.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_BYTES], associated_data: &[u8], text: &mut [u8]) {
        let (text, room) = text.split_last_chunk_mut::<TAG_BYTES>().expect("there is room for the tag");
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(associated_data), text)
            .expect("what is sealed is far below AES-GCM's bound");
        room.copy_from_slice(tag.as_ref());
    }

    /// GMAC (NIST SP 800-38D) of `data` under the first nonce, for a key that seals nothing.
    pub(crate) fn tag(&self, data: &[u8]) -> [u8; TAG_BYTES] {
        let mut tag = [0; TAG_BYTES];
        self.seal([0; NONCE_BYTES], data, &mut tag);
        tag
    }

    /// Opens ciphertext and tag into `out`, which may be larger; `None` when they are not what was sealed so.
    pub(crate) fn open<'o>(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated_data: &[u8],
        sealed: &[u8],
        out: &'o mut Vec<u8>,
    ) -> Option<&'o [u8]> {
        let (text, tag) = sealed.split_last_chunk::<TAG_BYTES>()?;
        if out.len() < text.len() {
            out.resize(text.len(), 0);
        }
        let out = &mut out[..text.len()];
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0.open_separate_gather(nonce, Aad::from(associated_data), text, tag, out).ok()?;
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 15 of "The Galois/Counter Mode of Operation" (McGrew, Viega).
    #[test]
    fn it_is_aes_256_gcm() {
        let bytes = |hex: &str| hex::decode(hex).unwrap();
        let key = bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let nonce = bytes("cafebabefacedbaddecaf888").try_into().unwrap();
        let text = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
             b16aedf5aa0de657ba637b391aafd255",
        );
        let expected = bytes(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
             c5f61e6393ba7a0abcc9f662898015adb094dac5d93471bdec1a502270e3cc6c",
        );
        let cipher = Cipher::new(&key.try_into().unwrap());
        let mut sealed = [&text[..], &[0; TAG_BYTES]].concat();
        cipher.seal(nonce, b"", &mut sealed);
        assert_eq!(sealed, expected);
        assert_eq!(cipher.open(nonce, b"", &sealed, &mut vec![1; 100]).unwrap(), text);
        for altered in 0..sealed.len() {
            let mut sealed = sealed.clone();
            sealed[altered] ^= 1;
            assert!(cipher.open(nonce, b"", &sealed, &mut Vec::new()).is_none(), "byte {altered}");
        }
        assert!(cipher.open(nonce, b"a", &sealed, &mut Vec::new()).is_none());
        assert!(cipher.open(nonce, b"", &sealed[..15], &mut Vec::new()).is_none());
    }
}
