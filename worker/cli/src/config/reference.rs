//! The configuration reference: every key with its default, its unit and its meaning, out of the defaults and the doc
//! comments beside them. A key without a comment is an error here, so that none stays undocumented.

use std::fmt::Write as _;

use serde_json::Value;

/// Where the documented types are.
const SOURCES: [&str; 5] = [
    include_str!("../../../store/src/config.rs"),
    include_str!("../../../../bus-adapters/src/config.rs"),
    include_str!("../../../../bus-adapters/src/codec/mod.rs"),
    include_str!("../../../runtime/src/options.rs"),
    include_str!("../../../engine/src/limits.rs"),
];

/// The sections of the file and the type behind each.
const SECTIONS: [(&str, &str, &str); 4] = [
    ("store", "StoreConfig", "The database. SQLite needs nothing but its URL."),
    ("bus", "BusConfig", "The message broker. Each driver takes what concerns it."),
    ("worker", "Options", "How a worker runs, and what one message, one workflow and one worker may use up."),
    ("status", "StatusOptions", "What leaves of the status events. The history keeps them all."),
];

/// Keys that belong to the command line itself, in no crate's options.
const OWN: [(&str, &str); 4] = [
    (
        "store.url",
        "Which store: `postgres://user:password@host:5432/database` or `sqlite:PATH`. The flag `--store` wins.",
    ),
    (
        "bus.url",
        "Which bus: `amqp://user:password@host:5672`, `kafka://host:9092,host:9092/?property=value` (librdkafka's \
         properties), or `embedded:PATH` inside one process. The flag `--bus` wins.",
    ),
    (
        "worker.secrets",
        "A YAML or JSON file with an object, or a directory with one file per secret, that workflows may use; read \
         again when it changes. The flag `--secrets` wins.",
    ),
    (
        "worker.grace_ms",
        "How long a worker that is told to stop may take to finish what is under way; the rest goes on elsewhere.",
    ),
];

const HEAD: &str = "\
# Configuration

Three layers, the later one wins, key by key: `flagstop.toml` (or the file that `--config` names), environment variables,
flags. A variable's name is `FLAGSTOP__`, the section, `__` and the key: `FLAGSTOP__WORKER__BATCH_MAX=50`,
`FLAGSTOP__BUS__NAMES__INPUT=hr.in`. With `_FILE` behind it, it names a file that holds the value, for secrets:
`FLAGSTOP__STORE__URL_FILE=/run/secrets/store-url`. A key that does not exist is an error that names the nearest one.

`flagstop config` prints the configuration as all layers give it, without secrets; `flagstop config reference` prints this
page. Durations and sizes have their unit at the end of their name.
";

/// One field of a struct, as its source has it.
struct Field {
    name: String,
    ty: String,
    doc: String,
}

/// The reference as Markdown.
///
/// # Errors
/// The keys that nobody has documented.
pub fn markdown(defaults: &Value) -> Result<String, Vec<String>> {
    let mut text = HEAD.to_owned();
    let mut missing = Vec::new();
    for (name, ty, about) in SECTIONS {
        let _ = write!(text, "\n## `[{name}]`\n\n{about}\n\n");
        section(name, ty, &defaults[name], &mut text, &mut missing);
    }
    if missing.is_empty() { Ok(text) } else { Err(missing) }
}

