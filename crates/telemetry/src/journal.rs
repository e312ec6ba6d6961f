//! Log lines as journald takes them: a message, and each field under a name of its own.

use log::Record;
use std::fmt::Write as _;
use systemd_journal_logger::JournalLog;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

/// Journald's names are one space for everybody; `journalctl DESKHAND_TARGET=office` finds ours.
const PREFIX: &str = "DESKHAND_";

/// Takes finished records; journald, or a test.
pub(crate) trait Sink: Send + Sync + 'static {
    fn send(&self, record: &Record<'_>);
}

pub(crate) struct JournalSink(pub(crate) JournalLog);

impl Sink for JournalSink {
    fn send(&self, record: &Record<'_>) {
        // A journal that can not take the line is nothing that could be logged.
        let _lost = self.0.journal_send(record);
    }
}

pub(crate) struct JournalLayer<K>(K);

impl<K: Sink> JournalLayer<K> {
    pub(crate) fn new(sink: K) -> Self {
        Self(sink)
    }
}

/// The fields of an event or a span, the message apart.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    pairs: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.pairs.push((name, value.to_owned())),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl<S, K> Layer<S> for JournalLayer<K>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    K: Sink,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &tracing::span::Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut message = own.message;
        for (name, value) in &own.pairs {
            // What `journalctl` shows is the message alone.
            let _infallible = write!(message, " {name}={value}");
        }
        let mut names: Vec<(String, String)> = Vec::new();
        let scope = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        for span in scope {
            if let Some(fields) = span.extensions().get::<Fields>() {
                names.extend(fields.pairs.iter().map(|(name, value)| (named(name), value.clone())));
            }
        }
        names.extend(own.pairs.into_iter().map(|(name, value)| (named(name), value)));
        let pairs: Vec<(&str, &str)> = names.iter().map(|(name, value)| (&**name, &**value)).collect();
        let metadata = event.metadata();
        self.0.send(
            &Record::builder()
                .args(format_args!("{message}"))
                .level(level(*metadata.level()))
                .target(metadata.target())
                .module_path(metadata.module_path())
                .file(metadata.file())
                .line(metadata.line())
                .key_values(&pairs.as_slice())
                .build(),
        );
    }
}

fn named(field: &str) -> String {
    format!("{PREFIX}{}", field.replace('.', "_").to_uppercase())
}

fn level(level: Level) -> log::Level {
    match level {
        Level::ERROR => log::Level::Error,
        Level::WARN => log::Level::Warn,
        Level::INFO => log::Level::Info,
        Level::DEBUG => log::Level::Debug,
        Level::TRACE => log::Level::Trace,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::layer::SubscriberExt as _;

    type Line = (log::Level, String, Vec<(String, String)>);

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Line>>>);

    struct Pairs(Vec<(String, String)>);

    impl<'kvs> log::kv::VisitSource<'kvs> for Pairs {
        fn visit_pair(
            &mut self,
            key: log::kv::Key<'kvs>,
            value: log::kv::Value<'kvs>,
        ) -> Result<(), log::kv::Error> {
            self.0.push((key.to_string(), value.to_string()));
            Ok(())
        }
    }

    impl Sink for Kept {
        fn send(&self, record: &Record<'_>) {
            let mut pairs = Pairs(Vec::new());
            record.key_values().visit(&mut pairs).unwrap();
            self.0.lock().unwrap().push((record.level(), record.args().to_string(), pairs.0));
        }
    }

    #[test]
    fn fields_of_the_event_and_of_its_spans_are_fields_of_the_journal() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry().with(JournalLayer::new(kept.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("http", trace_id = tracing::field::Empty, method = "POST");
            span.record("trace_id", "4bf9");
            let _inside = span.enter();
            tracing::warn!(target.name = "office", bytes = 3, "session closed");
        });
        let lines = kept.0.lock().unwrap();
        let (level, message, pairs) = &lines[0];
        assert_eq!(*level, log::Level::Warn);
        assert_eq!(message, "session closed target.name=office bytes=3");
        let expected = [
            ("DESKHAND_METHOD", "POST"),
            ("DESKHAND_TRACE_ID", "4bf9"),
            ("DESKHAND_TARGET_NAME", "office"),
            ("DESKHAND_BYTES", "3"),
        ];
        assert_eq!(pairs.len(), expected.len(), "{pairs:?}");
        for (name, value) in expected {
            assert!(pairs.contains(&(name.to_owned(), value.to_owned())), "{name} in {pairs:?}");
        }
    }
}
