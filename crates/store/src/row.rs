//! Values within columns.

use policy::{CallerKind, Grant};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A value that is kept as JSON text.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let text = serde_json::to_string(&self.0)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(text.into())
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

pub(crate) type Allowed = Json<Grant>;

pub(crate) const fn kind_name(kind: CallerKind) -> &'static str {
    match kind {
        CallerKind::Model => "model",
        CallerKind::Person => "person",
        CallerKind::Script => "script",
    }
}

/// What is not known stands for the least.
pub(crate) fn kind_of(name: &str) -> CallerKind {
    match name {
        "person" => CallerKind::Person,
        "script" => CallerKind::Script,
        _ => CallerKind::Model,
    }
}
