//! Says of most keys that are not in a set that they are not, from few bits a key (Bloom, "Space/time trade-offs in hash
//! coding with allowable errors", 1970).

/// Of a set of keys that are digests, or begin like one.
#[derive(Debug)]
pub(crate) struct KeyFilter {
    words: Vec<u64>,
    /// Bits that a key sets.
    probes: u64,
}

/// With 10 bits a key, and 7 probes, 1 key of 120 that is not in the set passes.
const BITS_PER_KEY: u64 = 10;
const MOST_PROBES: u64 = 7;

impl KeyFilter {
    /// For a set of so many keys. Where its 10 bits a key would be more than `most_bytes`, it takes fewer, and lets more pass.
    pub(crate) fn new(keys: u64, most_bytes: u64) -> Self {
        let keys = keys.max(1);
        let words = keys.saturating_mul(BITS_PER_KEY).div_ceil(64).clamp(1, (most_bytes / 8).max(1));
        // Fewest pass with ln 2 times the bits that a key has.
        let probes = (words * 64 * 7 / 10 / keys).clamp(1, MOST_PROBES);
        Self { words: vec![0; words as usize], probes }
    }

    pub(crate) fn add(&mut self, key: &[u8; 16]) {
        for bit in self.bits(key) {
            self.words[(bit / 64) as usize] |= 1 << (bit % 64);
        }
    }

    /// `false` for a key that was not added.
    pub(crate) fn may_have(&self, key: &[u8; 16]) -> bool {
        self.bits(key).all(|bit| self.words[(bit / 64) as usize] & (1 << (bit % 64)) != 0)
    }

    /// Kirsch and Mitzenmacher, "Less hashing, same performance", 2006: two halves of the key make all of its bits.
    fn bits(&self, key: &[u8; 16]) -> impl Iterator<Item = u64> + use<> {
        let key = u128::from_be_bytes(*key);
        let (step, start) = ((key >> 64) as u64, key as u64);
        let bits = self.words.len() as u128 * 64;
        (0..self.probes).map(move |n| {
            let hash = start.wrapping_add(n.wrapping_mul(step | 1));
            ((u128::from(hash) * bits) >> 64) as u64
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> [u8; 16] {
        *blake3::hash(&n.to_be_bytes()).as_bytes().first_chunk().unwrap()
    }

    fn passing_of_10_000(keys: u64, most_bytes: u64) -> usize {
        let mut filter = KeyFilter::new(keys, most_bytes);
        (0..keys).for_each(|n| filter.add(&key(n)));
        assert!((0..keys).all(|n| filter.may_have(&key(n))));
        assert!(filter.words.len() as u64 * 8 <= most_bytes);
        (keys..keys + 10_000).filter(|&n| filter.may_have(&key(n))).count()
    }

    #[test]
    fn it_knows_each_key_and_refuses_most_others() {
        let passing = passing_of_10_000(50_000, 1 << 20);
        assert!(passing < 200, "{passing}");
        assert!(passing_of_10_000(1, 1 << 20) < 300);
        // 2 bits a key, of which about 63 % are set at most.
        let passing = passing_of_10_000(50_000, 12_500);
        assert!((2000..6500).contains(&passing), "{passing}");
        assert!(passing_of_10_000(1000, 8) > 9900, "a full filter lets all pass");
    }

    #[test]
    fn one_of_no_keys_refuses_all() {
        let filter = KeyFilter::new(0, 8);
        assert!((0..100).all(|n| !filter.may_have(&key(n))));
        assert_eq!(KeyFilter::new(u64::MAX, 16).words.len(), 2);
    }
}
