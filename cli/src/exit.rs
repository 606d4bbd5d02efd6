//! Exit codes: what a script may rely on.

use std::process::ExitCode;

use intellistor::Category;

/// How a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All done.
    Success,
    /// It did not work.
    Failed,
    /// Wrong usage or configuration.
    Configuration,
    /// Done, but something needs attention: entries skipped or changed, a path missing or empty, a copy missing, a policy
    /// taken over, another key, a wrong clock, retention that cannot be applied.
    Incomplete,
    /// Bytes are not what was sealed.
    Integrity,
    /// Another run of the policy is active.
    Busy,
    /// Interrupted.
    Interrupted,
    /// Of `status --check`, whose codes are those of monitors: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN.
    Check(u8),
}

impl Exit {
    /// The process's exit code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Configuration => 2,
            Self::Incomplete => 3,
            Self::Integrity => 4,
            Self::Busy => 5,
            Self::Interrupted => 130,
            Self::Check(code) => code,
        }
    }

    /// What a run's exit code says.
    pub(crate) fn of_code(code: i32) -> Self {
        let all = [
            Self::Success,
            Self::Configuration,
            Self::Incomplete,
            Self::Integrity,
            Self::Busy,
            Self::Interrupted,
        ];
        all.into_iter().find(|exit| i32::from(exit.code()) == code).unwrap_or(Self::Failed)
    }

    /// The name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Configuration => "configuration",
            Self::Incomplete => "incomplete",
            Self::Integrity => "integrity",
            Self::Busy => "busy",
            Self::Interrupted => "interrupted",
            Self::Check(_) => "check",
        }
    }
}

impl From<Category> for Exit {
    fn from(category: Category) -> Self {
        match category {
            Category::Failed => Self::Failed,
            Category::Configuration => Self::Configuration,
            Category::Integrity => Self::Integrity,
            Category::Busy => Self::Busy,
            Category::Interrupted => Self::Interrupted,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_have_the_codes_of_the_contract() {
        let codes = [
            (Category::Failed, 1),
            (Category::Configuration, 2),
            (Category::Integrity, 4),
            (Category::Busy, 5),
            (Category::Interrupted, 130),
        ];
        for (category, code) in codes {
            assert_eq!(Exit::from(category).code(), code, "{category:?}");
        }
        assert_eq!((Exit::Success.code(), Exit::Incomplete.code()), (0, 3));
    }
}
