//! Globs over relative paths: what a policy excludes, what `--only` selects.
//!
//! `*` crosses `/`, a folder that matches includes all that is in it, a backslash takes the next character literally,
//! and both sides are compared in Unicode NFC: a pattern typed on one system matches names stored by another.
//! `?` and a class take one character, not one byte. A name with brackets or braces in it is also matched by itself: a copied `[2024] a.pdf` means that file.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use globset::{Glob, GlobBuilder, GlobSet, GlobSetBuilder};
use regex::{RegexSet, RegexSetBuilder};
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The most that compiled patterns with `?` or a class may take: some ten thousand of them.
const MOST_BYTES: usize = 64 << 20;

/// Occurs when a pattern is no glob.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the pattern {pattern:?} is not valid: {reason}")]
pub struct BadGlob {
    pub pattern: String,
    pub reason: String,
}

/// A set of globs; a path matches when one of them does. Clones know together which patterns have matched.
#[derive(Debug, Clone)]
pub struct PathGlobs {
    /// What means the same over bytes as over characters. Names and folders are looked up here, however many there are.
    plain: GlobSet,
    /// For each glob of the set, the pattern that it was made of.
    plain_origins: Vec<usize>,
    /// What has `?` or a class.
    by_character: RegexSet,
    by_character_origins: Vec<usize>,
    patterns: Arc<[Pattern]>,
    ignores_case: bool,
}

#[derive(Debug)]
struct Pattern {
    text: String,
    matched: AtomicBool,
}

