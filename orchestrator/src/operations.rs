//! One operation each, from its options to its report, and what they share.
//!
//! | file | holds |
//! | --- | --- |
//! | `backup`, `restore`, `verify`, `decrypt`, `show`, `list` | the operations |
//! | `report`, `backup_document`, `run_options` | what each returns, what the programs print, what each takes |
//! | `policies`, `find`, `diff`, `stats` | every policy of a store; a file in all backups; two backups; what they take |
//! | `named_backup`, `unread` | a backup as reports name it; one that was passed over |
//! | `selection` | which backup a person means |
//! | `root_span` | each as the root of a trace, counted |
//! | `sources` | checks of a policy's folders before a run, and findings after the scan |
//! | `snapshotting` | snapshots for a run, by its policy's `vss`: where files are read, what is said of it |
//! | `base`, `change_summary` | the backup that a new one takes entries over from; what changed, in one line |
//! | `publish`, `provenance`, `copies` | archive and manifest into the store; who sent what is there; copies of `--out` |
//! | `archive_copy` | an archive to another store, byte for byte |
//! | `stream`, `changed_entries` | an archive as one stream; entries that changed while they were backed up |
//! | `cold_archives` | archives that are not read at once, all of them named |

pub(crate) mod archive_copy;
pub(crate) mod backup;
pub(crate) mod backup_document;
pub(crate) mod base;
pub(crate) mod change_summary;
pub(crate) mod changed_entries;
pub(crate) mod cold_archives;
pub(crate) mod copies;
pub(crate) mod decrypt;
pub(crate) mod diff;
pub(crate) mod find;
pub(crate) mod list;
pub(crate) mod named_backup;
pub(crate) mod policies;
pub(crate) mod provenance;
pub(crate) mod publish;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod root_span;
pub(crate) mod run_options;
pub(crate) mod selection;
pub(crate) mod show;
pub(crate) mod snapshotting;
pub(crate) mod sources;
pub(crate) mod stats;
pub(crate) mod stream;
pub(crate) mod unread;
pub(crate) mod verify;
