//! From an OpenAPI document (2.0 or 3.x) to the one operation that a call names. Done once per plan; nothing of the
//! document is kept.

mod body;
mod server;

use super::style::Style;
use crate::diagnostic::nearest;
use crate::limits::Limits;
use crate::value::{self, Value};

pub(super) use body::{Body, Content};

/// An operation, resolved.
#[derive(Debug)]
pub(super) struct Operation {
    /// Upper case.
    pub(super) method: String,
    /// Absolute, without a slash at its end.
    pub(super) server: String,
    pub(super) path: Vec<PathPart>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
    /// `Accept`: what the operation answers with, JSON if it can.
    pub(super) accept: Option<String>,
}

#[derive(Debug)]
pub(super) enum PathPart {
    Literal(String),
    Parameter(String),
}

/// A declared parameter.
#[derive(Debug, Clone)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) style: Style,
    pub(super) required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
    Cookie,
}

/// Why a document gives no operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error("it can't be read: {0}")]
    Unreadable(String),
    #[error("it is neither OpenAPI 2.0 (`swagger: '2.0'`) nor 3 (`openapi: 3.x.y`)")]
    Version,
    #[error("it has no operation `{id}`")]
    NoOperation {
        id: String,
        /// How to mend it.
        hint: String,
    },
    #[error("it has two operations `{0}`")]
    Twice(String),
    #[error("`{0}` in it leads nowhere: only references inside of the document (`#/…`) are followed")]
    Reference(String),
    #[error("it names no server that can be asked: {0}")]
    Server(String),
    #[error("the parameter `{name}` in it {what}")]
    Parameter { name: String, what: &'static str },
}

/// Which of the two languages a document speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Two,
    Three,
}

/// A document together with where it lies.
struct Document<'d> {
    root: &'d Value,
    version: Version,
    location: &'d str,
}

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// References in a row; more of them are a circle.
const REFERENCES_MAX: usize = 32;

/// The document's tree.
pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Value, DocumentError> {
    let unreadable = |why: String| DocumentError::Unreadable(why);
    let limits = Limits {
        payload_bytes_max: limits.resource_bytes_max,
        definition_bytes_max: limits.resource_bytes_max,
        // A node of YAML has hardly fewer bytes than this.
        yaml_nodes_max: limits.resource_bytes_max / 8,
        ..limits.clone()
    };
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"{") {
        return value::parse_json(bytes, &limits).map_err(|why| unreadable(why.to_string()));
    }
    crate::read_document(bytes, &limits).map_err(|found| {
        let first = found.iter().next();
        unreadable(first.map_or_else(String::new, |first| format!("line {}: {}", first.span.line, first.message)))
    })
}

/// The operation of this id. `location` is the document's own, against which relative servers are resolved.
pub(super) fn operation(root: &Value, location: &str, id: &str) -> Result<Operation, DocumentError> {
    let text = |key: &str| value::get(root, key).and_then(value::as_str);
    let version = match (text("swagger"), text("openapi")) {
        (Some("2.0"), None) => Version::Two,
        (None, Some(version)) if version.starts_with("3.") => Version::Three,
        _ => return Err(DocumentError::Version),
    };
    Document { root, version, location }.operation(id)
}

impl<'d> Document<'d> {
    fn operation(&self, id: &str) -> Result<Operation, DocumentError> {
        let mut found = Vec::new();
        let mut ids = Vec::new();
        for (path, item) in value::get(self.root, "paths").into_iter().flat_map(value::entries) {
            let item = self.followed(item)?;
            for (method, operation) in value::entries(item).filter(|(key, _)| METHODS.contains(key)) {
                let own = value::get(operation, "operationId").and_then(value::as_str);
                ids.extend(own);
                if own == Some(id) {
                    found.push((path, item, method, operation));
                }
            }
        }
        let (path, item, method, operation) = match found[..] {
            [one] => one,
            [] => {
                // Hundreds of names help nobody.
                const SHOWN_MAX: usize = 20;
                let hint = match nearest(id, ids.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("it has: {}", ids.into_iter().take(SHOWN_MAX).collect::<Vec<_>>().join(", ")),
                };
                return Err(DocumentError::NoOperation { id: id.to_owned(), hint });
            }
            _ => return Err(DocumentError::Twice(id.to_owned())),
        };
        let (parameters, fields) = self.parameters(item, operation)?;
        Ok(Operation {
            method: method.to_uppercase(),
            server: self.server(item, operation)?,
            path: path_parts(path),
            parameters,
            body: self.body(operation, &fields)?,
            accept: self.accept(operation),
        })
    }

