//! Traces and metrics for a collector, over OTLP.
//!
//! - **In**: spans of `tracing` (`layer`), and what [`metrics`](crate::metrics) counts.
//! - **Out**: gRPC or http/protobuf, as the standard `OTEL_*` variables say ([`Settings`]); nothing without them.
//! - **Bound**: the SDK's queue of 2,048 spans (`OTEL_BSP_MAX_QUEUE_SIZE`) and one batch in flight; spans beyond that are
//!   dropped while a collector hangs. Metrics are sums, whose size does not grow.
//! - **Blocks**: nothing of a run. Threads and a runtime of its own send; [`Export::finish`] waits for at most
//!   [`AT_EXIT`], whatever the collector does. The first failure is one warning; none changes the exit code.
//! - **Survives a crash**: what was sent: a batch goes each second. The root span of a run that crashed is sent by the run
//!   that resumes its job ([`close_crashed_run`]).
//!
//! | module | holds |
//! | --- | --- |
//! | `settings` | which signals the standard variables turn on |
//! | `export` | starts and stops the providers |
//! | `exporters` | sends, on a runtime of its own |
//! | `layer`, `ids` | spans of `tracing` as spans of OpenTelemetry, and their ids |
//! | `crashed_run` | closes the root span of a run that crashed |

mod crashed_run;
mod export;
mod exporters;
mod ids;
mod layer;
mod settings;

pub use crashed_run::close_crashed_run;
pub use export::{AT_EXIT, Export, start};
pub use settings::{BadSetting, Settings};
