//! The beginnings of backups' ids: long enough to tell them apart, short enough to type.

/// Ids begin with the time in milliseconds; eight characters of it change every minute.
const FEWEST: usize = 8;

/// How many characters tell these ids apart.
pub(crate) fn length<'a>(ids: impl IntoIterator<Item = &'a str>) -> usize {
    let mut ids: Vec<&str> = ids.into_iter().collect();
    ids.sort_unstable();
    let common = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let longest =
        ids.windows(2).filter(|pair| pair[0] != pair[1]).map(|pair| common(pair[0], pair[1]) + 1).max();
    longest.unwrap_or(0).max(FEWEST)
}

/// The beginning of an id.
pub(crate) fn short(id: &str, length: usize) -> &str {
    id.get(..length).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_apart() {
        assert_eq!(length([]), 8);
        assert_eq!(length(["0192f3a1-7c31-x", "0192f3a2-0000-x"]), 8);
        assert_eq!(length(["0192f3a1-7c31-x", "0192f3a1-7c32-x", "0192f3a1-7c31-x"]), 13);
        assert_eq!((short("0192f3a1-7c31", 8), short("b", 8)), ("0192f3a1", "b"));
    }
}
