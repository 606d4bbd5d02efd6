//! Files of Windows that no restore wants: what memory is paged to, folders that the file system keeps for itself, and what
//! the registry's `FilesNotToBackup` names.
//!
//! **In:** rules as text, `[drive][path]\name [/s]`, and the variables that they use. **Out:** for an entry of a walk, the
//! rule that leaves it out. **Guarantees:** pure; a rule that would leave out all of a root does not apply to that root,
//! since the policy names it. Matched on the real path, not on that of a snapshot.
//!
//! The form is Microsoft's (*Registry Keys and Values for Backup and Restore*): without a drive it is meant for every volume,
//! only the name may have wildcards, and `/s` takes the folders below as well. A name without wildcards may be a
//! folder's, which is left out with all that is in it.

use std::collections::BTreeMap;

use crate::globs::upper_case;

/// What Windows keeps at the top of a volume and makes anew.
pub const OF_EVERY_VOLUME: [&str; 6] = [
    r"\pagefile.sys",
    r"\swapfile.sys",
    r"\hiberfil.sys",
    r"\DumpStack.log.tmp",
    r"\System Volume Information",
    r"\$Recycle.Bin",
];

/// Rules about which files are left out.
#[derive(Debug, Clone, Default)]
pub struct SystemFiles {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// As the registry has it.
    text: String,
    /// `C:`, or a share; `None` for every volume.
    volume: Option<String>,
    /// Names of folders from the top of the volume.
    folder: Vec<String>,
    /// The last name; `*` and `?` are wildcards.
    name: String,
    /// `/s`: in the folders below as well.
    is_deep: bool,
}

/// Occurs when a rule is not of the documented form, or uses a variable that is not set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule {rule:?} about files that are not backed up is not used: {reason}")]
pub struct BadRule {
    pub rule: String,
    pub reason: String,
}

