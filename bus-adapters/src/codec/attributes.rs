//! Collects context attributes from either mode and checks them once. Must not know where they came from.

use std::collections::BTreeMap;

use flagstop_schemas::{CloudEvent, Data};
use serde_json::Value;

use super::{CodecError, CodecLimits};

/// Attributes as they come in.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// Those of the specification, which are strings.
    core: BTreeMap<&'static str, String>,
    extensions: BTreeMap<String, Value>,
}

const CORE: [&str; 8] = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

impl Attributes {
    /// Takes one attribute. The same one twice is only taken with the same value.
    pub(super) fn insert(&mut self, name: &str, value: Value, limits: &CodecLimits) -> Result<(), CodecError> {
        check_name(name)?;
        if let Value::String(text) = &value
            && text.len() > limits.attribute_bytes_max
        {
            return Err(CodecError::TooLarge {
                what: format!("attribute `{name}`"),
                bytes: text.len(),
                bytes_max: limits.attribute_bytes_max,
            });
        }
        let known = if let Some(core) = CORE.iter().find(|core| **core == name) {
            let Value::String(text) = value else {
                return Err(CodecError::attribute(name, "must be a string"));
            };
            match self.core.get(core) {
                Some(known) if *known != text => true,
                _ => {
                    self.core.insert(core, text);
                    false
                }
            }
        } else {
            if matches!(value, Value::Array(_) | Value::Object(_)) {
                return Err(CodecError::attribute(
                    name,
                    "an extension attribute is a string, a number or a boolean; put arrays and objects into `data`",
                ));
            }
            if self.extensions.len() >= limits.extensions_max && !self.extensions.contains_key(name) {
                return Err(CodecError::attribute(
                    name,
                    format!(
                        "an event has at most {} extension attributes; put the rest into `data`",
                        limits.extensions_max
                    ),
                ));
            }
            match self.extensions.get(name) {
                Some(known) if *known != value => true,
                _ => {
                    self.extensions.insert(name.to_owned(), value);
                    false
                }
            }
        };
        if known {
            return Err(CodecError::attribute(name, "is given twice with different values; give it once"));
        }
        Ok(())
    }

    pub(super) fn datacontenttype(&self) -> Option<&str> {
        self.core.get("datacontenttype").map(String::as_str)
    }

    pub(super) fn set_datacontenttype(&mut self, media_type: &str) {
        self.core.insert("datacontenttype", media_type.to_owned());
    }

    /// The event, if all that is required is there.
    pub(super) fn into_event(mut self, data: Data) -> Result<CloudEvent, CodecError> {
        let version = self.required("specversion")?;
        if version != "1.0" {
            return Err(CodecError::attribute("specversion", format!("is `{version}`; only 1.0 is taken")));
        }
        Ok(CloudEvent {
            id: self.required("id")?,
            source: self.required("source")?,
            ty: self.required("type")?,
            subject: self.optional("subject"),
            time: self.optional("time"),
            datacontenttype: self.optional("datacontenttype"),
            dataschema: self.optional("dataschema"),
            extensions: self.extensions,
            data,
        })
    }

    fn required(&mut self, name: &str) -> Result<String, CodecError> {
        self.optional(name).ok_or_else(|| {
            CodecError::attribute(
                name,
                "is required and missing or empty; every CloudEvent has specversion, id, source and type",
            )
        })
    }

    fn optional(&mut self, name: &str) -> Option<String> {
        self.core.remove(name).filter(|value| !value.is_empty())
    }
}

fn check_name(name: &str) -> Result<(), CodecError> {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || !name.bytes().all(allowed) {
        return Err(CodecError::attribute(name, "names of attributes consist of lower-case letters a to z and digits"));
    }
    if name.len() > 64 {
        return Err(CodecError::attribute(name, "names of attributes have at most 64 characters"));
    }
    Ok(())
}
