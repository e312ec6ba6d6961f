//! A configuration as TOML: the effective one, and an example of everything.

use super::schema::{self, Place, Shape};
use super::{Loaded, Origin};
use serde_json::{Map, Value};
use std::fmt::Write as _;

/// The widest comment line of the example.
const WIDTH: usize = 100;

/// What is in force, with where it comes from where that is not the default. Secrets are not shown.
pub(crate) fn show(loaded: &Loaded) -> String {
    let mut out = String::new();
    let values = serde_json::to_value(&loaded.config).unwrap_or_default();
    if let Value::Object(values) = values {
        let mut writer = Writer { loaded, out: &mut out };
        writer.table(Place(schema::whole()), &values, &mut Vec::new());
    }
    out
}

struct Writer<'a> {
    loaded: &'a Loaded,
    out: &'a mut String,
}

impl Writer<'_> {
    fn table(&mut self, place: Place<'_>, values: &Map<String, Value>, path: &mut Vec<String>) {
        let (tables, plain): (Vec<_>, Vec<_>) =
            values.iter().filter(|(_, value)| !value.is_null()).partition(|(_, value)| value.is_object());
        if !path.is_empty() && (!plain.is_empty() || tables.is_empty()) {
            let _infallible = writeln!(self.out, "\n[{}]", header(path));
        }
        for (key, value) in plain {
            let inner = place.under(key);
            path.push(key.clone());
            let secret = inner.is_some_and(Place::secret);
            let text = match value.as_str() {
                Some(text) if secret && !text.starts_with("secret://") => "\"[redacted]\"".to_owned(),
                _ => toml(value),
            };
            let origin = match self.loaded.origin(&path.join(".")) {
                Origin::Default => String::new(),
                origin => format!("  # {origin}"),
            };
            let _infallible = writeln!(self.out, "{} = {text}{origin}", name(key));
            path.pop();
        }
        for (key, value) in tables {
            let (Value::Object(inner), Some(place)) = (value, place.under(key)) else { continue };
            let place = place.fitting(value);
            if inner.is_empty() {
                continue;
            }
            path.push(key.clone());
            self.table(place, inner, path);
            path.pop();
        }
    }
}

/// A file with every key, what it is for, and its default. Keys are commented out: as it stands it changes
/// nothing.
pub(crate) fn example() -> String {
    let mut out = String::from(
        "# Deskhand's configuration. Every key is shown with its default, or with an example where it has none.\n\
         # A key can also be set by DESKHAND_SECTION__KEY in the environment, or by --set section.key=value.\n",
    );
    example_table(Place(schema::whole()), &mut Vec::new(), &mut out);
    out
}

fn example_table(place: Place<'_>, path: &mut Vec<String>, out: &mut String) {
    let Shape::Table(keys) = place.shape() else { return };
    // What stands behind a table's header belongs to it: plain keys come first.
    let (tables, plain): (Vec<_>, Vec<_>) = keys.iter().partition(|(_, value)| match Place(value).shape() {
        Shape::Table(_) | Shape::Named(_) => true,
        Shape::List(entry) => matches!(Place(entry).shape(), Shape::Table(_)),
        _ => false,
    });
    for (key, value) in plain.into_iter().chain(tables) {
        let inner = Place(value);
        path.push(key.clone());
        match inner.shape() {
            Shape::Table(_) => {
                section(inner.description(), &format!("[{}]", header(path)), out);
                example_table(inner, path, out);
            }
            Shape::Named(entry) if matches!(Place(entry).shape(), Shape::Text) => {
                section(inner.description(), &format!("[{}]", header(path)), out);
                for (key, value) in inner.example().and_then(Value::as_object).into_iter().flatten() {
                    let _infallible = writeln!(out, "# {} = {}", name(key), toml(value));
                }
            }
            Shape::Named(entry) => {
                path.push("office".to_owned());
                section(inner.description(), &format!("[{}]", header(path)), out);
                example_table(Place(entry), path, out);
                path.pop();
            }
            Shape::List(entry) if matches!(Place(entry).shape(), Shape::Table(_)) => {
                section(inner.description(), &format!("[[{}]]", header(path)), out);
                example_table(Place(entry), path, out);
            }
            _ => {
                comment(inner.description(), out);
                let shown = inner.example().filter(|_| inner.default().is_none()).or(inner.default());
                let _infallible = writeln!(out, "# {} = {}", name(key), toml(shown.unwrap_or(&Value::Null)));
            }
        }
        path.pop();
    }
}

fn section(description: &str, header: &str, out: &mut String) {
    out.push('\n');
    comment(description, out);
    let _infallible = writeln!(out, "# {header}");
}

/// A description as comment lines.
fn comment(text: &str, out: &mut String) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _infallible = writeln!(out, "{line}");
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    if line.len() > 1 {
        let _infallible = writeln!(out, "{line}");
    }
}

fn header(path: &[String]) -> String {
    path.iter().map(|key| name(key)).collect::<Vec<_>>().join(".")
}

/// A key, in quotes where TOML wants them.
fn name(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { key.to_owned() } else { text(key) }
}

fn toml(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::String(given) => text(given),
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(table) => {
            let pairs = table.iter().filter(|(_, value)| !value.is_null());
            let pairs = pairs.map(|(key, value)| format!("{} = {}", name(key), toml(value)));
            format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A basic string.
fn text(given: &str) -> String {
    let mut out = String::from("\"");
    for c in given.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _infallible = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
