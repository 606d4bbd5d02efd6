//! Security descriptors of Windows: who owns a file, who may do what with it, and what is audited.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `descriptor` | the bytes of a self-relative descriptor (MS-DTYP 2.4.6), validated once, and their canonical form |
//! | `acl`, `ace`, `sid` | the structures inside, borrowed from those bytes |
//! | `sddl` | the descriptor as text |
//! | `row` | a line of a manifest's list `"security"`, and the id that entries name it by |
//! | `applied` | what of a descriptor is to be set where another one was found |
//! | `of_entry`, `table` | an entry's descriptor, and the rows of a manifest, each once |
//! | `simulated` | descriptors on other systems, in tests |
//! | `malformed` | what is wrong with bytes that are no descriptor |
//!
//! Everything is plain Rust over bytes and the same on every system: a backup of Windows is listed and checked on Linux.
//! Bytes from a manifest or an archive are hostile. What [`SecurityDescriptor::parse`] accepts can be walked without a
//! check: every offset, size and count in it has been followed once.
//!
//! What is restored is always the binary form. The text is for people, and nothing here parses it.

mod ace;
mod acl;
mod applied;
mod descriptor;
#[cfg(test)]
mod fixtures;
mod malformed;
pub(in crate::manifest) mod of_entry;
mod row;
mod sddl;
mod sid;
mod simulated;
mod table;

pub use ace::{Ace, AceBody, ObjectTypes};
pub use acl::{Acl, AclState};
pub use descriptor::{Parts, SecurityDescriptor};
pub use malformed::{AceFault, AclFault, Component, MalformedDescriptor, SidFault};
pub use of_entry::Security;
pub use row::{BadSecurityRow, SecurityId, SecurityRow};
pub use sid::Sid;
pub use simulated::{ATTRIBUTE as SIMULATED_ATTRIBUTE, simulated};
pub use table::SecurityTable;