    /// What stands at a place, or what the reference there leads to.
    fn followed(&self, mut at: &'d Value) -> Result<&'d Value, DocumentError> {
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = value::get(at, "$ref").and_then(value::as_str) else { return Ok(at) };
            let lost = || DocumentError::Reference(reference.to_owned());
            let pointer = reference.strip_prefix("#/").ok_or_else(lost)?;
            at = pointer.split('/').try_fold(self.root, |at, part| step(at, part)).ok_or_else(lost)?;
        }
        Err(DocumentError::Reference("$ref".to_owned()))
    }

    /// The parameters, those of the path overridden by the operation's own; and of 2.0 apart from them what makes the body.
    fn parameters(&self, item: &'d Value, operation: &'d Value) -> Result<Parameters<'d>, DocumentError> {
        let (mut parameters, mut fields): Parameters<'d> = Default::default();
        for holder in [item, operation] {
            let list = value::get(holder, "parameters").and_then(value::as_array).unwrap_or_default();
            for declared in list {
                let declared = self.followed(declared)?;
                let name = value::get(declared, "name").and_then(value::as_str).unwrap_or_default();
                let place = match value::get(declared, "in").and_then(value::as_str) {
                    Some("path") => Place::Path,
                    Some("query") => Place::Query,
                    Some("header") => Place::Header,
                    Some("cookie") if self.version == Version::Three => Place::Cookie,
                    Some("body" | "formData") if self.version == Version::Two => {
                        fields.push(declared);
                        continue;
                    }
                    _ => {
                        let what = "stands in no place that is known";
                        return Err(DocumentError::Parameter { name: name.to_owned(), what });
                    }
                };
                let style = match self.version {
                    Version::Two => Style::of_collection(declared, place),
                    Version::Three => Style::of(declared, place),
                };
                let Some(style) = style else {
                    let what = "is written in a style that is unknown at its place";
                    return Err(DocumentError::Parameter { name: name.to_owned(), what });
                };
                let required = place == Place::Path || is_true(declared, "required");
                parameters.retain(|known: &Parameter| known.name != name || known.place != place);
                parameters.push(Parameter { name: name.to_owned(), place, style, required });
            }
        }
        // What these headers say is decided elsewhere: by the content, the answer, and `authentication`.
        let is_ours = |name: &str| ["accept", "content-type", "authorization"].contains(&&*name.to_ascii_lowercase());
        parameters.retain(|known| known.place != Place::Header || !is_ours(&known.name));
        Ok((parameters, fields))
    }

    fn accept(&self, operation: &'d Value) -> Option<String> {
        let types: Vec<&str> = match self.version {
            Version::Two => texts(value::get(operation, "produces").or_else(|| value::get(self.root, "produces"))?),
            Version::Three => {
                let responses = value::entries(value::get(operation, "responses")?);
                let good = responses.filter(|(status, _)| status.starts_with('2') || *status == "default");
                let contents = good.filter_map(|(_, response)| value::get(self.followed(response).ok()?, "content"));
                contents.flat_map(value::entries).map(|(media_type, _)| media_type).collect()
            }
        };
        let json = types.iter().copied().filter(|media_type| body::is_json(media_type));
        let best = json.min_by_key(|media_type| *media_type != "application/json");
        best.map(str::to_owned).or_else(|| {
            let mut all: Vec<&str> = Vec::new();
            types.into_iter().for_each(|media_type| {
                if !all.contains(&media_type) {
                    all.push(media_type);
                }
            });
            (!all.is_empty()).then(|| all.join(", "))
        })
    }
}

/// The parameters, and what of 2.0 makes the body.
type Parameters<'d> = (Vec<Parameter>, Vec<&'d Value>);

fn step<'v>(at: &'v Value, part: &str) -> Option<&'v Value> {
    let part = part.replace("~1", "/").replace("~0", "~");
    match value::as_array(at) {
        Some(items) => items.get(part.parse::<usize>().ok()?),
        None => value::get(at, &part),
    }
}

fn path_parts(path: &str) -> Vec<PathPart> {
    let mut parts = Vec::new();
    let mut rest = path;
    while let Some((literal, tail)) = rest.split_once('{') {
        let Some((name, tail)) = tail.split_once('}') else { break };
        parts.push(PathPart::Literal(literal.to_owned()));
        parts.push(PathPart::Parameter(name.to_owned()));
        rest = tail;
    }
    parts.push(PathPart::Literal(rest.to_owned()));
    parts
}

fn is_true(of: &Value, key: &str) -> bool {
    matches!(value::get(of, key), Some(Value::Bool(true)))
}

fn texts(list: &Value) -> Vec<&str> {
    value::as_array(list).unwrap_or_default().iter().filter_map(value::as_str).collect()
}
