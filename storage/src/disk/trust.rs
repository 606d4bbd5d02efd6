//! Which other accounts can write to the files that decide what runs and where data goes.
//!
//! **Rule**, as ssh has it. Every component of the path, and of every link on it, belongs to this account or to root, and
//! no other account may write it. In a folder that others may write and that is sticky, as `/tmp` is, no one can replace what is
//! another's, so it may be on the way. A group may write where this account is its only member: many systems give each account a
//! group of its own, and let it write. Who owns the root folder counts as root: in a container, root may have another
//! number.
//!
//! On Windows access lists say all this, and folders of users are theirs by default: nothing is checked.

use std::fs::File;
#[cfg(unix)]
use std::io;
use std::path::{Path, PathBuf};

/// Occurs when others can write what must be in one hand. The text names the component and who they are.
#[derive(Debug, thiserror::Error)]
#[error("{} {reason}", component.display())]
pub struct Untrusted {
    /// The file, or the folder or link on the way to it.
    pub component: PathBuf,
    reason: String,
}

#[cfg(unix)]
impl Untrusted {
    fn new(component: &Path, reason: impl Into<String>) -> Self {
        Self { component: component.to_owned(), reason: reason.into() }
    }

    fn unknown(component: &Path, error: &io::Error) -> Self {
        Self::new(component, format!("cannot be examined, so it is unknown who can write to it: {error}"))
    }
}

/// Checks that only this account and root can write what a path leads to. What is missing passes.
///
/// # Errors
/// [`Untrusted`].
pub fn check(path: &Path) -> Result<(), Untrusted> {
    system::check(path, &system::Trusted::caller()).map(drop)
}

/// The same for what another account runs; an account that is not known here has nothing of its own.
///
/// # Errors
/// [`Untrusted`].
pub fn check_for(account: &str, path: &Path) -> Result<(), Untrusted> {
    system::check(path, &system::Trusted::account(account)).map(drop)
}

/// The same for a file that was opened, which is what the path leads to.
///
/// # Errors
/// [`Untrusted`].
pub fn check_open(path: &Path, file: &File) -> Result<(), Untrusted> {
    system::check_open(path, file)
}

/// The same for a folder in which files are made: there no other account may even add one.
///
/// # Errors
/// [`Untrusted`].
pub fn check_folder(folder: &Path) -> Result<(), Untrusted> {
    system::check_folder(folder)
}

#[cfg(not(unix))]
mod system {
    use super::*;

    pub(super) struct Trusted;

    impl Trusted {
        pub(super) fn caller() -> Self {
            Self
        }

        pub(super) fn account(_: &str) -> Self {
            Self
        }
    }

    pub(super) fn check(_: &Path, _: &Trusted) -> Result<(), Untrusted> {
        Ok(())
    }

    pub(super) fn check_open(_: &Path, _: &File) -> Result<(), Untrusted> {
        Ok(())
    }

    pub(super) fn check_folder(_: &Path) -> Result<(), Untrusted> {
        Ok(())
    }
}

#[cfg(unix)]
mod system {
    use std::ffi::OsString;
    use std::fs::{self, Metadata};
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Component;

    use super::*;

    /// As many links as the system follows itself.
    const MOST_LINKS: u32 = 40;
    const ROOT: u32 = 0;
    const STICKY: u32 = 0o1000;
    const GROUP_WRITES: u32 = 0o020;
    const OTHERS_WRITE: u32 = 0o002;

    /// Accounts in whose hands something may be.
    pub(super) struct Trusted {
        uids: Vec<u32>,
        accounts: Accounts,
    }

    impl Trusted {
        pub(super) fn caller() -> Self {
            Self::of(Some(rustix::process::geteuid().as_raw()), Accounts::of_system())
        }

        pub(super) fn account(name: &str) -> Self {
            let accounts = Accounts::of_system();
            Self::of(accounts.uid(name), accounts)
        }

        fn of(uid: Option<u32>, accounts: Accounts) -> Self {
            let of_root_folder = fs::metadata("/").ok().map(|found| found.uid());
            Self { uids: [Some(ROOT), of_root_folder, uid].into_iter().flatten().collect(), accounts }
        }

