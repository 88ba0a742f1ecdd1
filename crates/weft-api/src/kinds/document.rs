//! YAML and JSON files of objects, with the line of every field: the one place that knows the YAML crate.
//!
//! JSON is YAML, so one reader takes both. Never in here: what the fields mean.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;
use std::fmt;

/// One object of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its value.
    pub value: Value,
    node: Node,
}

/// A file that cannot be read as YAML or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where; 0 when that is unknown.
    pub line: u64,
    /// What is wrong.
    pub reason: String,
}

/// A value with the line on which it, or its name, stands.
#[derive(Clone, Debug)]
struct Node {
    line: u64,
    shape: Shape,
}

#[derive(Clone, Debug)]
enum Shape {
    Scalar(Value),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Document {
    /// The line of the field with this path (`spec.ports[0].port`), or of the innermost part that is there.
    pub fn line_of(&self, path: &str) -> u64 {
        let mut node = &self.node;
        for part in parts(path) {
            let next = match &node.shape {
                Shape::Scalar(_) => None,
                Shape::List(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
                Shape::Map(fields) => fields
                    .iter()
                    .find(|(name, _)| name == part)
                    .map(|(_, node)| node),
            };
            match next {
                Some(next) => node = next,
                None => break,
            }
        }
        node.line
    }

    /// The line on which it begins.
    pub fn line(&self) -> u64 {
        self.node.line
    }
}

/// The objects of a file; a `List` counts as its items.
pub fn read(text: &str) -> Result<Vec<Document>, SyntaxError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let nodes: Vec<Node> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| SyntaxError {
            line: error.location().map_or(0, |location| location.line()),
            reason: error.to_string(),
        })?;
    let mut documents = Vec::new();
    for node in nodes {
        match items_of(&node) {
            Some(items) => documents.extend(items.iter().map(document)),
            None if node.is_null() => {}
            None => documents.push(document(&node)),
        }
    }
    Ok(documents)
}

/// A value as YAML.
pub fn write(value: &Value) -> String {
    serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string())
}

fn document(node: &Node) -> Document {
    Document {
        value: node.value(),
        node: node.clone(),
    }
}

fn items_of(node: &Node) -> Option<&[Node]> {
    let Shape::Map(fields) = &node.shape else {
        return None;
    };
    let field = |name| {
        fields
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, node)| node)
    };
    let Shape::Scalar(Value::String(kind)) = &field("kind")?.shape else {
        return None;
    };
    match &field("items")?.shape {
        Shape::List(items) if kind.ends_with("List") => Some(items),
        _ => None,
    }
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']']).filter(|part| !part.is_empty())
}

impl Node {
    fn is_null(&self) -> bool {
        matches!(self.shape, Shape::Scalar(Value::Null))
    }

    fn value(&self) -> Value {
        match &self.shape {
            Shape::Scalar(value) => value.clone(),
            Shape::List(items) => items.iter().map(Self::value).collect(),
            Shape::Map(fields) => {
                let fields = fields
                    .iter()
                    .map(|(name, node)| (name.clone(), node.value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Shape>::deserialize(deserializer)?;
        Ok(Self {
            line: spanned.referenced.line(),
            shape: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML or JSON value")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Shape, E> {
        Ok(Shape::Scalar(value.into()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Shape, E> {
        Ok(Shape::Scalar(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Scalar(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Shape, E> {
        let number = Number::from_f64(value);
        // What is no number in JSON stays a text, so that the field's own type refuses it.
        Ok(Shape::Scalar(number.map_or_else(
            || Value::String(value.to_string()),
            Value::Number,
        )))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Shape, E> {
        Ok(Shape::Scalar(value.into()))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::Null))
    }

    fn visit_none<E: de::Error>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = items.next_element()? {
            nodes.push(node);
        }
        Ok(Shape::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Shape, A::Error> {
        let mut nodes: Vec<(String, Node)> = Vec::new();
        while let Some(name) = fields.next_key::<Spanned<String>>()? {
            let mut node: Node = fields.next_value()?;
            node.line = name.referenced.line();
            if nodes.iter().any(|(known, _)| *known == name.value) {
                return Err(de::Error::custom(format!(
                    "the field \"{}\" is there twice",
                    name.value
                )));
            }
            nodes.push((name.value, node));
        }
        Ok(Shape::Map(nodes))
    }
}
