//! The warning about entries that changed while they were backed up, when they are restored or verified.

use crate::screen::Screen;
use crate::units::counted;

/// One line for a person, where there are any.
pub(crate) fn warn_of_changed(screen: &Screen, count: u64) {
    if count > 0 {
        let entries = counted(count, "item");
        screen.warn(format_args!(
            "{entries} changed while this backup was made: the content is what was read, and may mix an older and a \
             newer state. `warnings` names them; check them, or restore them from another backup"
        ));
    }
}