        fn is_in_their_hands(
            &self,
            component: &Path,
            found: &Metadata,
            may_be_sticky: bool,
        ) -> Result<(), Untrusted> {
            if !self.uids.contains(&found.uid()) {
                let owner = self.accounts.named(found.uid());
                return Err(Untrusted::new(component, format!("belongs to {owner}")));
            }
            // A link has no mode; who can replace it is said by its folder.
            let is_sticky = may_be_sticky && found.is_dir() && found.mode() & STICKY != 0;
            if found.is_symlink() || is_sticky {
                return Ok(());
            }
            if found.mode() & OTHERS_WRITE != 0 {
                return Err(Untrusted::new(component, "can be written by everyone"));
            }
            if found.mode() & GROUP_WRITES != 0 && !self.accounts.is_only_of(found.gid(), &self.uids) {
                let group = self.accounts.group(found.gid());
                return Err(Untrusted::new(component, format!("can be written by the group {group}")));
            }
            Ok(())
        }
    }

    /// Answers what the path leads to, if anything is there.
    pub(super) fn check(path: &Path, trusted: &Trusted) -> Result<Option<Metadata>, Untrusted> {
        let path = std::path::absolute(path).map_err(|e| Untrusted::unknown(path, &e))?;
        let mut at = PathBuf::from("/");
        let look = |at: &Path| fs::symlink_metadata(at);
        let mut last = look(&at).map_err(|e| Untrusted::unknown(&at, &e))?;
        trusted.is_in_their_hands(&at, &last, true)?;
        let mut rest: Vec<OsString> = reversed(&path);
        let mut links = 0;
        while let Some(name) = rest.pop() {
            match Path::new(&name).components().next() {
                Some(Component::ParentDir) => drop(at.pop()),
                Some(Component::Normal(_)) => at.push(&name),
                Some(Component::RootDir) => at = PathBuf::from("/"),
                _ => continue,
            }
            last = match look(&at) {
                Ok(found) => found,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    return Ok(None);
                }
                Err(e) => return Err(Untrusted::unknown(&at, &e)),
            };
            trusted.is_in_their_hands(&at, &last, true)?;
            if last.is_symlink() {
                links += 1;
                let text = fs::read_link(&at).map_err(|e| Untrusted::unknown(&at, &e))?;
                if links > MOST_LINKS {
                    return Err(Untrusted::new(&at, "leads through too many links"));
                }
                at.pop();
                rest.extend(reversed(&text));
            }
        }
        Ok(Some(last))
    }

    /// Components, of which the first is the last.
    fn reversed(path: &Path) -> Vec<OsString> {
        path.components().rev().map(|component| component.as_os_str().to_owned()).collect()
    }

    pub(super) fn check_open(path: &Path, file: &File) -> Result<(), Untrusted> {
        let trusted = Trusted::caller();
        let open = file.metadata().map_err(|e| Untrusted::unknown(path, &e))?;
        trusted.is_in_their_hands(path, &open, false)?;
        let is_same = |found: &Metadata| (found.dev(), found.ino()) == (open.dev(), open.ino());
        if check(path, &trusted)?.as_ref().is_some_and(is_same) {
            return Ok(());
        }
        Err(Untrusted::new(path, "was replaced during this check"))
    }

    pub(super) fn check_folder(folder: &Path) -> Result<(), Untrusted> {
        let trusted = Trusted::caller();
        match check(folder, &trusted)? {
            Some(found) => trusted.is_in_their_hands(folder, &found, false),
            None => Ok(()),
        }
    }

    /// The accounts and groups that the system's own files list.
    #[derive(Default)]
    struct Accounts {
        passwd: String,
        group: String,
    }

    impl Accounts {
        fn of_system() -> Self {
            let read = |path| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            // Where they cannot be read no account has a name, and no group is known to be of one alone.
            Self {
                passwd: read("/etc/passwd").unwrap_or_default(),
                group: read("/etc/group").unwrap_or_default(),
            }
        }

        /// Name, uid, primary gid.
        fn users(&self) -> impl Iterator<Item = (&str, u32, u32)> {
            self.passwd.lines().filter_map(|line| {
                let mut fields = line.split(':');
                let (name, uid, gid) = (fields.next()?, fields.nth(1)?, fields.next()?);
                Some((name, uid.parse().ok()?, gid.parse().ok()?))
            })
        }

        /// Name, gid, members.
        fn groups(&self) -> impl Iterator<Item = (&str, u32, &str)> {
            self.group.lines().filter_map(|line| {
                let mut fields = line.split(':');
                let (name, gid, members) = (fields.next()?, fields.nth(1)?, fields.next()?);
                Some((name, gid.parse().ok()?, members))
            })
        }

        fn uid(&self, name: &str) -> Option<u32> {
            self.users().find(|user| user.0 == name).map(|user| user.1)
        }

        fn named(&self, uid: u32) -> String {
            match self.users().find(|user| user.1 == uid) {
                Some((name, ..)) => format!("{name} (uid {uid})"),
                None => format!("uid {uid}"),
            }
        }

        fn group(&self, gid: u32) -> String {
            match self.groups().find(|group| group.1 == gid) {
                Some((name, ..)) => format!("{name} (gid {gid})"),
                None => format!("with gid {gid}"),
            }
        }

        /// Whether a group is known and has no member but these.
        fn is_only_of(&self, gid: u32, uids: &[u32]) -> bool {
            let is_ours = |uid: Option<u32>| uid.is_some_and(|uid| uids.contains(&uid));
            let mut members = self.groups().filter(|group| group.1 == gid).map(|group| group.2).peekable();
            let is_known = members.peek().is_some();
            is_known
                && members
                    .flat_map(|members| members.split(','))
                    .all(|name| name.is_empty() || is_ours(self.uid(name)))
                && self.users().filter(|user| user.2 == gid).all(|user| is_ours(Some(user.1)))
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        const PASSWD: &str =
            "root:x:0:0:root:/root:/bin/sh\nana:x:1000:1000::/home/ana:/bin/sh\nbia:x:1001:100::/:/bin/sh\n";
        const GROUP: &str = "root:x:0:\nana:x:1000:\nusers:x:100:\nbackup:x:34:ana,bia\nfew:x:50:ana\n";

        #[test]
        fn a_group_of_one_is_that_one() {
            let accounts = Accounts { passwd: PASSWD.to_owned(), group: GROUP.to_owned() };
            for (gid, is_hers) in
                [(0, true), (1000, true), (100, false), (34, false), (50, true), (77, false)]
            {
                assert_eq!(accounts.is_only_of(gid, &[0, 1000]), is_hers, "{gid}");
            }
            assert_eq!((accounts.uid("bia"), accounts.uid("x")), (Some(1001), None));
            assert_eq!(accounts.named(1000), "ana (uid 1000)");
            assert_eq!((accounts.named(7), accounts.group(7)), ("uid 7".to_owned(), "with gid 7".to_owned()));
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails there")]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn message(path: &Path) -> String {
        check(path).unwrap_err().to_string()
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn every_component_counts_and_a_sticky_folder_may_be_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("folder"), dir.path().join("folder/file"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "x").unwrap();
        check(&file).unwrap();
        check(&folder.join("missing/below")).unwrap();
        check_open(&file, &File::open(&file).unwrap()).unwrap();

        mode(&folder, 0o777);
        assert_eq!(message(&file), format!("{} can be written by everyone", folder.display()));
        assert!(message(&dir.path().join("folder/../folder/missing")).contains("can be written by everyone"));
        mode(&folder, 0o1777);
        check(&file).unwrap();
        assert!(check_folder(&folder).is_err(), "others could add to it");
        mode(&folder, 0o755);
        mode(&file, 0o622);
        assert_eq!(message(&file), format!("{} can be written by everyone", file.display()));
        assert!(check_open(&file, &File::open(&file).unwrap()).is_err());
    }

    #[test]
    fn links_are_followed_component_by_component() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for folder in ["open", "closed"] {
            fs::create_dir(at(folder)).unwrap();
        }
        fs::write(at("closed/file"), "x").unwrap();
        symlink("../closed", at("open/link")).unwrap();
        symlink("open/link", at("first")).unwrap();
        symlink(dir.path(), at("closed/absolute")).unwrap();
        check(&at("first/file")).unwrap();
        check(&at("first/absolute/closed/file")).unwrap();
        mode(&at("open"), 0o777);
        assert_eq!(
            message(&at("first/file")),
            format!("{} can be written by everyone", at("open").display())
        );
        symlink("round", at("round")).unwrap();
        assert!(message(&at("round")).contains("too many links"));
        let file = File::open(at("closed/file")).unwrap();
        fs::rename(at("closed/file"), at("closed/old")).unwrap();
        fs::write(at("closed/file"), "y").unwrap();
        assert!(check_open(&at("closed/file"), &file).unwrap_err().to_string().contains("replaced"));
    }

    #[test]
    fn what_is_anothers_is_refused_whatever_its_mode() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give a file away; `/` is root's for everyone.
            return check(Path::new("/")).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(54_321), None).unwrap();
        assert_eq!(message(&link), format!("{} belongs to uid 54321", link.display()));
        mode(&file, 0o600);
        std::os::unix::fs::chown(&file, Some(54_321), None).unwrap();
        assert_eq!(message(&file), format!("{} belongs to uid 54321", file.display()));
        assert!(check_for("no-such-account", &file).is_err());
        std::os::unix::fs::chown(dir.path(), Some(54_321), None).unwrap();
        assert_eq!(
            message(&dir.path().join("none")),
            format!("{} belongs to uid 54321", dir.path().display())
        );
    }
}