impl SystemFiles {
    /// Adds a rule. `variable` has the values of `%NAME%`. A rule that is there already is not added again.
    ///
    /// # Errors
    /// [`BadRule`]; the other rules stay as they are.
    pub fn add(&mut self, text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<(), BadRule> {
        let bad = |reason: String| BadRule { rule: text.to_owned(), reason };
        let rule = Rule::parse(text, variable).map_err(bad)?;
        if !self.rules.iter().any(|other| Rule { text: rule.text.clone(), ..other.clone() } == rule) {
            self.rules.push(rule);
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rules that apply below a root, whose real path this is: `C:\Users`, `\\?\D:\`, `\\server\share\x`.
    pub(super) fn below(&self, root: &str) -> RulesBelow {
        let (volume, root) = split(root);
        let of_volume = |rule: &&Rule| rule.volume.as_ref().is_none_or(|of_rule| *of_rule == volume);
        RulesBelow {
            rules: self.rules.iter().filter(of_volume).filter_map(|rule| rule.below(&root)).collect(),
        }
    }
}

impl Rule {
    fn parse(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        let trimmed = text.trim();
        // `C:/Users/s` is a path: without a blank before it, `/s` would make all of `Users` of it.
        let ends_name =
            |before: &str| before.is_empty() || before.ends_with(|c: char| c.is_whitespace() || c == '"');
        let (path, is_deep) = match trimmed.char_indices().rev().nth(1) {
            Some((at, _)) if trimmed[at..].eq_ignore_ascii_case("/s") && ends_name(&trimmed[..at]) => {
                (&trimmed[..at], true)
            }
            _ => (trimmed, false),
        };
        let path = expand(path.trim().trim_matches('"'), variable)?;
        let (volume, mut names) = split(&path);
        let name = names.pop().ok_or("it names no file")?;
        if names.iter().any(|name| name.contains(['*', '?'])) {
            return Err("only its last name may have wildcards".to_owned());
        }
        if names.iter().chain([&name]).any(|name| name == "." || name == "..") {
            return Err("it has a relative part".to_owned());
        }
        let volume = (!volume.is_empty()).then_some(volume);
        // As ever since DOS, this is every name, with a dot or without.
        let is_every = name == "*.*" || name.trim_matches('*').is_empty();
        let name = if is_every { "*".to_owned() } else { name };
        Ok(Self { text: trimmed.to_owned(), volume, folder: names, name, is_deep })
    }

    /// What it means below a root, whose names from the top of the volume these are; `None` where nothing, or all.
    fn below(&self, root: &[String]) -> Option<RuleBelow> {
        let folder = if let Some(below) = self.folder.strip_prefix(root) {
            if below.is_empty() && self.is_deep && self.name == "*" {
                return None;
            }
            below
        } else {
            // The root is in the rule's folder. A name of a folder above it, or its own, would leave it out.
            let from_folder = root.strip_prefix(self.folder.as_slice())?;
            let names = if self.is_deep { from_folder } else { &from_folder[..1] };
            if !self.is_deep || names.iter().any(|name| matches(&self.name, name)) {
                return None;
            }
            &[]
        };
        Some(RuleBelow {
            text: self.text.clone(),
            folder: folder.join("/"),
            name: self.name.clone(),
            is_deep: self.is_deep,
        })
    }
}

/// The rules that apply below one root.
#[derive(Debug, Default)]
pub(super) struct RulesBelow {
    rules: Vec<RuleBelow>,
}

#[derive(Debug)]
struct RuleBelow {
    text: String,
    /// Relative to the root, with `/` and in capitals.
    folder: String,
    name: String,
    is_deep: bool,
}

impl RulesBelow {
    /// The rule that leaves out an entry, by its path relative to the root, with `/`. Of one that cannot be looked at it is
    /// not known whether it is a folder.
    pub(super) fn leaving_out(&self, below_root: &[u8], is_folder: Option<bool>) -> Option<&str> {
        if self.rules.is_empty() || below_root.is_empty() {
            return None;
        }
        let path = upper_case(&String::from_utf8_lossy(below_root));
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        self.rules.iter().find(|rule| rule.leaves_out(folder, name, is_folder)).map(|rule| &*rule.text)
    }
}

impl RuleBelow {
    fn leaves_out(&self, folder: &str, name: &str, is_folder: Option<bool>) -> bool {
        let is_there = folder == self.folder
            || self.is_deep
                && (self.folder.is_empty()
                    || folder.strip_prefix(&self.folder).is_some_and(|rest| rest.starts_with('/')));
        // `*.log` means files, and what is in a folder that happens to end so is not named by it.
        let may_be_folder = !self.name.contains(['*', '?']) || (self.is_deep && self.name == "*");
        is_there && (is_folder != Some(true) || may_be_folder) && matches(&self.name, name)
    }
}

/// How many entries each rule has left out.
pub(super) type LeftOutByRule = BTreeMap<String, u64>;

/// The volume, and the names below it, in capitals, in which Windows compares them.
fn split(path: &str) -> (String, Vec<String>) {
    let path = upper_case(path).replace('/', r"\");
    let (path, is_share) = match path.strip_prefix(r"\\?\UNC\") {
        Some(share) => (share, true),
        None => match path.strip_prefix(r"\\?\").or_else(|| path.strip_prefix(r"\\.\")) {
            Some(path) => (path, false),
            None => path.strip_prefix(r"\\").map_or((path.as_str(), false), |share| (share, true)),
        },
    };
    let mut names = path.split('\\').filter(|name| !name.is_empty()).map(str::to_owned);
    let volume = if is_share {
        names.by_ref().take(2).map(|name| format!(r"\{name}")).collect()
    } else if path.starts_with("VOLUME{") {
        names.next().unwrap_or_default()
    } else if path.as_bytes().get(1) == Some(&b':') {
        // `C:name` as well as `C:\name`.
        let rest = path[2..].split('\\').filter(|name| !name.is_empty());
        return (path[..2].to_owned(), rest.map(str::to_owned).collect());
    } else {
        String::new()
    };
    (volume, names.collect())
}

/// Replaces each `%NAME%`.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        let Some((name, behind)) = after.split_once('%') else { break };
        let value = variable(name).ok_or_else(|| format!("the variable {name} is not set"))?;
        out.push_str(before);
        out.push_str(value.trim_end_matches('\\'));
        rest = behind;
    }
    Ok(out + rest)
}

/// Whether a name matches a pattern of `*` and `?`, both in capitals.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                // The last star takes one more.
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(name: &str) -> Option<String> {
        let value = match name.to_ascii_uppercase().as_str() {
            "SYSTEMROOT" | "WINDIR" => r"C:\Windows",
            "TEMP" => r"C:\Windows\TEMP\",
            "USERPROFILE" => r"C:\Users\José",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn files(rules: &[&str]) -> SystemFiles {
        let mut files = SystemFiles::default();
        for rule in rules {
            files.add(rule, &variable).unwrap();
        }
        files
    }

    /// Whether rules leave out an entry below a root; a folder's path ends in `/`.
    fn leaves_out(rules: &[&str], root: &str, entry: &str) -> bool {
        let (entry, is_folder) = entry.strip_suffix('/').map_or((entry, false), |entry| (entry, true));
        files(rules).below(root).leaving_out(entry.as_bytes(), Some(is_folder)).is_some()
    }

    #[test]
    fn what_is_at_the_top_of_a_volume_is_left_out_there_alone() {
        for root in [r"C:\", r"\\?\C:\", "d:", r"\\?\Volume{6a2c}\", r"\\server\share", r"\\?\UNC\server\c$\"]
        {
            for entry in ["pagefile.sys", "HIBERFIL.SYS", "$RECYCLE.BIN/", "System Volume Information/"] {
                assert!(leaves_out(&OF_EVERY_VOLUME, root, entry), "{root} {entry}");
            }
            for entry in ["Dados/pagefile.sys", "pagefile.sys.bak", "Dados/$Recycle.Bin/", "Dados/"] {
                assert!(!leaves_out(&OF_EVERY_VOLUME, root, entry), "{root} {entry}");
            }
        }
        assert!(!leaves_out(&OF_EVERY_VOLUME, r"C:\Dados", "pagefile.sys"));
        assert!(!leaves_out(&OF_EVERY_VOLUME, r"\\server\share\x", "$Recycle.Bin/"));
    }

    /// The forms that installations of Windows Server have.
    #[test]
    fn rules_of_the_registry_mean_what_microsoft_says() {
        let table = [
            // The variable's value ends in a backslash; folders in it go with their content.
            (r"%TEMP%\* /s", r"C:\", "windows/temp/a/", true),
            (r"%TEMP%\* /s", r"C:\", "Windows/Temp/a/b.txt", true),
            (r"%TEMP%\* /s", r"C:\", "Windows/Temp/", false),
            (r"%TEMP%\* /s", r"D:\", "Windows/Temp/a", false),
            (r"%TEMP%\* /S", r"C:\Windows", "TEMP/x", true),
            (
                r"%windir%\softwaredistribution\*.* /s",
                r"C:\",
                "Windows/SoftwareDistribution/DataStore/",
                true,
            ),
            (r"%windir%\softwaredistribution\*.* /s", r"C:\", "Windows/SoftwareDistribution2/x", false),
            // Without `/s`, files of that folder alone.
            (r"%WINDIR%\debug\*", r"C:\", "Windows/debug/netlogon.log", true),
            (r"%WINDIR%\debug\*", r"C:\", "Windows/debug/WIA/", false),
            (r"%WINDIR%\debug\*", r"C:\", "Windows/debug/WIA/wia.log", false),
            (r"%SystemRoot%\netlogon.chg", r"C:\", "Windows/NETLOGON.CHG", true),
            (r"%SystemRoot%\Registration\*.crmlog /s", r"C:\Windows", "Registration/a/b.CrmLog", true),
            (r"%SystemRoot%\Registration\*.crmlog /s", r"C:\Windows", "Registration/a.crmlog/", false),
            (r"%UserProfile%\index.dat /s", r"C:\Users\JOSÉ\AppData", "Local/History/Index.dat", true),
            (r"%UserProfile%\index.dat /s", r"C:\Users\Ana", "index.dat", false),
            (
                r"\System Volume Information\*{3808876B-C176} /s",
                r"E:\",
                "System Volume Information/{1}{3808876b-c176}",
                true,
            ),
            (r"\System Volume Information\Heat\*.* /s", r"E:\", "System Volume Information/Heat/x", true),
            (
                r"C:\Windows\system32\MSDtc\trace\dtctrace.log",
                r"\\?\C:\Windows",
                "System32/msdtc/trace/dtctrace.log",
                true,
            ),
            (r"C:\Windows\memory.dmp", r"D:\", "Windows/memory.dmp", false),
            ("pagefile.sys", r"D:\", "pagefile.sys", true),
            ("C:pagefile.sys", r"C:\", "pagefile.sys", true),
            (r#""C:\a b\*" /s"#, r"C:\", "a b/c", true),
            (r"C:\Cache?\x", r"C:\", "Cache1/x", false),
            // A file `s`, and not all that is in `Users`.
            ("C:/Users/s", r"C:\", "Users/", false),
            ("C:/Users/s", r"C:\", "Users/Ana/a.txt", false),
            ("C:/Users/s", r"C:\", "Users/s", true),
        ];
        for (rule, root, entry, expected) in table {
            let mut files = SystemFiles::default();
            let (path, is_folder) = entry.strip_suffix('/').map_or((entry, false), |path| (path, true));
            let _ = files.add(rule, &variable);
            let found = files.below(root).leaving_out(path.as_bytes(), Some(is_folder)).is_some();
            assert_eq!(found, expected, "{rule} {root} {entry}");
        }
    }

    #[test]
    fn what_the_policy_names_is_not_left_out_by_a_rule_about_all_of_it() {
        for (rule, root, entry) in [
            (r"%TEMP%\* /s", r"C:\Windows\Temp", "a"),
            (r"%TEMP%\* /s", r"C:\Windows\Temp\dumps\today", "a"),
            (r"\System Volume Information", r"C:\System Volume Information", "a"),
            (r"\System Volume Information", r"C:\System Volume Information\x\y", "a"),
            (r"\pagefile.sys", r"C:\pagefile.sys", "pagefile.sys"),
            (r"C:\Dados\cache /s", r"C:\Dados\x\Cache\y", "a"),
            (r"\* /s", r"C:\", "a"),
            (r"\** /s", r"C:\", "a"),
            (r"\** /s", r"C:\", "b/a"),
        ] {
            assert!(!leaves_out(&[rule], root, entry), "{rule} {root}");
        }
        // Another rule still applies there.
        assert!(leaves_out(&[r"%TEMP%\* /s", r"C:\Windows\*.tmp /s"], r"C:\Windows\Temp", "x/a.tmp"));
    }

    #[test]
    fn a_rule_that_cannot_be_used_says_why_and_one_twice_counts_once() {
        let refused = |rule: &str| SystemFiles::default().add(rule, &variable).unwrap_err().to_string();
        for (rule, reason) in [
            (r"%NOSUCH%\*", "NOSUCH is not set"),
            (r"C:\Users\*\AppData\x", "wildcards"),
            ("", "names no file"),
            ("/s", "names no file"),
            (r"C:\", "names no file"),
            (r"C:\a\..\b", "relative"),
        ] {
            assert!(refused(rule).contains(reason), "{rule}: {}", refused(rule));
        }
        assert_eq!(files(&[r"\pagefile.sys", r"\Pagefile.SYS", r"\pagefile.sys /s"]).rules.len(), 2);
        // A percent sign alone is one of the name's.
        assert!(leaves_out(&[r"C:\100%"], r"C:\", "100%"));
    }

    #[test]
    fn wildcards_match_as_in_a_folder() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*.TMP", "A.TMP", true),
            ("*.TMP", "A.TMP2", false),
            ("A*B*C", "AXXBYYBC", true),
            ("?{1}", "É{1}", true),
            ("A?", "A", false),
            ("NTFRS_*", "NTFRS_", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
