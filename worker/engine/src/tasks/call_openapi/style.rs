//! How a parameter's value is written: OpenAPI's `style` and `explode`, and `collectionFormat` of 2.0.

use super::document::Place;
use crate::tasks::http::scalar;
use crate::uri_template::percent_encode;
use crate::value::{self, Value};

/// A parameter's style at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Style {
    form: Form,
    explode: bool,
    encoding: Encoding,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Simple,
    Label,
    Matrix,
    /// `name=value`.
    Named,
    /// As [`Form::Named`], with another sign between the items than a comma.
    Delimited(char),
    DeepObject,
    /// The value as JSON (`content`).
    Json,
}

/// What of a value is escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// All but RFC 3986's unreserved characters.
    Full,
    /// The reserved ones stay.
    KeepReserved,
    /// Nothing: in headers.
    None,
}

/// A value that can't be written in this style: an item that is an array or object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooDeep;

impl Style {
    /// Of a parameter of 3.x. `None`: no such style is allowed there.
    pub(super) fn of(parameter: &Value, place: Place) -> Option<Self> {
        let usual = match place {
            Place::Path | Place::Header => "simple",
            Place::Query | Place::Cookie => "form",
        };
        let style = value::get(parameter, "style").and_then(value::as_str).unwrap_or(usual);
        let form = match (style, place) {
            _ if value::get(parameter, "content").is_some() => Form::Json,
            ("simple", Place::Path | Place::Header) => Form::Simple,
            ("label", Place::Path) => Form::Label,
            ("matrix", Place::Path) => Form::Matrix,
            ("form", Place::Query | Place::Cookie) => Form::Named,
            ("spaceDelimited", Place::Query) => Form::Delimited(' '),
            ("pipeDelimited", Place::Query) => Form::Delimited('|'),
            ("deepObject", Place::Query) => Form::DeepObject,
            _ => return None,
        };
        let explode = match value::get(parameter, "explode") {
            Some(Value::Bool(explode)) => *explode,
            _ => form == Form::Named,
        };
        let keeps = matches!(value::get(parameter, "allowReserved"), Some(Value::Bool(true)));
        let encoding = match place {
            Place::Header => Encoding::None,
            Place::Query if keeps => Encoding::KeepReserved,
            _ => Encoding::Full,
        };
        Some(Self { form, explode, encoding })
    }

    /// Of a parameter of 2.0.
    pub(super) fn of_collection(parameter: &Value, place: Place) -> Option<Self> {
        let format = value::get(parameter, "collectionFormat").and_then(value::as_str).unwrap_or("csv");
        let is_query = matches!(place, Place::Query);
        let (form, explode) = match format {
            "multi" if is_query => (Form::Named, true),
            "csv" if is_query => (Form::Named, false),
            "csv" => (Form::Simple, false),
            "ssv" => (Form::Delimited(' '), false),
            "tsv" => (Form::Delimited('\t'), false),
            "pipes" => (Form::Delimited('|'), false),
            _ => return None,
        };
        let encoding = if place == Place::Header { Encoding::None } else { Encoding::Full };
        Some(Self { form, explode, encoding })
    }

    /// What stands in a path or a header.
    pub(super) fn plain(self, name: &str, found: &Value) -> Result<String, TooDeep> {
        let (start, between, named) = match self.form {
            Form::Label => (".", if self.explode { "." } else { "," }, false),
            Form::Matrix => (";", if self.explode { ";" } else { "," }, true),
            _ => ("", ",", false),
        };
        let delimiter = match self.form {
            Form::Delimited(sign) => self.encoded(sign.encode_utf8(&mut [0; 4])),
            _ => String::new(),
        };
        let between = if delimiter.is_empty() { between } else { &delimiter };
        let prefix = if named { format!("{}=", self.encoded(name)) } else { String::new() };
        Ok(match found {
            _ if self.form == Form::Json => self.encoded(&value::to_json(found)),
            Value::Arr(_) => {
                let items = self.items(found)?;
                match named && self.explode {
                    true => format!("{start}{}", repeated(&prefix, &items, between)),
                    false => format!("{start}{prefix}{}", items.join(between)),
                }
            }
            Value::Obj(_) if self.explode => format!("{start}{}", self.pairs(found, "=")?.join(between)),
            Value::Obj(_) => format!("{start}{prefix}{}", self.pairs(found, ",")?.join(between)),
            _ => format!("{start}{prefix}{}", self.text(found)?),
        })
    }