impl PathGlobs {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`BadGlob`] names the first that is not valid.
    pub fn new(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, BadGlob> {
        Self::compile(patterns, false)
    }

    /// Compiles the patterns, which match names of another case too, as Windows compares names.
    ///
    /// # Errors
    /// [`BadGlob`] names the first that is not valid.
    pub fn ignoring_case(patterns: impl IntoIterator<Item = impl AsRef<str>>) -> Result<Self, BadGlob> {
        Self::compile(patterns, true)
    }

    fn compile(
        patterns: impl IntoIterator<Item = impl AsRef<str>>,
        ignores_case: bool,
    ) -> Result<Self, BadGlob> {
        let (mut plain, mut by_character, mut all) = (GlobSetBuilder::new(), Vec::new(), Vec::new());
        let (mut plain_origins, mut by_character_origins) = (Vec::new(), Vec::new());
        for pattern in patterns {
            let text = pattern.as_ref().to_owned();
            let bad = |e: globset::Error| BadGlob { pattern: text.clone(), reason: e.kind().to_string() };
            let mut add = |form: &str| {
                let parsed = glob(form)?;
                if takes_one_byte(parsed.regex()) {
                    by_character.push(regex_of(&parsed, ignores_case));
                    by_character_origins.push(all.len());
                } else {
                    plain.add(if ignores_case { glob(&upper_case(form))? } else { parsed });
                    plain_origins.push(all.len());
                }
                Ok(())
            };
            let composed = compose(&text);
            let (name, is_folder) = match composed.strip_suffix('/') {
                // A file of that name is not meant.
                Some(folder) => (folder, true),
                None => (composed.as_ref(), false),
            };
            for form in [name.to_owned()].into_iter().chain(literal_forms(name)) {
                if !is_folder {
                    add(&form).map_err(bad)?;
                }
                add(&format!("{form}/*")).map_err(bad)?;
            }
            all.push(Pattern { text, matched: AtomicBool::new(false) });
        }
        let too_large = |reason: String| BadGlob { pattern: "(all)".to_owned(), reason };
        let plain = plain.build().map_err(|e| too_large(e.kind().to_string()))?;
        let by_character = RegexSetBuilder::new(by_character).size_limit(MOST_BYTES).build();
        let by_character = by_character.map_err(|e| too_large(e.to_string()))?;
        let patterns = all.into();
        Ok(Self { plain, plain_origins, by_character, by_character_origins, patterns, ignores_case })
    }

    /// Whether one of the globs matches the whole path, or a folder that it is in.
    pub fn is_match(&self, relative_path: &str) -> bool {
        if self.is_empty() {
            return false;
        }
        let path = fold(relative_path, self.ignores_case);
        if self.patterns.iter().all(|pattern| pattern.matched.load(Ordering::Relaxed)) {
            return self.plain.is_match(path.as_ref()) || self.by_character.is_match(path.as_ref());
        }
        let plain = self.plain.matches(path.as_ref());
        let plain = plain.iter().map(|&glob| self.plain_origins[glob]);
        let by_character = self.by_character.matches(path.as_ref());
        let by_character = by_character.iter().map(|glob| self.by_character_origins[glob]);
        let mut matches = false;
        for origin in plain.chain(by_character) {
            self.patterns[origin].matched.store(true, Ordering::Relaxed);
            matches = true;
        }
        matches
    }

    /// The patterns that have matched nothing so far.
    pub fn unmatched(&self) -> impl Iterator<Item = &str> {
        let unmatched = self.patterns.iter().filter(|pattern| !pattern.matched.load(Ordering::Relaxed));
        unmatched.map(|pattern| pattern.text.as_str())
    }

    /// Whether there is no glob.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

/// What else a pattern may mean: the name that it spells out.
fn literal_forms(pattern: &str) -> Vec<String> {
    let escape = |special: &[char]| {
        let escaped =
            pattern.chars().flat_map(|c| special.contains(&c).then_some('\\').into_iter().chain([c]));
        escaped.collect()
    };
    if pattern.contains('\\') {
        vec![escape(&['\\', '*', '?', '[', ']', '{', '}'])]
    } else if pattern.contains(['[', '{']) {
        // `*` and `?` match themselves as well, so that `[2024]/*` is covered.
        vec![escape(&['[', ']', '{', '}'])]
    } else {
        Vec::new()
    }
}

/// The pattern that matches this path, and what is in it if it is a folder, and nothing else.
pub fn literal(relative_path: &str) -> String {
    let is_special = |c: char| matches!(c, '\\' | '*' | '?' | '[' | ']' | '{' | '}');
    relative_path.chars().flat_map(|c| is_special(c).then_some('\\').into_iter().chain([c])).collect()
}

/// Why no file that a policy or a backup can name is what a pattern means, and what to write instead.
pub fn mistake(pattern: &str) -> Option<String> {
    mistake_on(pattern, cfg!(windows))
}

/// On Windows no name has `*` or `?`, so that a backslash before one was meant as a separator.
fn mistake_on(pattern: &str, windows: bool) -> Option<String> {
    let quoted = |text: &str| format!("write {text:?}");
    let has_drive =
        matches!(pattern.as_bytes(), [letter, b':', b'/' | b'\\', ..] if letter.is_ascii_alphabetic());
    if pattern.trim_matches('/').is_empty() {
        return Some("it names nothing".to_owned());
    }
    if let Some(rest) = pattern.strip_prefix('!') {
        return Some(format!(
            "`!` cannot re-include anything; only matching files are excluded. Remove it, or {} for a \
             name that begins with `!`",
            quoted(&format!("\\!{rest}"))
        ));
    }
    let relative = "patterns are matched against the path relative to the folder that is backed up";
    if pattern.starts_with(['/']) || pattern.starts_with("\\\\") || has_drive {
        let slashes = pattern.replace('\\', "/");
        let path = if has_drive { &slashes[2..] } else { &slashes };
        let last = path.trim_end_matches(['*', '/']).rsplit('/').next().unwrap_or_default();
        let example = if last.is_empty() { "cache".to_owned() } else { last.to_owned() };
        return Some(format!(
            "it is an absolute path, and {relative}: {} for what is directly in it, or {} for what is deeper",
            quoted(&example),
            quoted(&format!("*/{example}"))
        ));
    }
    let is_separator = |next: Option<char>| match next {
        Some(c) => {
            c.is_alphanumeric()
                || c == '_'
                || (windows && matches!(c, '*' | '?' | '.' | ' ' | '-' | '$' | '~' | '('))
        }
        None => true,
    };
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\\' && is_separator(chars.peek().copied()) {
            let right = pattern.replace('\\', "/");
            return Some(format!("folders are separated by `/` on every system: {}", quoted(&right)));
        }
        if c == '\\' {
            chars.next();
        }
    }
    let parts: Vec<_> = pattern.split('/').collect();
    if parts.contains(&"..") {
        return Some(format!("nothing above the folder is backed up, and {relative}"));
    }
    let is_noise = |(at, part): (usize, &&str)| *part == "." || (part.is_empty() && at + 1 < parts.len());
    if parts.iter().enumerate().any(is_noise) {
        let right: Vec<_> =
            parts.iter().enumerate().filter(|&part| !is_noise(part)).map(|(_, part)| *part).collect();
        return Some(format!(
            "{relative}, which has neither `.` nor empty parts: {}",
            quoted(&right.join("/"))
        ));
    }
    None
}

