//! The order of a walk, and so that of a manifest's entries: depth first, each folder before its content, names in the
//! order of their bytes, roots as the policy names them.

use std::cmp::Ordering;

use crate::source::Root;

/// Compares paths as a walk over some roots meets them.
#[derive(Debug, Clone, Default)]
pub(super) struct WalkOrder {
    /// What the paths below each root begin with, where there are several roots.
    prefixes: Vec<Vec<u8>>,
}

impl WalkOrder {
    pub(super) fn of(roots: &[Root]) -> Self {
        let prefixes = match roots {
            [_] => Vec::new(),
            several => several.iter().map(|root| root.prefix.clone().into_bytes()).collect(),
        };
        Self { prefixes }
    }

    pub(super) fn compare(&self, a: &[u8], b: &[u8]) -> Ordering {
        self.root_of(a).cmp(&self.root_of(b)).then_with(|| compare_below_root(a, b))
    }

    /// Paths below no root come last.
    fn root_of(&self, path: &[u8]) -> usize {
        let first = || path.split(|&b| b == b'/').next().unwrap_or(path);
        match self.prefixes.as_slice() {
            [] => 0,
            prefixes => {
                let first = first();
                prefixes.iter().position(|prefix| prefix == first).unwrap_or(prefixes.len())
            }
        }
    }
}

/// Compares paths below one root, name by name: a `/` ends a name, and a name comes before those that begin with it.
pub fn compare_below_root(a: &[u8], b: &[u8]) -> Ordering {
    let (a, b) = (without_dot(a), without_dot(b));
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((b'/', _)) => Ordering::Less,
        Some((_, b'/')) => Ordering::Greater,
        Some((a, b)) => a.cmp(b),
        None => a.len().cmp(&b.len()),
    }
}

/// Whether `path` is `folder`, or is in it.
pub(super) fn is_within(path: &[u8], folder: &[u8]) -> bool {
    match without_dot(folder) {
        b"" => true,
        folder => path.strip_prefix(folder).is_some_and(|rest| matches!(rest.first(), None | Some(b'/'))),
    }
}

/// A root that is the only one is `.`, and no path below it says so, other than that of a stream of the root.
fn without_dot(path: &[u8]) -> &[u8] {
    path.strip_prefix(b".").filter(|rest| rest.is_empty() || rest.starts_with(b"//")).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(prefix: &str) -> Root {
        Root { path: prefix.into(), prefix: prefix.into(), snapshot: None }
    }

    #[test]
    fn folders_come_before_their_content_and_names_in_the_order_of_their_bytes() {
        let walk: [&[u8]; 12] =
            [b".", b"!", b"a", b"a/!", b"a/b", b"a/b/c", b"a/b!", b"a!", b"a-", b"a.", b"a0", b"\xff"];
        let order = WalkOrder::of(&[root("")]);
        for (i, a) in walk.iter().enumerate() {
            for (j, b) in walk.iter().enumerate() {
                assert_eq!(order.compare(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }

    /// As the walk finds them, whatever the names in a folder begin with.
    #[test]
    fn streams_come_behind_their_file_and_before_what_is_in_it() {
        let walk: [&[u8]; 11] = [
            b".",
            b".//:x",
            b"!",
            b"a",
            b"a//:1",
            b"a//:Zone.Identifier",
            b"a/\x01",
            b"a/:x",
            b"a/b",
            b"a!",
            b"a.txt",
        ];
        let order = WalkOrder::of(&[root("")]);
        for (i, a) in walk.iter().enumerate() {
            for (j, b) in walk.iter().enumerate() {
                assert_eq!(order.compare(a, b), i.cmp(&j), "{a:?} {b:?}");
            }
        }
        let order = WalkOrder::of(&[root("b"), root("a")]);
        let walk: [&[u8]; 5] = [b"b", b"b//:x", b"b/a", b"a", b"a//:x"];
        assert!(walk.is_sorted_by(|a, b| order.compare(a, b).is_lt()));
        assert!(is_within(b"a//:x", b"a") && is_within(b".//:x", b"."));
    }

    #[test]
    fn roots_come_as_the_policy_names_them() {
        let order = WalkOrder::of(&[root("b"), root("a"), root("a-2")]);
        let walk: [&[u8]; 7] = [b"b", b"b/z", b"a", b"a/x", b"a-2", b"a-2/x", b"0"];
        assert!(walk.is_sorted_by(|a, b| order.compare(a, b).is_lt()));
    }

    #[test]
    fn what_is_in_a_folder_is_known_by_whole_names() {
        assert!(is_within(b"a/b", b"a") && is_within(b"a", b"a") && is_within(b"x", b"."));
        assert!(!is_within(b"a-b", b"a") && !is_within(b"a", b"a/b") && !is_within(b"a", b"b"));
    }
}
