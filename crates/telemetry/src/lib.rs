//! What operators see: log lines, metrics, and the trace that a request belongs to.
//!
//! Nothing here reads the environment: the composition root says where log lines go.

mod journal;
mod log_lines;
pub mod metrics;
mod trace;

pub use log_lines::{BadFilter, LogControl, LogFormat, LogTallies, init, parse_filter, under_journal};
pub use metrics::Metrics;
pub use trace::TraceContext;
