//! The configuration's own description: what may stand where.

use super::sections::Config;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};
use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

/// JSON Schema of the whole file, without references.
pub(crate) fn whole() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let generator = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true).into_generator();
        generator.into_root_schema_for::<Config>().to_value()
    });
    &SCHEMA
}

/// What may stand at one place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a>(pub(crate) &'a Value);

/// The shapes that values take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Shape<'a> {
    /// A table with known keys.
    Table(&'a Map<String, Value>),
    /// A table whose keys are names, and what stands behind each.
    Named(&'a Value),
    List(&'a Value),
    /// One of these words.
    Words(&'a [Value]),
    Text,
    Bool,
    Whole {
        least: Option<i64>,
        most: Option<i64>,
    },
}

static ROOT_ITEMS: Value = Value::Null;

impl<'a> Place<'a> {
    fn choices(self) -> &'a [Value] {
        self.0.get("anyOf").and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Without the "or nothing" of an optional one; of several forms the first, which is the simplest.
    fn present(self) -> Self {
        self.choices().iter().find(|choice| choice["type"] != "null").map_or(self, Place)
    }

    /// The form of several that a value has.
    pub(crate) fn fitting(self, value: &Value) -> Self {
        self.as_table().filter(|_| value.is_object()).unwrap_or(self)
    }

    /// The form of several that is a table.
    pub(crate) fn as_table(self) -> Option<Self> {
        self.choices().iter().find(|choice| choice["type"] == "object").map(Place)
    }

    fn is(self, name: &str) -> bool {
        match &self.0["type"] {
            Value::String(only) => only == name,
            Value::Array(several) => several.iter().any(|one| one == name),
            _ => false,
        }
    }

    pub(crate) fn shape(self) -> Shape<'a> {
        let here = self.present();
        if let Some(words) = here.0.get("enum").and_then(Value::as_array) {
            return Shape::Words(words);
        }
        if here.is("object") {
            if let Some(keys) = here.0.get("properties").and_then(Value::as_object) {
                return Shape::Table(keys);
            }
            return Shape::Named(here.0.get("additionalProperties").unwrap_or(&ROOT_ITEMS));
        }
        if here.is("array") {
            return Shape::List(here.0.get("items").unwrap_or(&ROOT_ITEMS));
        }
        if here.is("boolean") {
            return Shape::Bool;
        }
        if here.is("integer") {
            let bound = |name: &str| here.0.get(name).and_then(Value::as_i64);
            return Shape::Whole { least: bound("minimum"), most: bound("maximum") };
        }
        Shape::Text
    }

    /// Keys that must be there.
    pub(crate) fn required(self) -> Vec<&'a str> {
        let list = self.present().0.get("required").and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// What stands under `key`, if anything may.
    pub(crate) fn under(self, key: &str) -> Option<Self> {
        match self.shape() {
            Shape::Table(keys) => keys.get(key).map(Place),
            Shape::Named(value) => Some(Place(value)),
            Shape::List(items) => Some(Place(items)),
            _ => self.as_table().and_then(|table| table.0.get("properties")?.get(key)).map(Place),
        }
    }

    /// What stands at a path of keys.
    pub(crate) fn at(self, path: &[String]) -> Option<Self> {
        path.iter().try_fold(self, |place, key| place.under(key))
    }

    /// Whether plain text is refused here unless it comes from the environment.
    pub(crate) fn secret(self) -> bool {
        self.0["x-secret"] == Value::Bool(true)
    }

    /// What is wrong with a text that is meant to have a form, if it is meant to and does not.
    pub(crate) fn misformed(self, text: &str) -> Option<&'static str> {
        match self.0["x-form"].as_str() {
            Some("address") if text.parse::<SocketAddr>().is_err() => {
                Some("write ADDRESS:PORT, like 127.0.0.1:8642 or [::1]:8642")
            }
            Some("ip") if text.parse::<IpAddr>().is_err() => Some("write an IP address"),
            _ => None,
        }
    }

    pub(crate) fn description(self) -> &'a str {
        self.0["description"].as_str().unwrap_or_default()
    }

    pub(crate) fn default(self) -> Option<&'a Value> {
        self.0.get("default").filter(|value| !value.is_null())
    }

    pub(crate) fn example(self) -> Option<&'a Value> {
        self.0.get("x-example")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Place<'static> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        Place(whole()).at(&path).unwrap_or_else(|| panic!("nothing at {path:?}"))
    }

    #[test]
    fn shapes_of_places() {
        assert!(!whole().to_string().contains("$ref"));
        assert!(matches!(at("server").shape(), Shape::Table(keys) if keys.contains_key("address")));
        assert!(matches!(at("targets").shape(), Shape::Named(_)));
        assert_eq!(at("targets.office").required(), ["address"]);
        assert_eq!(at("targets.office.address").shape(), Shape::Text);
        assert!(at("targets.office.password").secret() && !at("targets.office.address").secret());
        assert!(matches!(at("targets.office.codec").shape(), Shape::Words(words) if words.len() >= 5));
        assert!(matches!(at("targets.office.tags").shape(), Shape::List(_)));
        assert_eq!(at("rendezvous.port").shape(), Shape::Whole { least: Some(0), most: Some(65_535) });
        assert_eq!(at("metrics.enable").shape(), Shape::Bool);
        assert_eq!(at("http.listen").shape(), Shape::Text);
        assert_eq!(at("http.listen").default().unwrap(), "127.0.0.1:8642");
        assert!(
            at("http.listen").misformed("9464").is_some() && at("http.listen").misformed("[::]:1").is_none()
        );
        assert!(at("rendezvous.listen.0").misformed("here").is_some());
        assert!(matches!(at("policy.rules.0.verdict").shape(), Shape::Words(_)));
        assert_eq!(at("secrets.pin").shape(), Shape::Text);
        assert!(matches!(at("secrets.pin.targets").shape(), Shape::List(_)));
    }

    #[test]
    fn every_place_says_what_it_is_for() {
        fn walk(place: Place<'_>, path: &str, silent: &mut Vec<String>) {
            match place.shape() {
                Shape::Table(keys) => {
                    for (key, value) in keys {
                        let path = format!("{path}.{key}");
                        if value["description"].as_str().unwrap_or_default().is_empty() {
                            silent.push(path.clone());
                        }
                        walk(Place(value), &path, silent);
                    }
                }
                Shape::Named(value) | Shape::List(value) if value.is_object() => {
                    walk(Place(value), path, silent)
                }
                _ => {}
            }
        }
        let mut silent = Vec::new();
        walk(Place(whole()), "", &mut silent);
        assert!(silent.is_empty(), "{silent:?}");
    }
}
