//! What is said of entries that changed while they were backed up, when they are restored or verified.

use crate::screen::Screen;
use crate::units::counted;

/// The lines of a document's `warnings`: those that are listed, and how many more there are.
pub(crate) fn changed_warnings(listed: Vec<String>, count: u64) -> Vec<String> {
    let mut warnings: Vec<_> =
        listed.into_iter().map(|entry| format!("changed while it was backed up: {entry}")).collect();
    let more = count.saturating_sub(warnings.len() as u64);
    if more > 0 {
        warnings.push(format!("and {more} more changed while they were backed up"));
    }
    warnings
}

/// One line for a person, where there are any.
pub(crate) fn warn_of_changed(screen: &Screen, count: u64) {
    if count > 0 {
        let entries = counted(count, "item");
        screen.warn(format_args!(
            "{entries} changed while this backup was made: the content is as it was read, and may mix an older and a newer \
             state. `warnings` names them; look at them, or take another backup of them"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_changed_is_counted() {
        let listed = vec!["a: it grew".to_owned()];
        let expected =
            ["changed while it was backed up: a: it grew", "and 2 more changed while they were backed up"];
        assert_eq!(changed_warnings(listed, 3), expected);
        assert!(changed_warnings(Vec::new(), 0).is_empty());
    }
}