/// What may be wrong with a pattern that matched nothing; empty where nothing is suspicious.
pub fn suspicion(pattern: &str) -> String {
    if let Some(mistake) = mistake(pattern) {
        return format!(": {mistake}");
    }
    if pattern.contains('\\') {
        let right = pattern.replace('\\', "/");
        return format!(
            ": a backslash takes the next character literally, and folders are separated by `/`. Perhaps you mean {right:?}"
        );
    }
    if pattern.starts_with('~') || pattern.contains(['$', '%']) {
        return ": `~` and variables are not expanded".to_owned();
    }
    String::new()
}

fn glob(pattern: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build()
}

/// Whether a part of globset's expression takes one byte, which is not always a character: `?` and a class. `.*` takes any.
fn takes_one_byte(regex: &str) -> bool {
    let mut bytes = regex.bytes().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'[' => return true,
            b'.' if bytes.peek() != Some(&b'*') => return true,
            _ => {}
        }
    }
    false
}

/// A pattern as a regular expression over characters: globset's is one over bytes, in which other characters than ASCII are
/// escapes. `ignores_case`: it matches what [`fold`] makes of names.
fn regex_of(glob: &Glob, ignores_case: bool) -> String {
    let of_bytes = glob.regex();
    let mut bytes = of_bytes.strip_prefix("(?-u)").unwrap_or(of_bytes).bytes();
    let (mut regex, mut literal) = (b"(?s)".to_vec(), Vec::new());
    let mut in_class = false;
    // What is upper-cased is whole characters: an escape of a character follows that of the one before.
    let flush = |literal: &mut Vec<u8>, regex: &mut Vec<u8>, in_class: bool| {
        let text = String::from_utf8_lossy(literal);
        let folded = if ignores_case && !in_class { upper_case(&text) } else { text.into_owned() };
        regex.extend(folded.into_bytes());
        literal.clear();
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => match bytes.next() {
                Some(b'x') => {
                    let digits = [bytes.next(), bytes.next()].map(|digit| digit.unwrap_or_default());
                    let digits = std::str::from_utf8(&digits).ok();
                    literal.extend(digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()));
                }
                escaped => {
                    flush(&mut literal, &mut regex, in_class);
                    regex.push(byte);
                    regex.extend(escaped);
                }
            },
            b'[' | b']' => {
                flush(&mut literal, &mut regex, in_class);
                in_class = byte == b'[';
                match (in_class, ignores_case) {
                    // The ends of a range have no capitals that are the ends of another.
                    (true, true) => regex.extend(b"(?i:["),
                    (false, true) => regex.extend(b"])"),
                    (_, false) => regex.push(byte),
                }
            }
            _ => literal.push(byte),
        }
    }
    flush(&mut literal, &mut regex, in_class);
    String::from_utf8_lossy(&regex).into_owned()
}

/// A name as it is compared.
fn fold(text: &str, ignores_case: bool) -> Cow<'_, str> {
    let text = compose(text);
    if ignores_case { Cow::Owned(upper_case(&text)) } else { text }
}

/// In Unicode NFC.
fn compose(text: &str) -> Cow<'_, str> {
    if is_nfc(text) { Cow::Borrowed(text) } else { Cow::Owned(text.nfc().collect()) }
}

