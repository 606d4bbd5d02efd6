//! Which earlier files have much in common with a file: a map from sketches to places.

use std::cmp::Reverse;

use crate::error::Result;
use crate::manifest::sketch::Sketch;
use crate::memory::content_index::ContentIndex;

/// Files that [`SimilarityIndex::similar`] finds.
const MOST_FOUND: usize = 3;

/// A map from sketches to places, for any number of them in bounded memory. Of the files that agree in one of the eight
/// numbers it knows the last.
#[derive(Debug, Default)]
pub struct SimilarityIndex {
    places: ContentIndex,
}

/// A file that has something in common with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimilarFile {
    /// As it was inserted.
    pub place: u64,
    /// In how many of eight numbers both sketches agree, as far as no later file agrees in them too; 1 or more.
    pub similarity: u32,
}

impl SimilarityIndex {
    /// Remembers the place of a file.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the temporary folder is full.
    pub fn insert(&mut self, sketch: &Sketch, place: u64) -> Result<()> {
        for key in keys(sketch) {
            self.places.insert(key, place)?;
        }
        Ok(())
    }

    /// Up to three earlier files, the most similar one first; of equally similar ones the later place.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when a temporary file cannot be read.
    pub fn similar(&self, sketch: &Sketch) -> Result<Vec<SimilarFile>> {
        let mut found: Vec<SimilarFile> = Vec::new();
        for key in keys(sketch) {
            let Some(place) = self.places.get(&key)? else { continue };
            match found.iter_mut().find(|file| file.place == place) {
                Some(file) => file.similarity += 1,
                None => found.push(SimilarFile { place, similarity: 1 }),
            }
        }
        found.sort_unstable_by_key(|file| Reverse((file.similarity, file.place)));
        found.truncate(MOST_FOUND);
        Ok(found)
    }
}

/// One for each lane, hashed: the same number in another lane says nothing, and small ones are spread.
fn keys(sketch: &Sketch) -> impl Iterator<Item = [u8; 16]> + '_ {
    sketch.lanes().iter().zip(0_u64..).map(|(value, lane)| {
        let mut text = [0; 16];
        text[..8].copy_from_slice(&lane.to_be_bytes());
        text[8..].copy_from_slice(&value.to_be_bytes());
        *blake3::hash(&text).as_bytes().first_chunk().expect("a hash has 32 bytes")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::ContentKey;
    use crate::manifest::chunk_list::Chunk;
    use crate::manifest::sketch::SketchBuilder;

    fn sketch(key: &ContentKey, chunks: impl IntoIterator<Item = u32>) -> Sketch {
        let mut builder = SketchBuilder::new(key);
        for n in chunks {
            let mut id = [1; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            builder.add(&Chunk { length: 16 << 10, id });
        }
        builder.sketch().unwrap()
    }

    fn lanes(numbers: [u64; 8]) -> Sketch {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_be_bytes()).collect();
        use base64::Engine as _;
        let json = format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(bytes));
        serde_json::from_str(&json).unwrap()
    }

    fn found(index: &SimilarityIndex, sketch: &Sketch) -> Vec<(u64, u32)> {
        index.similar(sketch).unwrap().iter().map(|file| (file.place, file.similarity)).collect()
    }

    #[test]
    fn todays_dump_finds_yesterdays_among_many_files() {
        let key = ContentKey::generate();
        let mut index = SimilarityIndex::default();
        for n in 0..500 {
            index.insert(&sketch(&key, n * 1000..n * 1000 + 900), n.into()).unwrap();
        }
        let today = sketch(&key, (7000..7100).chain(900_000..900_005).chain(7105..7900));
        let [most, ..] = index.similar(&today).unwrap()[..] else { panic!("nothing is similar") };
        // It differs in 10 of 910 chunks: to miss it, all eight least ones would have to be among these.
        assert_eq!(most.place, 7);
        assert_eq!(index.similar(&sketch(&key, 600_000..600_900)).unwrap(), []);
    }

    #[test]
    fn three_are_found_the_most_similar_first() {
        let mut index = SimilarityIndex::default();
        assert_eq!(found(&index, &lanes([1; 8])), []);
        index.insert(&lanes([1, 2, 0, 0, 0, 0, 0, 0]), 10).unwrap();
        index.insert(&lanes([0, 0, 3, 4, 5, 0, 0, 0]), 11).unwrap();
        index.insert(&lanes([0, 0, 0, 0, 0, 6, 0, 0]), 12).unwrap();
        index.insert(&lanes([0, 0, 0, 0, 0, 0, 7, 0]), 13).unwrap();
        assert_eq!(found(&index, &lanes([1, 2, 3, 4, 5, 6, 7, 8])), [(11, 3), (10, 2), (13, 1)]);
        // A number counts in its own lane only.
        assert_eq!(found(&index, &lanes([8, 1, 2, 3, 4, 5, 6, 7])), []);
        // The later of two that agree in the same.
        index.insert(&lanes([1, 2, 3, 9, 9, 9, 9, 9]), 14).unwrap();
        assert_eq!(found(&index, &lanes([1, 2, 3, 4, 5, 6, 7, 8])), [(14, 3), (11, 2), (13, 1)]);
    }
}