/// One table, then those of the sections within.
fn section(path: &str, ty: &str, defaults: &Value, text: &mut String, missing: &mut Vec<String>) {
    let Some(keys) = defaults.as_object() else { return };
    let fields = fields(ty);
    text.push_str("| key | default | unit | meaning |\n|---|---|---|---|\n");
    for (name, meaning) in OWN {
        if let Some(key) =
            name.strip_prefix(path).and_then(|rest| rest.strip_prefix('.')).filter(|key| !key.contains('.'))
        {
            row(key, &keys[key], meaning, text);
        }
    }
    let mut within = Vec::new();
    for field in fields.iter().filter(|field| keys.contains_key(&field.name)) {
        let default = &keys[&field.name];
        if field.doc.is_empty() {
            missing.push(format!("{path}.{}", field.name));
        }
        if default.as_object().is_some_and(|map| !map.is_empty()) {
            within.push((field, default));
        } else {
            row(&field.name, default, &field.doc, text);
        }
    }
    let own = |key: &str| OWN.iter().any(|(name, _)| *name == format!("{path}.{key}"));
    let undocumented = keys.keys().filter(|key| !own(key) && !fields.iter().any(|field| field.name == **key));
    missing.extend(undocumented.map(|key| format!("{path}.{key}")));
    for (field, default) in within {
        let path = format!("{path}.{}", field.name);
        let _ = write!(text, "\n### `[{path}]`\n\n{}\n\n", field.doc);
        section(&path, &field.ty, default, text, missing);
    }
}

fn row(key: &str, default: &Value, meaning: &str, text: &mut String) {
    let shown = match default {
        Value::Null => "none".to_owned(),
        other => format!("`{other}`"),
    };
    let _ = writeln!(text, "| `{key}` | {shown} | {} | {} |", unit(key, default), meaning.replace('|', "\\|"));
}

/// Units are the ends of names.
fn unit(key: &str, default: &Value) -> &'static str {
    let ends = |end: &str| key.ends_with(end) || key.ends_with(&format!("{end}_max"));
    match default {
        Value::Bool(_) => "true or false",
        Value::Null | Value::String(_) => "text",
        Value::Array(_) => "list of texts",
        Value::Object(_) => "section",
        Value::Number(_) if ends("_ms") => "milliseconds",
        Value::Number(_) if ends("_us") => "microseconds",
        Value::Number(_) if ends("_s") => "seconds",
        Value::Number(_) if ends("_minutes") => "minutes",
        Value::Number(_) if ends("_hours") => "hours",
        Value::Number(_) if ends("_days") => "days",
        Value::Number(_) if ends("_kib") => "KiB",
        Value::Number(_) if key.contains("_bytes") => "bytes",
        Value::Number(_) => "number",
    }
}

/// The public fields of a type with their doc comments, in their order.
fn fields(ty: &str) -> Vec<Field> {
    let head = format!("pub struct {ty} {{");
    let Some(body) = SOURCES.iter().find_map(|source| source.split_once(&head)) else { return Vec::new() };
    let mut fields = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    for line in body.1.lines().map(str::trim).take_while(|line| *line != "}") {
        if let Some(comment) = line.strip_prefix("///") {
            doc.push(comment.trim());
        } else if let Some((name, ty)) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(':')) {
            let ty = ty.trim().trim_end_matches(',').rsplit("::").next().unwrap_or_default();
            fields.push(Field { name: name.to_owned(), ty: ty.to_owned(), doc: plain(&doc.join(" ")) });
            doc.clear();
        }
    }
    fields
}

/// Links between types mean nothing outside of the code.
fn plain(doc: &str) -> String {
    doc.replace("[`", "`").replace("`]", "`").replace("Self::", "").replace("self::", "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_documented_with_its_default_and_its_unit() {
        let text = markdown(&super::super::defaults()).expect("every key has a doc comment");
        for row in [
            "| `url` | none | text | Which store:",
            "| `batch_max` | `100` | number | ",
            "| `grace_ms` | `20000` | milliseconds | ",
            "### `[worker.engine]`",
            "### `[bus.names]`",
        ] {
            assert!(text.contains(row), "`{row}` is missing in:\n{text}");
        }
    }

    #[test]
    fn a_key_without_a_comment_is_named() {
        let mut defaults = super::super::defaults();
        defaults["store"]["colour"] = "blue".into();
        assert_eq!(markdown(&defaults), Err(vec!["store.colour".to_owned()]));
    }
}
