//! The error object of the language: problem details (RFC 7807) with the specification's types.
//!
//! Pure data. What an author wrote is kept as it is; the engine's own errors always carry all five fields.

use crate::value::{self, Value};
use serde::{Deserialize, Serialize};

/// An error that a workflow can raise, catch and fault with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `type`: a URI.
    #[serde(rename = "type")]
    pub type_uri: String,
    /// `status`.
    pub status: i64,
    /// `title`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// `detail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// `instance`: JSON pointer of what raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
}

/// The standard types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProblemKind {
    /// The definition or the set-up does not fit.
    Configuration,
    /// Data does not obey its schema.
    Validation,
    /// An expression failed.
    Expression,
    /// Credentials are missing or wrong.
    Authentication,
    /// Something is not allowed.
    Authorization,
    /// Too late.
    Timeout,
    /// A service could not be reached or answered with an error.
    Communication,
    /// Anything else while running.
    Runtime,
}

/// Where the engine's own types live.
const TYPE_BASE: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// Prefixes and paths under which the specification has published its types; they are equal.
const HOSTS: [&str; 2] = ["https://serverlessworkflow.io", "https://open-workflow-specification.org"];
const PATHS: [&str; 3] = ["/spec/1.0.0/errors/", "/dsl/errors/types/", "/errors/types/"];

impl ProblemKind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Configuration,
        Self::Validation,
        Self::Expression,
        Self::Authentication,
        Self::Authorization,
        Self::Timeout,
        Self::Communication,
        Self::Runtime,
    ];

    /// The last part of its URI.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Validation => "validation",
            Self::Expression => "expression",
            Self::Authentication => "authentication",
            Self::Authorization => "authorization",
            Self::Timeout => "timeout",
            Self::Communication => "communication",
            Self::Runtime => "runtime",
        }
    }

    /// Its usual status.
    pub const fn status(self) -> i64 {
        match self {
            Self::Configuration | Self::Validation | Self::Expression => 400,
            Self::Authentication => 401,
            Self::Authorization => 403,
            Self::Timeout => 408,
            Self::Communication | Self::Runtime => 500,
        }
    }

    /// Its fixed title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Configuration => "Configuration error",
            Self::Validation => "Validation error",
            Self::Expression => "Expression error",
            Self::Authentication => "Authentication error",
            Self::Authorization => "Authorization error",
            Self::Timeout => "Timeout",
            Self::Communication => "Communication error",
            Self::Runtime => "Runtime error",
        }
    }

    /// Its URI.
    pub fn type_uri(self) -> String {
        format!("{TYPE_BASE}{}", self.name())
    }
}

impl Problem {
    /// How many texts an error has: type, title, detail, instance.
    pub const TEXTS: usize = 4;

    /// One of the engine's own, at `instance`.
    pub fn new(kind: ProblemKind, detail: impl Into<String>, instance: impl Into<String>) -> Self {
        Self {
            type_uri: kind.type_uri(),
            status: kind.status(),
            title: Some(kind.title().to_owned()),
            detail: Some(detail.into()),
            instance: Some(instance.into()),
        }
    }

    /// The same with another status: that of an HTTP answer, say.
    #[must_use]
    pub fn with_status(mut self, status: i64) -> Self {
        self.status = status;
        self
    }

    /// The same, raised elsewhere.
    #[must_use]
    pub fn at(mut self, instance: impl Into<String>) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// From an error object that an author wrote; `instance` is where it is raised unless it says so itself.
    /// The error is a text for the detail of an `expression` problem.
    pub fn from_value(value: &Value, instance: &str) -> Result<Self, String> {
        let text = |key: &str| match value::get(value, key) {
            None | Some(Value::Null) => Ok(None),
            Some(field) => match value::as_str(field) {
                Some(text) => Ok(Some(text.to_owned())),
                None => Err(format!("`{key}` of an error must be a string, not {}", value::to_json(field))),
            },
        };
        let type_uri = text("type")?.ok_or("an error must have a `type`")?;
        let status = value::get(value, "status").ok_or("an error must have a `status`")?;
        let status = value::as_i64(status)
            .ok_or_else(|| format!("`status` of an error must be an integer, not {}", value::to_json(status)))?;
        let detail = match text("detail")? {
            Some(detail) => Some(detail),
            None => text("details")?,
        };
        let instance = text("instance")?.unwrap_or_else(|| instance.to_owned());
        Ok(Self { type_uri, status, title: text("title")?, detail, instance: Some(instance) })
    }

    /// The same with texts of at most so many bytes each; what is cut ends in `…`.
    #[must_use]
    pub fn shortened(&self, text_bytes_max: usize) -> Self {
        let short = |text: &String| match text.len() <= text_bytes_max {
            true => text.clone(),
            false => format!("{}…", &text[..text.floor_char_boundary(text_bytes_max)]),
        };
        Self {
            type_uri: short(&self.type_uri),
            status: self.status,
            title: self.title.as_ref().map(short),
            detail: self.detail.as_ref().map(short),
            instance: self.instance.as_ref().map(short),
        }
    }

    /// The error as expressions see it.
    pub fn to_value(&self) -> Value {
        let mut fields = vec![("type", value::string(self.type_uri.as_str())), ("status", value::int(self.status))];
        for (key, text) in [("title", &self.title), ("detail", &self.detail), ("instance", &self.instance)] {
            fields.extend(text.as_deref().map(|text| (key, value::string(text))));
        }
        value::object(fields)
    }

