//! Numbers for Prometheus.
//!
//! Labels take values from closed sets or from the configuration, never from peers or callers: a label that
//! others can fill is memory that others can fill.

use prometheus::proto;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounterVec, Opts, Registry, TextEncoder,
};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What stands before the names of our own metrics.
const PREFIX: &str = "deskhand";

/// Those of OpenTelemetry's convention for MCP (seconds).
const OPERATION_BUCKETS: &[f64] =
    &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// Connecting takes a few milliseconds on a LAN and many seconds through a busy relay.
const CONNECT_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Bytes of a picture: from an unchanged corner to the largest that models take.
const PICTURE_BUCKETS: &[f64] = &[4e3, 16e3, 32e3, 64e3, 128e3, 256e3, 512e3, 1e6, 2e6];

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows; its name ends in `_total`.
    Counter,
    Gauge,
}

/// One value of a [`Family`].
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

/// A metric that somebody else counts, read when it is scraped.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Without the prefix.
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

impl Family {
    pub fn new(kind: Kind, name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind, samples: Vec::new() }
    }

    /// One without labels.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are f64")]
    pub fn single(kind: Kind, name: &'static str, help: &'static str, value: u64) -> Self {
        let samples = vec![Sample { labels: Vec::new(), value: value as f64 }];
        Self { samples, ..Self::new(kind, name, help) }
    }

    /// Adds a value with one label.
    #[must_use]
    pub fn with(self, label: &'static str, is: &str, value: u64) -> Self {
        self.with_labels(&[(label, is)], value)
    }

    /// Adds a value.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are f64")]
    pub fn with_labels(mut self, labels: &[(&'static str, &str)], value: u64) -> Self {
        let labels = labels.iter().map(|(label, is)| (*label, (*is).to_owned())).collect();
        self.samples.push(Sample { labels, value: value as f64 });
        self
    }

    fn into_proto(self) -> proto::MetricFamily {
        let metric = |sample: Sample| {
            let label = |(name, value): (&str, String)| {
                let mut pair = proto::LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value);
                pair
            };
            let mut metric = proto::Metric::from_label(sample.labels.into_iter().map(label).collect());
            match self.kind {
                Kind::Counter => {
                    let mut counter = proto::Counter::default();
                    counter.set_value(sample.value);
                    metric.set_counter(counter);
                }
                Kind::Gauge => {
                    let mut gauge = proto::Gauge::default();
                    gauge.set_value(sample.value);
                    metric.set_gauge(gauge);
                }
            }
            metric
        };
        let mut family = proto::MetricFamily::default();
        family.set_name(format!("{PREFIX}_{}", self.name));
        family.set_help(self.help.to_owned());
        family.set_field_type(match self.kind {
            Kind::Counter => proto::MetricType::COUNTER,
            Kind::Gauge => proto::MetricType::GAUGE,
        });
        family.set_metric(self.samples.into_iter().map(metric).collect());
        family
    }
}

type Source = Box<dyn Fn() -> Vec<Family> + Send + Sync>;

/// One MCP request that was answered. Empty where it does not apply.
#[derive(Debug, Clone, Copy, Default)]
pub struct Operation<'a> {
    /// `tools/call`, …: one that the server knows.
    pub method: &'a str,
    /// The tool's name: one that the server offers.
    pub tool: &'a str,
    /// The error code of a failed call: one of the closed set.
    pub error: &'a str,
    /// `pipe` or `tcp`, as OpenTelemetry calls them.
    pub transport: &'a str,
}

/// All metrics of a process.
pub struct Metrics {
    registry: Registry,
    operations: HistogramVec,
    pictures: HistogramVec,
    connects: IntCounterVec,
    connecting: Histogram,
    inputs: IntCounterVec,
    decisions: IntCounterVec,
    reloads: IntCounterVec,
    sources: Mutex<Vec<Source>>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// With the process's own numbers and what was built.
    ///
    /// # Errors
    /// If a name or label is no valid one, which a test would have told.
    pub fn new(version: &str) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = prometheus::IntGaugeVec::new(
            Opts::new("build_info", "What is running; always 1.").namespace(PREFIX),
            &["version"],
        )?;
        build.with_label_values(&[version]).set(1);
        registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;

        let operations = HistogramVec::new(
            HistogramOpts::new("mcp_server_operation_duration_seconds", "How long MCP requests took.")
                .buckets(OPERATION_BUCKETS.to_vec()),
            &["mcp_method_name", "gen_ai_tool_name", "error_type", "network_transport"],
        )?;
        let metrics = Self {
            pictures: histogram("screenshot_bytes", "Pictures given out.", PICTURE_BUCKETS, &["format"])?,
            connects: counter("session_connects_total", "Sessions asked for, by outcome.", &["result"])?,
            connecting: Histogram::with_opts(
                HistogramOpts::new(
                    "session_connect_duration_seconds",
                    "From the wish for a session until it was ready.",
                )
                .namespace(PREFIX)
                .buckets(CONNECT_BUCKETS.to_vec()),
            )?,
            inputs: counter("input_events_total", "Calls that act on a desktop, by outcome.", &["result"])?,
            decisions: counter(
                "policy_decisions_total",
                "What callers wanted to do, and the answer.",
                &["class", "decision"],
            )?,
            reloads: counter(
                "config_reloads_total",
                "Times that the configuration was read again.",
                &["result"],
            )?,
            operations,
            sources: Mutex::default(),
            registry,
        };
        // A rate over a series that begins with its first event misses that event.
        for result in ["ok", "refused"] {
            metrics.reloads.with_label_values(&[result]);
        }
        for collector in metrics.collectors() {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
    }

