//! JSON Schema of what REST describes in OpenAPI: one description of each type for both.

use std::collections::BTreeMap;
use std::sync::Arc;

use rmcp::model::JsonObject;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

const REST_PLACE: &str = "#/components/schemas/";
const PLACE: &str = "#/$defs/";

/// Of an object, with all that it refers to.
pub fn of<T: ToSchema>() -> Arc<JsonObject> {
    let mut referred: Vec<(String, RefOr<Schema>)> = Vec::new();
    T::schemas(&mut referred);
    let mut root = json!(T::schema());
    let mut definitions: BTreeMap<String, Value> =
        referred.into_iter().map(|(name, schema)| (name, json!(schema))).collect();
    definitions.values_mut().for_each(move_references);
    move_references(&mut root);
    root["type"] = json!("object");
    if !definitions.is_empty() {
        root["$defs"] = json!(definitions);
    }
    match root {
        Value::Object(schema) => Arc::new(schema),
        _ => Arc::default(),
    }
}

fn move_references(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::String(place)) = members.get_mut("$ref") {
                *place = place.replacen(REST_PLACE, PLACE, 1);
            }
            members.values_mut().for_each(move_references);
        }
        Value::Array(items) => items.iter_mut().for_each(move_references),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::view::Instance;

    /// Each reference of `schema`.
    fn references(schema: &Value) -> Vec<String> {
        match schema {
            Value::Object(members) => {
                let own = members.get("$ref").and_then(Value::as_str).map(str::to_owned);
                own.into_iter().chain(members.values().flat_map(references)).collect()
            }
            Value::Array(items) => items.iter().flat_map(references).collect(),
            _ => Vec::new(),
        }
    }

    #[test]
    fn each_reference_leads_somewhere() {
        let schema = Value::Object((*of::<Instance>()).clone());
        let references = references(&schema);
        assert!(references.contains(&"#/$defs/Common".to_owned()), "{references:?}");
        for reference in references {
            let place = reference.strip_prefix('#').unwrap();
            assert!(schema.pointer(place).is_some(), "{reference}");
        }
    }
}