    /// What stands in a query or cookie: `name=value`, perhaps several.
    pub(super) fn named(self, name: &str, found: &Value) -> Result<Vec<String>, TooDeep> {
        let (raw, name) = (name, self.encoded(name));
        let one = |text: String| vec![format!("{name}={text}")];
        let between = match self.form {
            Form::Delimited(sign) => self.encoded(sign.encode_utf8(&mut [0; 4])),
            _ => ",".to_owned(),
        };
        Ok(match found {
            _ if self.form == Form::Json => one(self.encoded(&value::to_json(found))),
            Value::Arr(_) if self.explode => {
                self.items(found)?.into_iter().map(|item| format!("{name}={item}")).collect()
            }
            Value::Arr(_) => one(self.items(found)?.join(&between)),
            Value::Obj(_) if self.form == Form::DeepObject => {
                let mut all = Vec::new();
                for (key, item) in present(found) {
                    let key = self.encoded(&format!("{raw}[{key}]"));
                    let items = value::as_array(item).unwrap_or(std::slice::from_ref(item));
                    for item in items.iter().filter(|item| !value::is_null(item)) {
                        all.push(format!("{key}={}", self.text(item)?));
                    }
                }
                all
            }
            Value::Obj(_) if self.explode => self.pairs(found, "=")?,
            Value::Obj(_) => one(self.pairs(found, ",")?.join(&between)),
            _ => one(self.text(found)?),
        })
    }

    fn items(self, array: &Value) -> Result<Vec<String>, TooDeep> {
        let items = value::as_array(array).unwrap_or_default();
        items.iter().filter(|item| !value::is_null(item)).map(|item| self.text(item)).collect()
    }

    fn pairs(self, object: &Value, between: &str) -> Result<Vec<String>, TooDeep> {
        present(object).map(|(key, item)| Ok(format!("{}{between}{}", self.encoded(key), self.text(item)?))).collect()
    }

    fn text(self, found: &Value) -> Result<String, TooDeep> {
        scalar(found).map(|text| self.encoded(&text)).ok_or(TooDeep)
    }

    fn encoded(self, text: &str) -> String {
        const RESERVED: &str = ":/?#[]@!$&'()*+,;=";
        let mut out = String::new();
        match self.encoding {
            Encoding::None => out.push_str(text),
            Encoding::Full => percent_encode(text, &mut out),
            Encoding::KeepReserved => {
                for c in text.chars() {
                    match RESERVED.contains(c) {
                        true => out.push(c),
                        false => percent_encode(c.encode_utf8(&mut [0; 4]), &mut out),
                    }
                }
            }
        }
        out
    }
}

fn repeated(prefix: &str, items: &[String], between: &str) -> String {
    items.iter().map(|item| format!("{prefix}{item}")).collect::<Vec<_>>().join(between)
}