/// A name as Windows compares names: each character by its capital, whatever the language and whatever is beside it. A
/// character whose capital is two (U+00DF, sharp s), or an ASCII letter (U+0131, the Turkish i), is itself: to a file system of
/// Windows those are other names.
pub(crate) fn upper_case(name: &str) -> String {
    let capital = |c: char| {
        let mut capitals = c.to_uppercase();
        match (capitals.next(), capitals.next()) {
            (Some(capital), None) if c.is_ascii() || !capital.is_ascii() => capital,
            _ => c,
        }
    };
    name.chars().map(capital).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What globset's own set says of a pattern, as it was used before: over bytes, which for ASCII are characters.
    fn as_globset(pattern: &str, path: &str) -> Result<bool, BadGlob> {
        let glob = |pattern: &str| {
            let glob = GlobBuilder::new(pattern).literal_separator(false).backslash_escape(true).build();
            let bad =
                |e: globset::Error| BadGlob { pattern: pattern.to_owned(), reason: e.kind().to_string() };
            Ok(glob.map_err(bad)?.compile_matcher().is_match(path))
        };
        let (name, is_folder) = pattern.strip_suffix('/').map_or((pattern, false), |folder| (folder, true));
        let mut matches = false;
        for form in [name.to_owned()].into_iter().chain(literal_forms(name)) {
            matches |= !is_folder && glob(&form)?;
            matches |= glob(&format!("{form}/*"))?;
        }
        Ok(matches)
    }

    #[test]
    fn only_what_takes_one_character_is_no_plain_pattern() {
        for (pattern, by_character) in [
            ("a", 0),
            ("*/b*.x", 0),
            ("**/a/**", 0),
            ("{a,b*}", 0),
            ("\\[a\\?.b", 0),
            ("?", 2),
            ("**/a?", 2),
            // A name may have braces and `?`, too.
            ("{a,?}", 4),
            ("[a]", 2),
            // A file is in its folder.
            ("?/", 1),
        ] {
            for ignores_case in [false, true] {
                let globs = PathGlobs::compile([pattern], ignores_case).unwrap();
                assert_eq!(globs.by_character.len(), by_character, "{pattern}");
            }
        }
    }

    /// As a list of files to restore has them.
    #[test]
    fn very_many_names_are_a_set_and_no_automaton() {
        let names = (0..20_000).map(|n| format!("{}/{n}.pdf", "folder/".repeat(20)));
        let globs = PathGlobs::new(names).unwrap();
        let last = format!("{}/19999.pdf", "folder/".repeat(20));
        assert!(globs.is_match(&last) && !globs.is_match("folder/19999.pdf"));
        assert_eq!(globs.unmatched().count(), 19_999);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4096) })]

        #[test]
        fn an_ascii_pattern_means_what_globset_says(
            pattern in r"([ab/.]|\*|\?|\[|\]|\{|\}|,|!|\^|-|&&|~~|--|\\|\\x41|\[\[:alpha:\]\]|\[a&&b\]|[(|)+$#:A]|\n|\x00){0,10}",
            paths in proptest::collection::vec(r"[abxA/.\[\]{}!^&~:\\,\-\n\x004]{0,6}", 8),
        ) {
            for path in &paths {
                // Elsewhere names have backslashes.
                let path = &if cfg!(windows) { path.replace('\\', "/") } else { path.clone() };
                let expected = as_globset(&pattern, path).map_err(|e| e.reason);
                let found = PathGlobs::new([&pattern]).map(|globs| globs.is_match(path)).map_err(|e| e.reason);
                prop_assert_eq!(found, expected, "{:?} on {:?}", pattern, path);
            }
        }
    }

    #[test]
    fn one_of_any_characters_is_meant_not_one_byte() {
        let matches = |glob: &str, path: &str| {
            let case = PathGlobs::new([glob]).unwrap().is_match(path);
            assert_eq!(case, PathGlobs::ignoring_case([glob]).unwrap().is_match(path), "{glob} {path}");
            case
        };
        for name in ["relat\u{f3}rio.pdf", "relato\u{301}rio.pdf", "relatorio.pdf"] {
            assert!(matches("relat?rio.pdf", name) && matches("relat?rio*", name), "{name}");
            assert!(matches("relat[o\u{f3}]rio.pdf", name) && !matches("relat??rio.pdf", name), "{name}");
            assert!(!matches("relat[!o\u{f3}]rio.pdf", name), "{name}");
        }
        assert!(
            matches("[\u{e0}-\u{ff}].txt", "\u{e9}.txt") && !matches("[\u{e0}-\u{ff}].txt", "\u{d7}.txt")
        );
        assert!(matches("?", "\u{65e5}") && matches("?", "\u{1f600}") && matches("?", "\n"));
        assert!(matches("[!a]", "\u{1f600}") && !matches("[!a]", "ab"));
        assert!(matches("{\u{e1},b\u{e9}}/x", "b\u{e9}/x") && matches("a\\\u{e1}", "a\u{e1}"));
        for special in ["a.b", "a+b", "(a)", "a|b", "a^b", "$a", "x41", "\\x41", "\u{fffd}"] {
            // To globset a backslash in a path is a separator, on Windows.
            let is_path = !cfg!(windows) || !special.contains('\\');
            assert_eq!(matches(&literal(special), special), is_path, "{special}");
        }
        assert!(!matches("a.b", "aXb") && !matches(&literal("\\x41"), "A"));
    }

    #[test]
    fn the_range_of_a_class_means_both_cases_of_its_letters_and_nothing_else() {
        let matches = |glob: &str, path: &str| PathGlobs::ignoring_case([glob]).unwrap().is_match(path);
        for (class, within, without) in [
            ("[\u{e0}-\u{ff}]", "\u{e0}\u{c0}\u{fc}\u{dc}\u{ff}", "\u{df}\u{d7}\u{100}a"),
            ("[a-\u{e9}]", "aZ{\u{e9}\u{c9}", "_[@9"),
            ("[_-z]", "_aZ", "^{"),
            ("[A-C]", "aBc", "d"),
        ] {
            assert!(within.chars().all(|c| matches(class, &c.to_string())), "{class}");
            let wrong: Vec<_> = without.chars().filter(|c| matches(class, &c.to_string())).collect();
            assert!(wrong.is_empty(), "{class} matches {wrong:?}");
        }
        assert!(matches("x[!a-c]", "Xd") && !matches("x[!a-c]", "XB"));
    }

    #[test]
    fn patterns_match_as_expected() {
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
    fn a_name_with_brackets_or_braces_matches_itself() {
        let matches = |glob: &str, path: &str| PathGlobs::new([glob]).unwrap().is_match(path);
        assert!(matches("[2024] report.pdf", "[2024] report.pdf"));
        assert!(matches("[2024] report.pdf", "2 report.pdf"), "it is a glob all the same");
        assert!(matches("[2024]", "[2024]/a") && matches("[2024]/", "[2024]/a"));
        assert!(matches("[2024]/*.pdf", "[2024]/a.pdf") && !matches("[2024]/*.pdf", "[2024]/a.txt"));
        assert!(matches("{a,b}", "{a,b}") && matches("{a,b}", "b") && !matches("{a,b}", "c"));
        #[cfg(unix)]
        assert!(matches("a\\b", "a\\b"), "a name of Unix");
        assert!(matches("\\[2024\\] a", "[2024] a") && !matches("\\[2024\\] a", "2 a"));
        assert!(matches("[2024] relat\u{f3}rio", "[2024] relato\u{301}rio"));
    }

    #[test]
    fn case_is_ignored_where_it_is_asked_for() {
        let globs = PathGlobs::ignoring_case(["*.TMP", "C\u{d3}PIA*"]).unwrap();
        for path in ["a.tmp", "x/A.Tmp", "c\u{f3}pia de a", "Co\u{301}pia"] {
            assert!(globs.is_match(path), "{path}");
        }
        assert!(!PathGlobs::new(["*.TMP"]).unwrap().is_match("a.tmp"));
    }

    #[test]
    fn case_is_ignored_as_windows_does() {
        let matches = |glob: &str, path: &str| PathGlobs::ignoring_case([glob]).unwrap().is_match(path);
        for (glob, path, expected) in [
            ("A\u{c7}\u{c3}O*", "a\u{e7}\u{e3}o 2026", true),
            ("a\u{e7}\u{e3}o/*", "AC\u{327}A\u{303}O/x", true),
            ("STRASSE", "stra\u{df}e", false),
            ("stra\u{df}e", "STRA\u{df}E", true),
            // To a file system no letter depends on the language: a dotless or dotted Turkish one is another name.
            ("I*", "ilha", true),
            ("I*", "\u{131}x", false),
            ("\u{130}*", "ix", false),
            // A sigma at the end of a word has a form of its own, which must not depend on a wildcard behind it.
            ("\u{3a3}*", "\u{3c3}\u{3b1}", true),
            ("\u{39f}\u{394}\u{39f}\u{3a3}*", "\u{3bf}\u{3b4}\u{3bf}\u{3c3}\u{3b1}", true),
            ("\u{39f}\u{394}\u{39f}\u{3a3}", "\u{3bf}\u{3b4}\u{3bf}\u{3c2}", true),
            ("[a-c]x", "BX", true),
            ("[!a]x", "AX", false),
        ] {
            assert_eq!(matches(glob, path), expected, "{glob} {path}");
        }
    }

    #[test]
    fn patterns_that_matched_nothing_are_known_to_every_clone() {
        let globs = PathGlobs::new(["*.tmp", "cache/", "[x]"]).unwrap();
        let clone = globs.clone();
        assert!(clone.is_match("a.tmp") && !clone.is_match("cache"));
        assert_eq!(globs.unmatched().collect::<Vec<_>>(), ["cache/", "[x]"]);
        assert!(clone.is_match("cache/a") && clone.is_match("[x]"));
        assert_eq!(globs.unmatched().count(), 0);
    }

    #[test]
    fn a_pattern_that_cannot_match_is_reported_with_a_correction() {
        for (pattern, right) in [
            ("/abs/cache", "\"cache\""),
            ("/abs/cache/*", "\"*/cache\""),
            ("C:\\dados\\cache", "\"cache\""),
            ("\\\\servidor\\dados", "\"dados\""),
            ("./cache", "\"cache\""),
            ("a/./b", "\"a/b\""),
            ("a//b/", "\"a/b/\""),
            ("../x", "above"),
            ("!x", "\"\\\\!x\""),
            ("cache\\tmp", "\"cache/tmp\""),
            ("", "names nothing"),
            ("/", "names nothing"),
        ] {
            let text = mistake(pattern).unwrap_or_else(|| panic!("{pattern:?} passes"));
            assert!(text.contains(right), "{pattern:?}: {text}");
        }
        for pattern in ["cache", "*.tmp", "**/a", "docs/", "a\\[b", "\\!x", "a: b", "~x", "..a", "a.", "é/ç"]
        {
            assert_eq!(mistake(pattern), None, "{pattern}");
        }
        for (pattern, hint) in [("cache\\*", "\"cache/*\""), ("~/x", "expanded"), ("$HOME/x", "expanded")] {
            assert_eq!(mistake_on(pattern, false), None, "{pattern}");
            assert!(cfg!(windows) || suspicion(pattern).contains(hint), "{pattern}: {}", suspicion(pattern));
        }
        assert_eq!(suspicion("*.tmp"), "");
        for (pattern, right) in [
            ("Temp\\*", "\"Temp/*\""),
            ("*\\Temp\\?.log", "\"*/Temp/?.log\""),
            ("AppData\\.cache", "\"AppData/.cache\""),
            ("Dados\\$x", "\"Dados/$x\""),
            ("Temp\\", "\"Temp/\""),
            ("C:\\", "\"cache\""),
        ] {
            let text = mistake_on(pattern, true).unwrap_or_else(|| panic!("{pattern:?} passes"));
            assert!(text.contains(right), "{pattern:?}: {text}");
        }
        // A bracket can be in a name of Windows.
        assert_eq!(mistake_on("\\[2024\\] a", true), None);
    }

    #[test]
    fn a_literal_pattern_matches_its_path_alone() {
        for (path, other) in [
            ("a*b", "axb"),
            ("[2024] x?", "2 x1"),
            ("{a,b}", "a"),
            #[cfg(unix)]
            ("a\\b", "ab"),
            ("-a/ção", "-a/cao"),
            ("!a", "a"),
        ] {
            let globs = PathGlobs::new([literal(path)]).unwrap();
            assert!(globs.is_match(path) && !globs.is_match(other), "{path}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let refused = PathGlobs::new(["ok", "a[", "b{"]).unwrap_err().to_string();
        assert!(refused.contains("a["), "{refused}");
    }
}
