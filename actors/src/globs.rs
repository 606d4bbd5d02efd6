//! Globs over relative paths: what a policy excludes, what `--only` selects.
//!
//! `*` crosses `/`, a folder that matches stands for all that is in it, a backslash takes the next character literally,
//! and both sides are compared in Unicode NFC: what a person types on one system matches what another system stored.

use std::borrow::Cow;

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Occurs when a pattern is no glob.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the pattern {pattern:?} is not valid: {reason}")]
pub struct BadGlob {
    /// The pattern.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A set of globs; a path matches when one of them does.
#[derive(Debug, Clone)]
pub struct PathGlobs(GlobSet);

impl PathGlobs {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`BadGlob`] names the first that is not valid.
    pub fn new(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, BadGlob> {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let bad =
                |e: globset::Error| BadGlob { pattern: pattern.to_owned(), reason: e.kind().to_string() };
            let pattern = nfc(pattern);
            let below = match pattern.strip_suffix('/') {
                // A file of that name is not meant.
                Some(folder) => format!("{folder}/*"),
                None => {
                    set.add(glob(&pattern).map_err(bad)?);
                    format!("{pattern}/*")
                }
            };
            set.add(glob(&below).map_err(bad)?);
        }
        let set = set.build();
        let too_large =
            |e: globset::Error| BadGlob { pattern: "(all)".to_owned(), reason: e.kind().to_string() };
        Ok(Self(set.map_err(too_large)?))
    }

    /// Whether one of the globs matches the whole path, or a folder that it is in.
    pub fn is_match(&self, relative_path: &str) -> bool {
        !self.0.is_empty() && self.0.is_match(nfc(relative_path).as_ref())
    }

    /// Whether there is no glob.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build()
}

fn nfc(text: &str) -> Cow<'_, str> {
    if is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_matches_as_a_person_expects() {
        let matches = |glob: &str, path: &str| PathGlobs::new([glob]).unwrap().is_match(path);
        assert!(matches("*.png", "docs/imagens/a.png"));
        assert!(matches("docs/*", "docs/a/b"));
        assert!(!matches("docs/*", "docs") && !matches("docs/*", "outros/docs/a"));
        for docs in ["docs", "docs/", "d?cs", "docs\\/"] {
            assert!(matches(docs, "docs/a") && matches(docs, "docs/a/b"), "{docs}");
            assert!(!matches(docs, "docs2") && !matches(docs, "outros/docs/a"), "{docs}");
        }
        assert!(matches("docs", "docs") && !matches("docs/", "docs"));
        assert!(!matches("*/", "a") && !matches("build*/", "build.log") && matches("build*/", "build-1/a"));
        assert!(matches("C\u{f3}pia*", "Co\u{301}pia de a.txt"), "NFC pattern, NFD name");
        assert!(matches("Co\u{301}pia*", "C\u{f3}pia de a.txt"), "NFD pattern, NFC name");
        assert!(matches("a\\*b", "a*b") && !matches("a\\*b", "axb"));
        assert!(!PathGlobs::new(Vec::<String>::new()).unwrap().is_match("a"));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let told = PathGlobs::new(["ok", "a[", "b{"]).unwrap_err().to_string();
        assert!(told.contains("a["), "{told}");
    }
}
