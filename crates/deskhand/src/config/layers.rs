//! Where values come from: the file, then the environment, then the command line; the later wins.

use super::places::Places;
use super::problem::{Origin, Problem, nearest};
use super::schema::{self, Place, Shape};
use figment::providers::{Format as _, Toml};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What stands before the names of variables.
pub(crate) const PREFIX: &str = "DESKHAND_";

/// Values from one place.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) values: Map<String, Value>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File {
        path: PathBuf,
        places: Box<Places>,
    },
    /// Each value has its own name.
    Named(Vec<(Vec<String>, Origin)>),
}

impl Layer {
    /// # Errors
    /// The file can not be read, or is no TOML.
    pub(crate) fn file(path: &Path) -> Result<Self, Problem> {
        let problem = |line: Option<usize>, what: String| {
            let origin = Origin::File { path: path.to_owned(), line };
            Problem { origin, key: String::new(), what }
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                return problem(None, "there is no configuration file of this name".to_owned());
            }
            problem(None, error.to_string())
        })?;
        let places = Places::parse(&text)
            .map_err(|(line, what)| problem(Some(line), format!("this is no TOML: {}", what.trim())))?;
        // What the parser with the positions takes, this one takes too.
        let values = Toml::from_str(&text).map_err(|error| problem(None, error.to_string()))?;
        Ok(Self { values, source: Source::File { path: path.to_owned(), places: Box::new(places) } })
    }

    /// The variables that name a key, `DESKHAND_SERVER__ADDRESS`, and problems with those that nearly do.
    pub(crate) fn environment(variables: impl IntoIterator<Item = (String, String)>) -> (Self, Vec<Problem>) {
        let mut layer = Self { values: Map::new(), source: Source::Named(Vec::new()) };
        let mut problems = Vec::new();
        let mut variables: Vec<_> = variables.into_iter().collect();
        variables.sort();
        for (name, text) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if rest.contains("__") {
                let path = rest.to_lowercase().split("__").map(str::to_owned).collect();
                layer.put(path, &text, Origin::Environment(name));
            } else if let Some(meant) = single_underscore(rest) {
                let what = format!("keys are set with two underscores between them; write {PREFIX}{meant}");
                problems.push(Problem { origin: Origin::Environment(name), key: String::new(), what });
            }
        }
        (layer, problems)
    }

    /// Settings of the command line: the option as it is told of, the key, and the text of the value.
    pub(crate) fn flags(settings: impl IntoIterator<Item = (String, String, String)>) -> Self {
        let mut layer = Self { values: Map::new(), source: Source::Named(Vec::new()) };
        for (option, key, text) in settings {
            let path = key.split('.').map(|part| part.trim().to_owned()).collect();
            layer.put(path, &text, Origin::Flag(option));
        }
        layer
    }

    fn put(&mut self, path: Vec<String>, text: &str, origin: Origin) {
        let value = read(Place(schema::whole()).at(&path), text);
        insert(&mut self.values, &path, value);
        if let Source::Named(names) = &mut self.source {
            names.push((path, origin));
        }
    }

    /// Where the value at `path`, or the nearest above it, was given.
    pub(crate) fn origin(&self, path: &[String]) -> Origin {
        match &self.source {
            Source::File { path: file, places } => {
                Origin::File { path: file.clone(), line: places.line(path) }
            }
            Source::Named(names) => {
                let related =
                    |(own, _): &&(Vec<String>, Origin)| path.starts_with(own) || own.starts_with(path);
                let found = names.iter().rev().find(related).or(names.last());
                found.map_or(Origin::Default, |(_, origin)| origin.clone())
            }
        }
    }

    /// Whether plain secrets may stand here: the environment is not kept on a disk and not shown to others.
    pub(crate) fn may_hold_secrets(&self, path: &[String]) -> bool {
        matches!(self.origin(path), Origin::Environment(_))
    }

    pub(crate) fn has(&self, path: &[String]) -> bool {
        let mut value = None;
        for key in path {
            let table = match value {
                None => Some(&self.values),
                Some(inner) => Value::as_object(inner),
            };
            match table.and_then(|table| table.get(key)) {
                Some(next) => value = Some(next),
                None => return matches!(value, Some(Value::Array(_))),
            }
        }
        value.is_some()
    }
}

/// `SERVER_ADDRESS` as `SERVER__ADDRESS`, if that is a key.
fn single_underscore(rest: &str) -> Option<String> {
    let lower = rest.to_lowercase();
    let Shape::Table(sections) = Place(schema::whole()).shape() else { return None };
    let section = sections.keys().find(|section| lower.starts_with(&format!("{section}_")))?;
    let key = &lower[section.len() + 1..];
    let Shape::Table(keys) = Place(&sections[section]).shape() else { return None };
    let meant = nearest(key, keys.keys().map(String::as_str))?;
    Some(format!("{section}__{meant}").to_uppercase())
}

/// A value's text as what its place wants. What does not fit stays text, which is then told as a problem.
fn read(place: Option<Place<'_>>, text: &str) -> Value {
    let as_text = || Value::String(text.to_owned());
    let as_toml = || {
        let document: Map<String, Value> = Toml::from_str(&format!("value = {text}\n")).ok()?;
        document.get("value").cloned()
    };
    match place.map(Place::shape) {
        Some(Shape::Text | Shape::Words(_)) => as_text(),
        Some(Shape::List(items)) if !text.trim_start().starts_with('[') => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Value::Array(parts.map(|part| read(Some(Place(items)), part)).collect())
        }
        _ => as_toml().unwrap_or_else(as_text),
    }
}

fn insert(table: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let inner = table.entry(key.clone()).or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn environment(pairs: &[(&str, &str)]) -> (Value, Vec<Problem>) {
        let (layer, problems) =
            Layer::environment(pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        (Value::Object(layer.values), problems)
    }

    #[test]
    fn a_variable_is_read_as_what_its_key_wants() {
        let (values, problems) = environment(&[
            ("DESKHAND_TARGETS__OFFICE__ADDRESS", "123456789"),
            ("DESKHAND_TARGETS__OFFICE__FPS", "30"),
            ("DESKHAND_TARGETS__OFFICE__TAGS", "a, b"),
            ("DESKHAND_MCP__TOOLSETS", "[\"desktop\"]"),
            ("DESKHAND_METRICS__ENABLE", "false"),
            ("DESKHAND_LOG", "debug"),
            ("DESKHAND_TOKEN", "of somebody else"),
            ("OTHER__THING", "1"),
        ]);
        assert!(problems.is_empty(), "{problems:?}");
        let office = json!({"address": "123456789", "fps": 30, "tags": ["a", "b"]});
        let expected = json!({
            "targets": {"office": office},
            "mcp": {"toolsets": ["desktop"]},
            "metrics": {"enable": false},
        });
        assert_eq!(values, expected);
    }

    #[test]
    fn one_underscore_too_few_is_told() {
        let (_, problems) = environment(&[("DESKHAND_SERVER_ADRESS", "x")]);
        assert!(problems[0].to_string().contains("DESKHAND_SERVER__ADDRESS"), "{problems:?}");
    }

    #[test]
    fn a_value_knows_who_gave_it() {
        let layer = Layer::flags([("--set".to_owned(), "http.drain_seconds".to_owned(), "3".to_owned())]);
        let path = ["http".to_owned(), "drain_seconds".to_owned()];
        assert!(layer.has(&path) && !layer.has(&["mcp".to_owned()]));
        assert_eq!(layer.origin(&path), Origin::Flag("--set".to_owned()));
        assert_eq!(layer.values["http"]["drain_seconds"], 3);
    }
}
