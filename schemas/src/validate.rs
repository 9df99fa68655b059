//! Checks status events, and answers to commands, before they leave: the envelope's rules, and the data against its
//! published schema.
//!
//! A violation is a defect of ours. It is counted and logged by the caller and never blocks the instance.

use std::fmt;
use std::sync::OnceLock;

use jsonschema::{Draft, Validator};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::{Answer, AttributeError, CloudEvent, Data, StatusKind};

/// The schemas of all status events, compiled once per process. Cheap to copy and to share.
#[derive(Debug, Clone, Copy)]
pub struct Validators {
    compiled: &'static [Validator],
    answers: &'static [Validator],
}

/// How a status event breaks the contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No status event has this type.
    #[error("FS-STATUS-TYPE: `{0}` is no type of status event")]
    Type(String),
    /// An attribute is missing or wrong.
    #[error("FS-STATUS-ATTRIBUTE: {0}")]
    Attribute(#[from] AttributeError),
    /// The data is not JSON.
    #[error("FS-STATUS-DATA: the data of `{ty}` is not JSON: {why}")]
    NotJson {
        /// The event's type.
        ty: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The data is not what the schema says.
    #[error("FS-STATUS-SCHEMA: the data of `{ty}` breaks its schema at `{place}`: {why}")]
    Schema {
        /// The event's type.
        ty: &'static str,
        /// JSON pointer within the data.
        place: String,
        /// What is wrong, without the value.
        why: String,
    },
}

/// The data's fields, for the schema. `output` may be any JSON, so it is passed over and stands as null: its size and
/// depth cost nothing here.
struct Fields(Value);

impl Validators {
    /// Compiles the schemas, the first time.
    #[must_use]
    pub fn new() -> Self {
        static COMPILED: OnceLock<Vec<Validator>> = OnceLock::new();
        static ANSWERS: OnceLock<Vec<Validator>> = OnceLock::new();
        Self {
            compiled: COMPILED.get_or_init(|| StatusKind::every().map(|kind| compile(kind.schema_text())).collect()),
            answers: ANSWERS.get_or_init(|| Answer::schemas().iter().map(|(_, _, text)| compile(text)).collect()),
        }
    }

    /// Checks a status event.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(&self, event: &CloudEvent) -> Result<(), Violation> {
        let found = StatusKind::every().zip(self.compiled).find(|(kind, _)| kind.wire_type() == event.ty);
        let Some((kind, schema)) = found else {
            return Err(Violation::Type(event.ty.clone()));
        };
        event.validate()?;
        let instance = check_envelope(kind, event)?;
        let ty = kind.wire_type();
        let data = check_data(ty, schema, &event.data)?;
        let whose = data.get("name").or_else(|| data.get("workflow")).and_then(Value::as_str).unwrap_or_default();
        if whose.contains(instance) {
            return Ok(());
        }
        let why = "the qualified name does not hold the instance's id".to_owned();
        Err(Violation::Schema { ty, place: String::new(), why })
    }

    /// Checks an answer to a command.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check_answer(&self, event: &CloudEvent) -> Result<(), Violation> {
        let schemas = Answer::schemas();
        let found = schemas.iter().zip(self.answers).find(|((ty, ..), _)| *ty == event.ty);
        let Some(((ty, schema_id, _), schema)) = found else {
            return Err(Violation::Type(event.ty.clone()));
        };
        event.validate()?;
        must(event.time.is_some(), "time", "is missing")?;
        must(event.dataschema.as_deref() == Some(schema_id), "dataschema", "must be the $id of the type's schema")?;
        check_data(ty, schema, &event.data).map(drop)
    }
}

fn check_data(ty: &'static str, schema: &Validator, data: &Data) -> Result<Value, Violation> {
    let Data::Json(text) = data else {
        return Err(Violation::NotJson { ty, why: "there is none, or it is binary".into() });
    };
    let Fields(data) = serde_json::from_slice(text).map_err(|why| Violation::NotJson { ty, why: why.to_string() })?;
    schema.validate(&data).map_err(|error| Violation::Schema {
        ty,
        place: error.instance_path().to_string(),
        why: error.masked().to_string(),
    })?;
    Ok(data)
}

impl Default for Validators {
    fn default() -> Self {
        Self::new()
    }
}

fn compile(text: &str) -> Validator {
    let schema = serde_json::from_str(text).expect("the schema files are JSON, as a test shows");
    let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
    options.build(&schema).expect("the schema files are schemas, as a test shows")
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(Value::Null))
    }
}

impl<'de> Visitor<'de> for Fields {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = match name.as_str() {
                "output" => members.next_value::<IgnoredAny>().map(|_| Value::Null)?,
                _ => members.next_value()?,
            };
            if fields.contains_key(&name) {
                return Err(A::Error::custom(format_args!("`{name}` stands there twice")));
            }
            fields.insert(name, value);
        }
        Ok(Self(Value::Object(fields)))
    }
}

/// What subscribers order, group and find events by must agree with itself. Returns the instance's id.
fn check_envelope(kind: StatusKind, event: &CloudEvent) -> Result<&str, AttributeError> {
    let instance = event.subject.as_deref().ok_or(AttributeError::Missing("subject"))?;
    must(uuid::Uuid::try_parse(instance).is_ok(), "subject", "is no instance id")?;
    must(event.time.is_some(), "time", "is missing")?;
    must(event.datacontenttype.as_deref() == Some("application/json"), "datacontenttype", "must be application/json")?;
    must(event.dataschema.as_deref() == Some(kind.schema_id()), "dataschema", "must be the $id of the type's schema")?;
    must(text(event, "partitionkey")? == instance, "partitionkey", "must be the instance id, as the subject is")?;
    let id = event.id.strip_prefix(instance).and_then(|rest| rest.strip_prefix('-'));
    if StatusKind::optional().contains(&kind) {
        must(!event.extensions.contains_key("sequence"), "sequence", "is for required events only")?;
        must(id.is_some(), "id", "must begin with the instance id and a hyphen")?;
    } else {
        let sequence = text(event, "sequence")?;
        must(is_sequence(sequence), "sequence", "must be a decimal number from 1, without padding")?;
        must(id == Some(sequence), "id", "must be the instance id, a hyphen and the sequence")?;
    }
    let mut path = event.source.split('/');
    let is_path = path.next() == Some("") && path.clone().count() == 3 && path.all(|segment| !segment.is_empty());
    must(is_path, "source", "must be /namespace/name/version")?;
    Ok(instance)
}

fn text<'a>(event: &'a CloudEvent, name: &'static str) -> Result<&'a str, AttributeError> {
    event.extensions.get(name).and_then(Value::as_str).ok_or(AttributeError::Missing(name))
}

fn is_sequence(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0') && text.parse::<u64>().is_ok()
}

fn must(holds: bool, name: &str, why: &str) -> Result<(), AttributeError> {
    if holds { Ok(()) } else { Err(AttributeError::Invalid { name: name.to_owned(), why: why.to_owned() }) }
}
