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
//! | `hooks`, `notices` | the policy's commands around a backup; who is notified of it |
//! | `settle`, `abandon`, `close` | what becomes of the job |
//! | `log`, `log_list`, `ship_logs` | a run's log; those on this machine; their upload to the store |
//! | `home`, `setup`, `monitor` | folders, input, what other processes see and ask of a run |
//! | `report`, `document` | a run's report, as it is printed |
//! | `failed_start`, `log_tail`, `latest_run` | runs that had no job; which run was the last, by all that knows of one |
//! | `status`, `health`, `assess`, `store_status` | a policy's status, whether it needs a person, what its store has |
//! | `times` | times in reports |
//! | `status_report`, `metrics_document` | all policies, and what monitors read of them |

mod abandon;
mod assess;
mod begin;
mod close;
mod document;
mod failed_start;
mod failure_action;
mod handle;
mod health;
mod home;
mod hooks;
mod job_run;
mod known_stores;
mod latest_run;
mod log;
mod log_list;
mod log_tail;
mod metrics_document;
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
mod status_report;
mod store_status;
mod times;

pub use document::AgentDocument;
pub use failed_start::FailedStart;
pub use handle::Agent;
pub use health::{AllowedAges, Health, PolicyState, Reason, age_text};
pub use latest_run::{LatestRun, RunResult, RunSource};
pub use log_list::{LogList, LogRow};
pub use log_tail::last_error;
pub use metrics_document::MetricsDocument;
pub use monitor::RunProgress;
pub use report::{AgentOptions, AgentReport, Cancelled, Resumed};
pub use status::{Activity, Figures, GoodRun, JobStatus, Missed, PolicyStatus, UploadStatus};
pub use status_report::{CheckResult, StatusReport};
pub use store_status::{StoreStatus, StoredBackup};
