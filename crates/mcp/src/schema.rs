//! JSON schemas of arguments and results, in the form that clients take without complaint.

use rmcp::model::JsonObject;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};
use std::sync::Arc;

/// The schema of a tool's arguments: inlined, without number formats, which clients warn about.
pub(crate) fn of_arguments<A: JsonSchema>() -> Arc<JsonObject> {
    Arc::new(object(settings().into_generator().into_root_schema_for::<A>()))
}

/// The schema of a tool's structured content: the result, or a failure. Some clients check failures
/// against it too, so both have to fit.
pub(crate) fn of_result<R: JsonSchema>() -> Arc<JsonObject> {
    let mut result = object(settings().for_serialize().into_generator().into_root_schema_for::<R>());
    let failure =
        object(settings().for_serialize().into_generator().into_root_schema_for::<crate::Failure>());
    let required = |schema: &JsonObject| schema.get("required").cloned().unwrap_or_else(|| json!([]));
    let either = json!([{ "required": required(&result) }, { "required": required(&failure) }]);
    let mut properties = failure.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    if let Some(Value::Object(own)) = result.remove("properties") {
        properties.extend(own);
    }
    result.remove("required");
    result.insert("properties".to_owned(), Value::Object(properties));
    result.insert("anyOf".to_owned(), either);
    Arc::new(result)
}

fn settings() -> SchemaSettings {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings
}

fn object(schema: Schema) -> JsonObject {
    let mut value = schema.to_value();
    strip(&mut value);
    let Value::Object(mut object) = value else { return JsonObject::new() };
    object.remove("title");
    object.remove("description");
    object.entry("properties").or_insert_with(|| json!({}));
    object
}

/// Removes formats, and the types' names that schemars writes as titles.
fn strip(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.get("format").is_some_and(Value::is_string) {
                object.remove("format");
            }
            object.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}
