//! The members of streams: under a name that says whose each is, since a tar has no place for them.

use intellistor_storage::manifest::streams;

/// The pax record of a stream.
pub const STREAM: &str = "INTELLISTOR.stream";
const STREAMS: &[u8] = b".intellistor/streams/";

/// The path of the member of a stream, from the path of its entry.
pub(crate) fn stream_member(path: &[u8]) -> Vec<u8> {
    let (owner, name) = streams::split(path).unwrap_or((path, b""));
    [STREAMS, owner, b":", name].concat()
}

/// The path of a stream's entry, from the path of a member with its record. `None` where that is no path of one.
pub fn stream_of_member(path: &[u8]) -> Option<Vec<u8>> {
    let path = path.strip_prefix(STREAMS)?;
    let colon = path.iter().rposition(|byte| *byte == b':')?;
    let path = streams::path_of(&path[..colon], &path[colon + 1..]);
    streams::split(&path).is_some().then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_member_of_a_stream_says_whose_it_is() {
        for (entry, member) in [
            ("a/b.txt//:Zone.Identifier", ".intellistor/streams/a/b.txt:Zone.Identifier"),
            (".//:x", ".intellistor/streams/.:x"),
            // As only tests have it: a path with what no Windows name has.
            ("a:b//:c", ".intellistor/streams/a:b:c"),
        ] {
            assert_eq!(stream_member(entry.as_bytes()), member.as_bytes());
            assert_eq!(stream_of_member(member.as_bytes()).unwrap(), entry.as_bytes());
        }
        for none in [
            "a:x",
            ".intellistor/streams/a",
            ".intellistor/streams/:x",
            ".intellistor/streams/a:",
            ".intellistor/streams/a:b/c",
        ] {
            assert_eq!(stream_of_member(none.as_bytes()), None, "{none}");
        }
    }
}