/// The properties that are there: null is left out.
fn present(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value::entries(object).filter(|(_, item)| !value::is_null(item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn json(text: &str) -> Value {
        value::parse_json(text.as_bytes(), &Limits::default()).unwrap()
    }

    /// The table of the OpenAPI specification ("Style Examples"), with its values.
    #[test]
    fn values_are_written_as_the_specification_shows() {
        let (array, object) = (r#"["blue","black","brown"]"#, r#"{"R":100,"G":200,"B":150}"#);
        for (place, style, explode, found, wanted) in [
            (Place::Path, "matrix", false, "\"blue\"", ";color=blue"),
            (Place::Path, "matrix", false, array, ";color=blue,black,brown"),
            (Place::Path, "matrix", false, object, ";color=R,100,G,200,B,150"),
            (Place::Path, "matrix", true, array, ";color=blue;color=black;color=brown"),
            (Place::Path, "matrix", true, object, ";R=100;G=200;B=150"),
            (Place::Path, "label", false, "\"blue\"", ".blue"),
            (Place::Path, "label", false, array, ".blue,black,brown"),
            (Place::Path, "label", true, array, ".blue.black.brown"),
            (Place::Path, "label", true, object, ".R=100.G=200.B=150"),
            (Place::Path, "simple", false, "\"a b/c\"", "a%20b%2Fc"),
            (Place::Header, "simple", false, array, "blue,black,brown"),
            (Place::Header, "simple", false, object, "R,100,G,200,B,150"),
            (Place::Header, "simple", true, object, "R=100,G=200,B=150"),
            (Place::Header, "simple", false, "\"a b/c\"", "a b/c"),
            (Place::Query, "form", false, array, "color=blue,black,brown"),
            (Place::Query, "form", false, object, "color=R,100,G,200,B,150"),
            (Place::Query, "form", true, array, "color=blue&color=black&color=brown"),
            (Place::Query, "form", true, object, "R=100&G=200&B=150"),
            (Place::Query, "form", true, "true", "color=true"),
            (Place::Query, "spaceDelimited", false, array, "color=blue%20black%20brown"),
            (Place::Query, "pipeDelimited", false, array, "color=blue%7Cblack%7Cbrown"),
            (Place::Query, "deepObject", true, object, "color%5BR%5D=100&color%5BG%5D=200&color%5BB%5D=150"),
            (Place::Cookie, "form", false, array, "color=blue,black,brown"),
        ] {
            let parameter = json(&format!(r#"{{"style":"{style}","explode":{explode}}}"#));
            let style_of = Style::of(&parameter, place).unwrap();
            let written = match place {
                Place::Path | Place::Header => style_of.plain("color", &json(found)),
                Place::Query | Place::Cookie => style_of.named("color", &json(found)).map(|all| all.join("&")),
            };
            assert_eq!(written.as_deref(), Ok(wanted), "{style} {explode} {found}");
        }
    }

    #[test]
    fn collections_of_the_older_version_are_written_by_their_format() {
        for (place, format, wanted) in [
            (Place::Query, "csv", "a=1,2"),
            (Place::Query, "multi", "a=1&a=2"),
            (Place::Query, "ssv", "a=1%202"),
            (Place::Query, "pipes", "a=1%7C2"),
            (Place::Query, "tsv", "a=1%092"),
            (Place::Path, "csv", "1,2"),
            (Place::Path, "pipes", "1%7C2"),
        ] {
            let style = Style::of_collection(&json(&format!(r#"{{"collectionFormat":"{format}"}}"#)), place).unwrap();
            let written = match place {
                Place::Path => style.plain("a", &json("[1,null,2]")),
                _ => style.named("a", &json("[1,null,2]")).map(|all| all.join("&")),
            };
            assert_eq!(written.as_deref(), Ok(wanted), "{format}");
        }
        assert_eq!(Style::of_collection(&json(r#"{"collectionFormat":"multi"}"#), Place::Path), None);
    }

    #[test]
    fn what_has_no_way_to_be_written_is_refused_and_reserved_signs_may_stay() {
        let style = Style::of(&json("{}"), Place::Query).unwrap();
        assert_eq!(style.named("a", &json("[[1]]")), Err(TooDeep));
        assert_eq!(Style::of(&json(r#"{"style":"deepObject"}"#), Place::Path), None);
        let reserved = Style::of(&json(r#"{"allowReserved":true}"#), Place::Query).unwrap();
        assert_eq!(reserved.named("a", &json("\"x/y z\"")), Ok(vec!["a=x/y%20z".to_owned()]));
        let content = Style::of(&json(r#"{"content":{"application/json":{}}}"#), Place::Query).unwrap();
        assert_eq!(content.named("a", &json("[1]")), Ok(vec!["a=%5B1%5D".to_owned()]));
    }
}
