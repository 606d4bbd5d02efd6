//! Ids of snapshots and of sets of them.

use std::fmt;

use serde::{Serialize, Serializer};

/// A GUID, first digit first.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Guid(pub u128);

impl fmt::Display for Guid {
    /// As `vssadmin list shadows` shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{{{}-{}-{}-{}-{}}}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Guid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_vssadmin_writes_it() {
        assert_eq!(
            Guid(0x665c_1d5f_c218_414d_a05d_7fef_5f9d_5c86).to_string(),
            "{665c1d5f-c218-414d-a05d-7fef5f9d5c86}"
        );
        assert_eq!(Guid(3).to_string(), "{00000000-0000-0000-0000-000000000003}");
    }
}