    fn collectors(&self) -> Vec<Box<dyn prometheus::core::Collector>> {
        vec![
            Box::new(self.operations.clone()),
            Box::new(self.pictures.clone()),
            Box::new(self.connects.clone()),
            Box::new(self.connecting.clone()),
            Box::new(self.inputs.clone()),
            Box::new(self.decisions.clone()),
            Box::new(self.reloads.clone()),
        ]
    }

    /// Counts an MCP request.
    pub fn operation(&self, operation: &Operation<'_>, took: Duration) {
        let labels = [operation.method, operation.tool, operation.error, operation.transport];
        self.operations.with_label_values(&labels).observe(took.as_secs_f64());
    }

    /// Counts a picture that was given out; `format` is `png` or `jpeg`.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are f64")]
    pub fn picture(&self, format: &str, bytes: usize) {
        self.pictures.with_label_values(&[format]).observe(bytes as f64);
    }

    /// Counts a session that was asked for. `result` is `ready` or an error code.
    pub fn connect(&self, result: &str, took: Duration) {
        self.connects.with_label_values(&[result]).inc();
        if result == "ready" {
            self.connecting.observe(took.as_secs_f64());
        }
    }

    /// Counts a call that acts on a desktop; `result` is `sent` or an error code.
    pub fn input(&self, result: &str) {
        self.inputs.with_label_values(&[result]).inc();
    }

    /// Counts a decision of the policy.
    pub fn decision(&self, class: &str, decision: &str) {
        self.decisions.with_label_values(&[class, decision]).inc();
    }

    /// Counts a reload of the configuration.
    pub fn reload(&self, taken: bool) {
        self.reloads.with_label_values(&[if taken { "ok" } else { "refused" }]).inc();
    }

    /// Has `source` asked for its numbers at every scrape. Names are given out once.
    pub fn read(&self, source: impl Fn() -> Vec<Family> + Send + Sync + 'static) {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(source));
    }

    /// Everything, in Prometheus' text format 0.0.4.
    ///
    /// # Errors
    /// If a metric is inconsistent, which a test would have told.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        let mut families = self.registry.gather();
        {
            let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            let read = sources.iter().flat_map(|source| source());
            families.extend(read.filter(|family| !family.samples.is_empty()).map(Family::into_proto));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
    }

    /// The media type of [`render`](Self::render).
    pub fn content_type() -> &'static str {
        prometheus::TEXT_FORMAT
    }
}

fn counter(name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
    IntCounterVec::new(Opts::new(name, help).namespace(PREFIX), labels)
}

fn histogram(
    name: &str,
    help: &str,
    buckets: &[f64],
    labels: &[&str],
) -> Result<HistogramVec, prometheus::Error> {
    HistogramVec::new(HistogramOpts::new(name, help).namespace(PREFIX).buckets(buckets.to_vec()), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_and_what_is_read_stand_in_the_text() {
        let metrics = Metrics::new("1.2.3").unwrap();
        let call = Operation { method: "tools/call", tool: "click", error: "", transport: "tcp" };
        metrics.operation(&call, Duration::from_millis(3));
        metrics.picture("png", 20_000);
        metrics.connect("unreachable", Duration::from_secs(1));
        metrics.read(|| {
            vec![
                Family::single(Kind::Gauge, "relay_pairs", "Pairs.", 7),
                Family::new(Kind::Counter, "relay_refused_total", "Turned away.")
                    .with("reason", "wrong_key", 2)
                    .with("reason", "silent", 3),
                Family::new(Kind::Gauge, "nothing", "Never seen."),
            ]
        });
        let text = metrics.render().unwrap();
        for line in [
            "deskhand_build_info{version=\"1.2.3\"} 1",
            "mcp_server_operation_duration_seconds_bucket{error_type=\"\",gen_ai_tool_name=\"click\",\
             mcp_method_name=\"tools/call\",network_transport=\"tcp\",le=\"0.005\"} 1",
            "deskhand_screenshot_bytes_sum{format=\"png\"} 20000",
            "deskhand_session_connects_total{result=\"unreachable\"} 1",
            "deskhand_config_reloads_total{result=\"refused\"} 0",
            "# TYPE deskhand_relay_pairs gauge\ndeskhand_relay_pairs 7",
            "# TYPE deskhand_relay_refused_total counter",
            "deskhand_relay_refused_total{reason=\"silent\"} 3",
        ] {
            assert!(text.contains(line), "{line}\nin\n{text}");
        }
        assert!(!text.contains("deskhand_nothing"));
        assert!(text.contains("deskhand_session_connect_duration_seconds_count 0"));
        #[cfg(target_os = "linux")]
        assert!(text.contains("process_resident_memory_bytes "));
    }
}
