//! URI templates: RFC 6570 simple expansion, `{name}`, compiled once.
//!
//! `{a.b}` is the property named "a.b". Null and missing expand to nothing. Other operators of the RFC are refused.

use crate::value::{self, Value};

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UriTemplate {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// One expression: several names are joined with commas.
    Names(Vec<String>),
}

/// Why a text is no template; the text says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UriTemplateError {
    /// `{` without `}` or the other way round.
    #[error("a `{0}` in the URI has no partner: write `%7B` or `%7D` for the character itself")]
    Unbalanced(char),
    /// Not a name.
    #[error("`{{{0}}}` is no variable: only simple names as in `{{petId}}` are expanded")]
    Name(String),
}

/// Why a template cannot be expanded with this data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{{{name}}}` of the URI is {kind}: only strings, numbers and booleans can stand in a URI")]
pub struct ExpansionError {
    /// The variable.
    pub name: String,
    /// The type of its value.
    pub kind: &'static str,
}

impl UriTemplate {
    /// Compiles a template.
    pub fn parse(text: &str) -> Result<Self, UriTemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at(open);
            let Some(inner) = tail.strip_prefix('{') else { return Err(UriTemplateError::Unbalanced('}')) };
            let (names, tail) = inner.split_once('}').ok_or(UriTemplateError::Unbalanced('{'))?;
            let names: Vec<String> = names.split(',').map(str::to_owned).collect();
            if let Some(bad) = names.iter().find(|name| !is_name(name)) {
                return Err(UriTemplateError::Name(bad.clone()));
            }
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_owned()));
            }
            parts.push(Part::Names(names));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The names that it reads.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts
            .iter()
            .flat_map(|part| match part {
                Part::Literal(_) => [].iter(),
                Part::Names(names) => names.iter(),
            })
            .map(String::as_str)
    }

    /// The URI for these variables: properties of an object.
    pub fn expand(&self, variables: &Value) -> Result<String, ExpansionError> {
        let mut uri = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => uri.push_str(text),
                Part::Names(names) => expand_names(names, variables, &mut uri)?,
            }
        }
        Ok(uri)
    }
}

fn expand_names(names: &[String], variables: &Value, uri: &mut String) -> Result<(), ExpansionError> {
    let mut first = true;
    for name in names {
        let Some(value) = value::get(variables, name).filter(|value| !value::is_null(value)) else { continue };
        if !std::mem::take(&mut first) {
            uri.push(',');
        }
        match value {
            Value::Bool(_) | Value::Num(_) => percent_encode(&value::to_json(value), uri),
            other => match value::as_str(other) {
                Some(text) => percent_encode(text, uri),
                None => return Err(ExpansionError { name: name.clone(), kind: value::type_name(other) }),
            },
        }
    }
    Ok(())
}

/// Escapes all but RFC 3986's unreserved characters.
pub fn percent_encode(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte as char),
            _ => out.extend(['%', HEX[(byte >> 4) as usize] as char, HEX[(byte & 15) as usize] as char]),
        }
    }
}

fn is_name(name: &str) -> bool {
    let dotted = !name.starts_with('.') && !name.ends_with('.') && !name.contains("..");
    !name.is_empty() && dotted && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '%'))
}

/// Whether a text can be a URI, as far as it matters: something, and nothing that would end it.
pub(crate) fn is_uri_reference(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn expand(template: &str, variables: &str) -> Result<String, ExpansionError> {
        let variables = value::parse_json(variables.as_bytes(), &Limits::default()).unwrap();
        UriTemplate::parse(template).unwrap().expand(&variables)
    }

    #[test]
    fn names_are_replaced_percent_encoded() {
        let variables = r#"{"id":7,"a.b":"x","a":{"b":"no"},"name":"a/b c&ü","yes":true,"none":null,"f":2.50}"#;
        for (template, uri) in [
            ("http://h/pets/{id}", "http://h/pets/7"),
            ("{a.b}", "x"),
            ("http://h/{name}?q={yes}", "http://h/a%2Fb%20c%26%C3%BC?q=true"),
            ("http://h/{none}/{missing}/x", "http://h///x"),
            ("{f}", "2.5"),
            ("{id,none,yes}", "7,true"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(expand(template, variables).as_deref(), Ok(uri), "{template}");
        }
    }

    #[test]
    fn what_cannot_be_expanded_is_named() {
        assert_eq!(expand("{a}", r#"{"a":[1]}"#), Err(ExpansionError { name: "a".into(), kind: "array" }));
        assert_eq!(UriTemplate::parse("http://h/{id"), Err(UriTemplateError::Unbalanced('{')));
        assert_eq!(UriTemplate::parse("http://h/id}"), Err(UriTemplateError::Unbalanced('}')));
        for bad in ["{+path}", "{?q}", "{}", "{a b}", "{a..b}", "{x*}"] {
            assert!(matches!(UriTemplate::parse(bad), Err(UriTemplateError::Name(_))), "{bad}");
        }
        let template = UriTemplate::parse("{a}/{b}").unwrap();
        assert_eq!(template.names().collect::<Vec<_>>(), ["a", "b"]);
    }
}
