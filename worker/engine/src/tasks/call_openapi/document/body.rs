//! What an operation takes as its body: `requestBody` of 3.x, parameters in `body` and `formData` of 2.0.

use super::{Document, DocumentError, Version, is_true, texts};
use crate::tasks::http::essence;
use crate::value::{self, Value};

/// A declared body.
#[derive(Debug)]
pub(in super::super) struct Body {
    /// The parameter that holds it whole: `body`, or in 2.0 its own name.
    pub(in super::super) name: String,
    pub(in super::super) required: bool,
    pub(in super::super) media_type: String,
    pub(in super::super) content: Content,
    /// The properties that are known of it; `None`: any.
    pub(in super::super) fields: Option<Vec<Field>>,
}

/// A property of a body that is an object.
#[derive(Debug)]
pub(in super::super) struct Field {
    pub(in super::super) name: String,
    pub(in super::super) required: bool,
    /// Its value is the content of a file.
    pub(in super::super) is_file: bool,
}

/// How a body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Content {
    Json,
    Form,
    Multipart,
    /// Only a text can be sent, as it is.
    Text,
}

const FORM: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data";

impl<'d> Document<'d> {
    pub(super) fn body(&self, operation: &'d Value, fields: &[&'d Value]) -> Result<Option<Body>, DocumentError> {
        match self.version {
            Version::Two => Ok(self.parameter_body(operation, fields)),
            Version::Three => self.request_body(operation),
        }
    }

    fn parameter_body(&self, operation: &Value, fields: &[&Value]) -> Option<Body> {
        let consumes = value::get(operation, "consumes").or_else(|| value::get(self.root, "consumes"));
        let consumes = consumes.map(texts).unwrap_or_default();
        let text = |of: &Value, key: &str| value::get(of, key).and_then(value::as_str).map(str::to_owned);
        let is_whole = |field: &&&Value| text(field, "in").as_deref() == Some("body");
        if let Some(body) = fields.iter().find(is_whole) {
            let media_type = best(&consumes).unwrap_or("application/json");
            return Some(Body {
                name: text(body, "name").unwrap_or_else(|| "body".to_owned()),
                required: is_true(body, "required"),
                media_type: media_type.to_owned(),
                content: Content::of(media_type),
                fields: None,
            });
        }
        if fields.is_empty() {
            return None;
        }
        let is_file = |field: &Value| text(field, "type").as_deref() == Some("file");
        let takes_form = consumes.is_empty() || consumes.iter().any(|media_type| essence(media_type) == FORM);
        let (media_type, content) = match takes_form && !fields.iter().any(|field| is_file(field)) {
            true => (FORM, Content::Form),
            false => (MULTIPART, Content::Multipart),
        };
        let fields: Vec<Field> = fields
            .iter()
            .filter_map(|field| {
                let (name, required) = (text(field, "name")?, is_true(field, "required"));
                Some(Field { name, required, is_file: is_file(field) })
            })
            .collect();
        Some(Body {
            name: "body".to_owned(),
            required: fields.iter().any(|field| field.required),
            media_type: media_type.to_owned(),
            content,
            fields: Some(fields),
        })
    }

    fn request_body(&self, operation: &'d Value) -> Result<Option<Body>, DocumentError> {
        let Some(body) = value::get(operation, "requestBody") else { return Ok(None) };
        let body = self.followed(body)?;
        let contents: Vec<(&str, &'d Value)> =
            value::get(body, "content").into_iter().flat_map(value::entries).collect();
        let types: Vec<&str> = contents.iter().map(|(media_type, _)| *media_type).collect();
        let media_type = best(&types).unwrap_or("application/json");
        let content = contents.iter().find(|(known, _)| *known == media_type);
        let fields = match content.and_then(|(_, content)| value::get(content, "schema")) {
            Some(schema) => self.fields(self.followed(schema)?)?,
            None => None,
        };
        Ok(Some(Body {
            name: "body".to_owned(),
            required: is_true(body, "required"),
            media_type: media_type.to_owned(),
            content: Content::of(media_type),
            fields,
        }))
    }

    /// The properties of a schema, if these are all that it says of an object.
    fn fields(&self, schema: &'d Value) -> Result<Option<Vec<Field>>, DocumentError> {
        let is_open = ["allOf", "anyOf", "oneOf"].iter().any(|key| value::get(schema, key).is_some())
            || value::get(schema, "additionalProperties").is_some_and(|more| !matches!(more, Value::Bool(false)));
        let Some(properties) = value::get(schema, "properties").filter(|_| !is_open) else { return Ok(None) };
        let required = value::get(schema, "required").map(texts).unwrap_or_default();
        let mut fields = Vec::new();
        for (name, property) in value::entries(properties) {
            let property = self.followed(property)?;
            let is_file = value::get(property, "format").and_then(value::as_str) == Some("binary")
                || value::get(property, "contentMediaType").is_some();
            fields.push(Field { name: name.to_owned(), required: required.contains(&name), is_file });
        }
        Ok(Some(fields))
    }
}

impl Content {
    fn of(media_type: &str) -> Self {
        match &*essence(media_type) {
            FORM => Self::Form,
            MULTIPART => Self::Multipart,
            _ if is_json(media_type) => Self::Json,
            // Nothing is said: JSON is what everybody means.
            "*/*" | "application/*" => Self::Json,
            _ => Self::Text,
        }
    }
}

pub(super) fn is_json(media_type: &str) -> bool {
    let essence = essence(media_type);
    essence == "application/json" || essence.ends_with("+json")
}

/// JSON before a form, a form before one in parts, and these before all that only takes text.
fn best<'t>(types: &[&'t str]) -> Option<&'t str> {
    types.iter().copied().min_by_key(|media_type| match Content::of(media_type) {
        Content::Json => (0, *media_type != "application/json"),
        Content::Form => (1, false),
        Content::Multipart => (2, false),
        Content::Text => (3, false),
    })
}
