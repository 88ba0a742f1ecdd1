//! The reference page of the kinds, from the specs themselves and their words.
//!
//! Never in here: words about a field; those stand at the field.

use super::workload::WorkloadSpec;
use super::{Kind, Metadata, example};
use super::{lifecycle::LifecyclePolicySpec, mesh::MeshSpec, service::MeshServiceSpec};
use schemars::{Schema, schema_for};
use serde_json::Value;
use std::fmt::Write as _;

const HEAD: &str = "# Kinds\n\n\
    Made by `cargo xtask generate` from the specs in `crates/weft-api/src/kinds.rs` and its folder; do not edit.\n\n\
    What people declare, with `weft apply -f` or the center's API. Every object has `apiVersion:\n\
    mesh.weft.dev/v1alpha1`, `kind`, `metadata` and `spec`; a field that is not listed here is refused, with its\n\
    file and line. The center adds `status`: `Accepted`, `Overridden` (another object says otherwise, and which)\n\
    or `Invalid`, and in `effect` what it does today.\n";

const COLUMNS: &str = "| field | type | needed | meaning |\n|---|---|---|---|\n";

/// Objects within each other at the most; no spec is that deep.
const DEPTH_MAX: usize = 8;

/// The whole page.
pub fn page() -> String {
    let mut text = format!("{HEAD}\n## metadata\n\n{COLUMNS}");
    fields(&mut text, "metadata", &schema_for!(Metadata));
    for kind in Kind::ALL {
        let schema = schema_of(*kind);
        let about = schema
            .get("description")
            .and_then(Value::as_str)
            .unwrap_or("");
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## {}\n\n{}\n\nPath: `/apis/mesh.weft.dev/v1alpha1/namespaces/<namespace>/{}`. Today: {}.\n\n\
             ```yaml\n{}```\n\n{COLUMNS}",
            kind.name(),
            one_line(about),
            kind.plural(),
            kind.effect(),
            example::of(*kind),
        );
        fields(&mut text, "spec", &schema);
    }
    text
}

fn schema_of(kind: Kind) -> Schema {
    match kind {
        Kind::Mesh => schema_for!(MeshSpec),
        Kind::MeshService => schema_for!(MeshServiceSpec),
        Kind::LifecyclePolicy => schema_for!(LifecyclePolicySpec),
        Kind::Workload => schema_for!(WorkloadSpec),
    }
}

fn fields(text: &mut String, path: &str, schema: &Schema) {
    let root = schema.as_value();
    rows(text, path, root, root, DEPTH_MAX);
}

/// A row for each field of an object, and below it those of the objects in it.
fn rows(text: &mut String, path: &str, object: &Value, root: &Value, depth: usize) {
    let needed = object["required"].as_array();
    let is_needed =
        |name: &str| needed.is_some_and(|names| names.iter().any(|known| known == name));
    for (name, field) in object["properties"].as_object().into_iter().flatten() {
        if depth == 0 {
            return;
        }
        let about = field["description"].as_str().map(one_line);
        let shape = resolved(field, root);
        let items = shape["items"]
            .is_object()
            .then(|| resolved(&shape["items"], root));
        let own = format!("{path}.{name}{}", if items.is_some() { "[]" } else { "" });
        let inner = items.unwrap_or(shape);
        let _ = writeln!(
            text,
            "| `{own}` | {} | {} | {} |",
            type_of(inner, items.is_some()),
            if is_needed(name) { "yes" } else { "" },
            about.unwrap_or_default(),
        );
        rows(text, &own, inner, root, depth - 1);
    }
}

/// What a field refers to; of a field that may be left out, what it is when it is there.
fn resolved<'a>(field: &'a Value, root: &'a Value) -> &'a Value {
    let choices = field["anyOf"].as_array();
    let there = choices.and_then(|choices| choices.iter().find(|choice| choice["type"] != "null"));
    let field = there.unwrap_or(field);
    let name = field["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix("#/$defs/"));
    name.map_or(field, |name| &root["$defs"][name])
}

fn type_of(shape: &Value, is_list: bool) -> String {
    let one_of = shape["oneOf"].as_array().into_iter().flatten();
    let mut allowed: Vec<&Value> = one_of.map(|choice| &choice["const"]).collect();
    allowed.extend(shape["enum"].as_array().into_iter().flatten());
    let named: Vec<String> = allowed
        .iter()
        .filter_map(|choice| choice.as_str())
        .map(|choice| format!("`{choice}`"))
        .collect();
    let kind = match &shape["type"] {
        Value::Array(types) => types
            .iter()
            .find(|kind| *kind != "null")
            .and_then(Value::as_str),
        kind => kind.as_str(),
    };
    let single = match (named.is_empty(), kind) {
        (false, _) => named.join(", "),
        (true, Some("string")) => "text".to_owned(),
        (true, Some("integer")) => "number".to_owned(),
        (true, Some("boolean")) => "true or false".to_owned(),
        (true, Some("object")) if shape["properties"].is_object() => "object".to_owned(),
        (true, Some("object")) => "texts by name".to_owned(),
        (true, Some(other)) => other.to_owned(),
        (true, None) => "object".to_owned(),
    };
    if is_list {
        format!("list of {single}")
    } else {
        single
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
