//! The agent: runs of policies that survive crashes, and a log of each run.
//!
//! [`Agent::run`] first finishes the job that a crash, an error or a signal has stopped, or else begins one. A job goes
//! from state to state ([`JobState`](intellistor_storage::state::job::JobState)), and every step is recorded before the
//! next: whatever stops a run, the next one resumes there. The log of each run goes to the store; one that cannot waits
//! in the outbox.
//!
//! | file | holds |
//! | --- | --- |
//! | `handle` | [`Agent`] |
//! | `run` | the order of a run, step by step |
//! | `select`, `begin`, `resume`, `open_job` | which job runs |
//! | `known_stores`, `orphans` | is this the store of earlier runs; abandoned uploads |
//! | `job_run`, `reconcile`, `failure_action` | the job's own steps and attempts; what the store has of it; what an error means |
//! | `retire` | what the policy forgets and deletes once a backup was made |
//! | `hooks`, `notices` | the policy's commands around a backup; who is told of it |
//! | `settle`, `abandon`, `close` | what becomes of the job |
//! | `log`, `log_list`, `ship_logs` | a run's log; those on this machine; their upload to the store |
//! | `home`, `setup`, `monitor` | folders, input, what other processes see and ask of a run |
//! | `report`, `document`, `status` | a run's report, as it is printed; a policy's status |

mod abandon;
mod begin;
mod close;
mod document;
mod failure_action;
mod handle;
mod home;
mod hooks;
mod job_run;
mod known_stores;
mod log;
mod log_list;
mod monitor;
mod notices;
mod open_job;
mod orphans;
mod reconcile;
mod report;
mod resume;
mod retire;
mod run;
mod select;
mod settle;
mod setup;
mod ship_logs;
mod status;

pub use document::AgentDocument;
pub use handle::Agent;
pub use log_list::{LogList, LogRow};
pub use report::{AgentOptions, AgentReport, Cancelled, Resumed};
pub use status::{Activity, JobStatus, PolicyStatus, RunProgress, UploadStatus};
