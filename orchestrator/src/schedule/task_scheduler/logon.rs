//! How the account of a task logs on.
//!
//! | account | logon | shares on other machines |
//! | --- | --- | --- |
//! | SYSTEM | service account | as the machine's account |
//! | `DOMAIN\name$`, a group managed service account | password, which the domain gives to this machine: none is stored | as itself |
//! | a name with a password | password | as itself |
//! | a name without one | S4U | none, and no files that it has encrypted |

use crate::schedule::error::{Result, ScheduleError};
use crate::schedule::spec::RunAs;

/// Windows keeps names of accounts, without the `$`, within this.
const MOST_CHARACTERS: usize = 15;

/// How an account logs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logon {
    /// SYSTEM.
    Service,
    /// With the password that was given, or the one that the domain has.
    Password,
    /// Without a password.
    S4u,
}

/// How the account of a task logs on. The caller's account is to be given by its name.
///
/// # Errors
/// [`ScheduleError::Unusable`] for a managed account of another form than `DOMAIN\name$`, or with a password.
pub(super) fn logon(run_as: &RunAs) -> Result<Logon> {
    match run_as {
        RunAs::System => Ok(Logon::Service),
        RunAs::Caller => {
            let reason = "a task needs the name of its account. Give it with --user";
            Err(ScheduleError::unusable("the account", "", reason))
        }
        RunAs::User { name, password } if name.ends_with('$') => {
            check_managed(name)?;
            match password {
                None => Ok(Logon::Password),
                Some(_) => Err(ScheduleError::unusable(
                    "the account",
                    name,
                    "the domain manages its password, and none can be given. Unset INTELLISTOR_RUN_AS_PASSWORD",
                )),
            }
        }
        RunAs::User { password: Some(_), .. } => Ok(Logon::Password),
        RunAs::User { password: None, .. } => Ok(Logon::S4u),
    }
}

fn check_managed(name: &str) -> Result<()> {
    let refused = |reason: &str| Err(ScheduleError::unusable("the account", name, reason));
    let is_bad = |c: char| c.is_control() || r#""/[]:;|=,+*?<>\@$ "#.contains(c);
    let form = "a group managed service account is written DOMAIN\\name$";
    match name.trim_end_matches('$').split_once('\\') {
        None => refused(&format!("{form}, with its domain")),
        Some((".", _)) => refused(&format!("{form}; the accounts of this machine alone are not managed")),
        Some((domain, account))
            if domain.is_empty()
                || account.is_empty()
                || domain.contains(is_bad)
                || account.contains(is_bad)
                || name.ends_with("$$") =>
        {
            refused(form)
        }
        Some((_, account)) if account.chars().count() > MOST_CHARACTERS => refused(
            "the name of such an account has at most 15 characters before the $. Give its SamAccountName",
        ),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::spec::Password;

    fn user(name: &str, password: Option<&str>) -> Result<Logon> {
        let password = password.map(|password| Password::new(password.to_owned()));
        logon(&RunAs::User { name: name.to_owned(), password })
    }

    #[test]
    fn each_account_logs_on_in_its_way() {
        assert_eq!(logon(&RunAs::System).unwrap(), Logon::Service);
        assert_eq!(user(r"DOM\ana", Some("x")).unwrap(), Logon::Password);
        assert_eq!(user(r".\ana", None).unwrap(), Logon::S4u);
        assert_eq!(user(r"DOM\backup$", None).unwrap(), Logon::Password);
        assert_eq!(user(r"corp.example.com\gmsa-backup-01$", None).unwrap(), Logon::Password);
        logon(&RunAs::Caller).unwrap_err();
    }

    #[test]
    fn a_managed_account_of_another_form_is_refused_with_the_right_one() {
        for (name, reason) in [
            ("backup$", "with its domain"),
            (r".\backup$", "this machine alone"),
            (r"\backup$", r"DOMAIN\name$"),
            (r"DOM\$", r"DOMAIN\name$"),
            (r"DOM\a\b$", r"DOMAIN\name$"),
            (r"DOM\a$$", r"DOMAIN\name$"),
            (r"DOM\a:b$", r"DOMAIN\name$"),
            ("backup@corp$", "with its domain"),
            (r"DOM\backup-of-servers$", "15 characters"),
        ] {
            let error = user(name, None).unwrap_err().to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
        let error = user(r"DOM\backup$", Some("x")).unwrap_err().to_string();
        assert!(error.contains("Unset INTELLISTOR_RUN_AS_PASSWORD"), "{error}");
    }
}
