//! Whether values have the shapes that their places want.

use super::layers::Layer;
use super::problem::{Problem, nearest};
use super::schema::{self, Place, Shape};
use serde_json::{Map, Value};

/// What is wrong with the values of a layer. Those are taken out, so that the rest can be looked at further.
pub(crate) fn check(layer: &mut Layer) -> Vec<Problem> {
    let mut values = std::mem::take(&mut layer.values);
    let mut walk = Walk { layer, path: Vec::new(), problems: Vec::new() };
    walk.table(Place(schema::whole()), &mut values);
    let problems = walk.problems;
    layer.values = values;
    problems
}

/// Keys that have to be there and are not, in all layers together. What lacks them is taken out.
pub(crate) fn complete(values: &mut Map<String, Value>, missing: &mut impl FnMut(&[String], &str)) {
    walk_complete(Place(schema::whole()), values, &mut Vec::new(), missing);
}

struct Walk<'a> {
    layer: &'a Layer,
    path: Vec<String>,
    problems: Vec<Problem>,
}

impl Walk<'_> {
    fn problem(&mut self, what: String) {
        let origin = self.layer.origin(&self.path);
        self.problems.push(Problem { origin, key: self.path.join("."), what });
    }

    fn table(&mut self, place: Place<'_>, values: &mut Map<String, Value>) {
        values.retain(|key, value| {
            self.path.push(key.clone());
            let good = match place.under(key) {
                Some(place) => self.value(place, value),
                None => {
                    self.unknown(place, key);
                    false
                }
            };
            self.path.pop();
            good
        });
    }

    fn unknown(&mut self, place: Place<'_>, key: &str) {
        let Shape::Table(keys) = place.shape() else { return };
        let names = || keys.keys().map(String::as_str);
        let advice = match nearest(key, names()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are: {}", names().collect::<Vec<_>>().join(", ")),
        };
        self.problem(format!("there is no such key; {advice}"));
    }

    /// Whether the value can stay.
    fn value(&mut self, place: Place<'_>, value: &mut Value) -> bool {
        let place = place.fitting(value);
        let wanted = match (place.shape(), &mut *value) {
            (Shape::Table(_) | Shape::Named(_), Value::Object(inner)) => {
                self.table(place, inner);
                return true;
            }
            (Shape::List(items), Value::Array(elements)) => return self.list(Place(items), elements),
            (Shape::Words(words), Value::String(word)) => {
                if words.iter().any(|known| known == word) {
                    return true;
                }
                let names = || words.iter().filter_map(Value::as_str);
                let list = names().collect::<Vec<_>>().join(", ");
                let near = nearest(word, names()).map(|near| format!("; did you mean {near}?"));
                self.problem(format!("{word:?} is none of: {list}{}", near.unwrap_or_default()));
                return false;
            }
            (Shape::Text, Value::String(text)) => {
                let plain = place.secret() && !text.starts_with("secret://");
                if plain && !self.layer.may_hold_secrets(&self.path) {
                    self.problem(
                        "a secret does not belong here; name a file that holds it, or write secret://NAME, \
                         or set it in the environment"
                            .to_owned(),
                    );
                    return false;
                }
                let Some(advice) = place.misformed(text) else { return true };
                self.problem(format!("{text:?} is no address; {advice}"));
                return false;
            }
            (Shape::Bool, Value::Bool(_)) => return true,
            (Shape::Whole { least, most }, Value::Number(number)) => {
                let fits = number.as_i64().is_some_and(|n| {
                    least.is_none_or(|least| n >= least) && most.is_none_or(|most| n <= most)
                });
                if fits {
                    return true;
                }
                match (least, most) {
                    (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                    (Some(least), None) => format!("a whole number, at least {least}"),
                    _ => "a whole number".to_owned(),
                }
            }
            (Shape::Table(_) | Shape::Named(_), _) => "a table".to_owned(),
            (Shape::List(_), _) => "a list".to_owned(),
            (Shape::Words(_) | Shape::Text, _) => "text in quotes".to_owned(),
            (Shape::Bool, _) => "true or false".to_owned(),
            (Shape::Whole { .. }, _) => "a whole number".to_owned(),
        };
        self.problem(format!("expected {wanted}, found {}", kind(value)));
        false
    }

    fn list(&mut self, items: Place<'_>, elements: &mut [Value]) -> bool {
        let mut good = true;
        for (n, element) in elements.iter_mut().enumerate() {
            self.path.push(n.to_string());
            good &= self.value(items, element);
            self.path.pop();
        }
        good
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn walk_complete(
    place: Place<'_>,
    values: &mut Map<String, Value>,
    path: &mut Vec<String>,
    missing: &mut impl FnMut(&[String], &str),
) -> bool {
    let mut whole = true;
    for key in place.required() {
        if !values.contains_key(key) {
            missing(path, key);
            whole = false;
        }
    }
    values.retain(|key, value| {
        let Some(inner) = place.under(key) else { return true };
        path.push(key.clone());
        let inner = inner.fitting(value);
        let mut keep = true;
        match value {
            Value::Object(table) => keep = walk_complete(inner, table, path, missing),
            Value::Array(elements) => {
                for (n, element) in elements.iter_mut().enumerate() {
                    let (Some(inner), Value::Object(table)) = (inner.under("0"), element) else { continue };
                    path.push(n.to_string());
                    keep &= walk_complete(inner, table, path, missing);
                    path.pop();
                }
            }
            _ => {}
        }
        path.pop();
        keep
    });
    whole
}
