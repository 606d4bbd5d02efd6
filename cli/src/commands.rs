//! One file for each command: its arguments, what it does, its document.

pub(crate) mod agent;
pub(crate) mod backup;
pub(crate) mod copy;
pub(crate) mod decrypt;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod help;
pub(crate) mod hold;
pub(crate) mod key_create;
pub(crate) mod list;
pub(crate) mod policy_create;
pub(crate) mod prune;
pub(crate) mod release;
pub(crate) mod restore;
pub(crate) mod show;
pub(crate) mod stats;
pub(crate) mod unforget;
pub(crate) mod verify;