    /// Whether `errors.with` takes it: each given field is equal, types under all published names of the specification.
    pub fn matches(&self, with: &Value) -> bool {
        value::entries(with).all(|(key, wanted)| match key {
            "type" => value::as_str(wanted).is_some_and(|wanted| same_type(&self.type_uri, wanted)),
            "status" => value::as_i64(wanted) == Some(self.status),
            "title" => value::as_str(wanted) == self.title.as_deref(),
            "detail" | "details" => value::as_str(wanted) == self.detail.as_deref(),
            "instance" => value::as_str(wanted) == self.instance.as_deref(),
            _ => false,
        })
    }

    /// Whether it is one of the standard types, under any of its names.
    pub fn is(&self, kind: ProblemKind) -> bool {
        standard_name(&self.type_uri) == Some(kind.name())
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let title = self.title.as_deref().unwrap_or(&self.type_uri);
        write!(f, "{title} ({})", self.status)?;
        if let Some(detail) = &self.detail {
            write!(f, ": {detail}")?;
        }
        if let Some(instance) = self.instance.as_deref().filter(|instance| !instance.is_empty()) {
            write!(f, " at {instance}")?;
        }
        Ok(())
    }
}

fn same_type(a: &str, b: &str) -> bool {
    a == b || matches!((standard_name(a), standard_name(b)), (Some(a), Some(b)) if a == b)
}

/// `x` of a URI under one of the specification's prefixes and paths.
fn standard_name(uri: &str) -> Option<&str> {
    let path = HOSTS.iter().find_map(|host| uri.strip_prefix(host))?;
    PATHS.iter().find_map(|prefix| path.strip_prefix(prefix)).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    fn json(text: &str) -> Value {
        value::parse_json(text.as_bytes(), &Limits::default()).unwrap()
    }

    #[test]
    fn the_engines_errors_carry_all_five_fields() {
        for kind in ProblemKind::ALL {
            let problem = Problem::new(kind, "why", "/do/0/a");
            let fields = problem.to_value();
            assert_eq!(
                value::entries(&fields).map(|(key, _)| key).collect::<Vec<_>>(),
                ["type", "status", "title", "detail", "instance"]
            );
            assert!(problem.is(kind));
        }
        assert_eq!(
            value::to_json(&Problem::new(ProblemKind::Timeout, "late", "/do/0/a").to_value()),
            r#"{"type":"https://serverlessworkflow.io/spec/1.0.0/errors/timeout","status":408,"title":"Timeout","detail":"late","instance":"/do/0/a"}"#
        );
    }

    #[test]
    fn errors_with_compares_each_given_field() {
        let problem = Problem::new(ProblemKind::Communication, "boom", "/do/0/a").with_status(503);
        for (with, taken) in [
            ("{}", true),
            (r#"{"status":503}"#, true),
            (r#"{"status":503.0}"#, true),
            (r#"{"status":500}"#, false),
            (r#"{"status":"503"}"#, false),
            (r#"{"details":"boom"}"#, true),
            (r#"{"detail":"boom","instance":"/do/0/a"}"#, true),
            (r#"{"instance":"/do/0/b"}"#, false),
            (r#"{"title":"Communication error"}"#, true),
            (r#"{"other":1}"#, false),
        ] {
            assert_eq!(problem.matches(&json(with)), taken, "{with}");
        }
    }

    #[test]
    fn types_are_equal_under_all_names_that_the_specification_has_used() {
        let problem = Problem::new(ProblemKind::Timeout, "", "");
        for host in HOSTS {
            for path in PATHS {
                assert!(problem.matches(&json(&format!(r#"{{"type":"{host}{path}timeout"}}"#))), "{host}{path}");
                assert!(!problem.matches(&json(&format!(r#"{{"type":"{host}{path}runtime"}}"#))), "{host}{path}");
            }
        }
        let own = Problem { type_uri: "https://example.com/errors/types/timeout".into(), ..problem };
        assert!(own.matches(&json(r#"{"type":"https://example.com/errors/types/timeout"}"#)));
        assert!(!own.matches(&json(r#"{"type":"https://serverlessworkflow.io/errors/types/timeout"}"#)));
        assert!(!own.matches(&json(r#"{"type":"https://example.com/spec/1.0.0/errors/timeout"}"#)));
    }

    #[test]
    fn what_an_author_raises_is_kept_and_completed() {
        let raised = json(r#"{"type":"https://example.com/e","status":418,"details":"short and stout"}"#);
        let problem = Problem::from_value(&raised, "/do/0/r").unwrap();
        assert_eq!(problem.type_uri, "https://example.com/e");
        assert_eq!(problem.detail.as_deref(), Some("short and stout"));
        assert_eq!(problem.instance.as_deref(), Some("/do/0/r"));
        assert_eq!(problem.title, None);
        assert_eq!(Problem::from_value(&problem.to_value(), "elsewhere").unwrap(), problem);
        for (bad, why) in [
            ("{}", "`type`"),
            (r#"{"type":"x"}"#, "`status`"),
            (r#"{"type":"x","status":"a"}"#, "integer"),
            (r#"{"type":1,"status":1}"#, "string"),
            ("7", "`type`"),
        ] {
            assert!(Problem::from_value(&json(bad), "").unwrap_err().contains(why), "{bad}");
        }
    }
}
