//! The programs: parse, call the engine, print, exit.
//!
//! Standard output carries one JSON document and nothing else, on failure too; progress, logs and hints go to
//! standard error. The one exception is `decrypt --out -`, whose output is the archive itself.
//!
//! | module | holds |
//! | --- | --- |
//! | `arguments`, `selection` | the command lines |
//! | `program` | a program from its arguments to its exit code |
//! | `commands` | one file for each command |
//! | `environment`, `keys`, `home` | variables, the `.env` file, where the key comes from, where the agent keeps its state |
//! | `plain_text`, `trusted` | files that people write: how they are encoded, and who else can write them |
//! | `session` | what a command works with: settings, policy, store, the chosen backup |
//! | `around` | what a policy has around its runs: rates, hooks, notices |
//! | `failure`, `hints`, `exit` | what went wrong and what to do about it, for a person, as JSON and as an exit code |
//! | `output`, `screen`, `progress`, `units` | standard output, standard error, and what is drawn there |
//! | `restore_command`, `quoting` | command lines that work when pasted |
//! | `manual` | manual pages |
//! | `interrupt` | Ctrl-C |
//! | `memory`, `open_files` | limits of the process |

mod arguments;
mod around;
mod changed;
mod commands;
mod environment;
mod exit;
mod failure;
mod hints;
mod home;
mod interrupt;
mod keys;
mod manual;
mod memory;
mod open_files;
mod output;
mod plain_text;
mod program;
mod progress;
mod quoting;
mod restore_command;
mod screen;
mod selection;
mod session;
mod short_id;
mod summary;
mod trusted;
mod units;
mod zone;

pub use program::{backup_client, intellistor_agent};
