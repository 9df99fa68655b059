//! Lays configuration sources over the defaults, key by key, so that every mistake names its key and its source.
//!
//! The tree of defaults is the only list of keys: a key that it lacks does not exist, and a value must have its kind.

use serde_json::Value;

use crate::exit::{Exit, Failure};

/// The prefix of environment variables that configure: `FLAGSTOP__SECTION__KEY`.
const PREFIX: &str = "FLAGSTOP__";

/// The largest number of single-letter changes for which a known key counts as meant.
const TYPOS_MAX: usize = 4;

/// The defaults and what has been laid over them so far.
#[derive(Debug)]
pub struct Layers {
    defaults: Value,
    tree: Value,
    check: fn(&Value) -> Result<(), String>,
}

impl Layers {
    /// Begins with the defaults; `check` refuses values that have the right kind and are still wrong.
    pub fn new(defaults: Value, check: fn(&Value) -> Result<(), String>) -> Self {
        Self { tree: defaults.clone(), defaults, check }
    }

    /// Lays a TOML file's text over.
    pub fn file(&mut self, shown: &str, text: &str) -> Result<(), Failure> {
        let table: toml::Table = toml::from_str(text).map_err(|error| {
            let why = error.to_string();
            let hint = "the file is TOML: sections in brackets, then `key = value` lines";
            Failure::new(Exit::Invalid, "FS-CONFIG-SYNTAX", format!("{shown}: {}", why.trim_end()), hint)
        })?;
        let value = serde_json::to_value(table)
            .map_err(|error| Failure::coded(Exit::Invalid, &format!("FS-CONFIG-SYNTAX: {shown}: {error}"), None))?;
        self.lay(shown, &mut Vec::new(), value)
    }

    /// Lays environment variables over; those without the prefix are not ours.
    pub fn environment(&mut self, variables: impl IntoIterator<Item = (String, String)>) -> Result<(), Failure> {
        let mut ours: Vec<_> = variables.into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
        ours.sort();
        for (name, text) in ours {
            let lower = name[PREFIX.len()..].to_lowercase();
            let mut path: Vec<String> = lower.split("__").map(str::to_owned).collect();
            let text = match self.secret_file(&mut path) {
                true => std::fs::read_to_string(&text).map(|t| t.trim_end().to_owned()).map_err(|error| {
                    let what = format!("{name}: {text}: {error}");
                    Failure::new(
                        Exit::Invalid,
                        "FS-CONFIG-FILE",
                        what,
                        "the variable must hold the path of a readable file",
                    )
                })?,
                false => text,
            };
            let value = match find(&self.defaults, &path) {
                Some(Value::Number(_) | Value::Bool(_) | Value::Array(_)) => {
                    serde_json::from_str(&text).unwrap_or(Value::String(text))
                }
                _ => Value::String(text),
            };
            self.lay(&name, &mut path, value)?;
        }
        Ok(())
    }

    /// Lays a command-line flag over. Flags are checked by the command line, so this key exists.
    pub fn flag(&mut self, path: [&str; 2], value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.tree[path[0]][path[1]] = value.into();
        }
    }

    /// Everything laid over each other.
    pub fn into_tree(self) -> Value {
        self.tree
    }

    /// `…__URL_FILE` names a file that holds the value of `…__URL`: takes the suffix off the path.
    fn secret_file(&self, path: &mut [String]) -> bool {
        if find(&self.defaults, path).is_some() {
            return false;
        }
        let Some((last, stem)) = path.last_mut().and_then(|last| {
            let stem = last.strip_suffix("_file")?.to_owned();
            Some((last, stem))
        }) else {
            return false;
        };
        *last = stem;
        true
    }

    fn lay(&mut self, source: &str, path: &mut Vec<String>, value: Value) -> Result<(), Failure> {
        let key = path.join(".");
        let Some(default) = find(&self.defaults, path) else { return Err(self.unknown(source, &key)) };
        match (default, value) {
            // A section without keys of its own takes any: a driver's properties.
            (Value::Object(keys), Value::Object(map)) if !keys.is_empty() => {
                for (name, value) in map {
                    path.push(name);
                    self.lay(source, path, value)?;
                    path.pop();
                }
                Ok(())
            }
            (Value::Object(_), value) if !value.is_object() => {
                let what = format!("{source}: `{key}` is a section, not a value");
                Err(Failure::new(
                    Exit::Invalid,
                    "FS-CONFIG-VALUE",
                    what,
                    format!("write `[{key}]` and its keys below it"),
                ))
            }
            (default, value) if !same_kind(default, &value) => {
                let what = format!("{source}: `{key}` must be {}, and is {}", kind(default), kind(&value));
                Err(Failure::new(Exit::Invalid, "FS-CONFIG-VALUE", what, format!("the default is `{key} = {default}`")))
            }
            (default, value) => {
                let hint = format!("the default is `{key} = {default}`");
                let mut tree = self.tree.clone();
                if let Some(place) = find_mut(&mut tree, path) {
                    *place = value;
                }
                (self.check)(&tree).map_err(|why| {
                    Failure::new(Exit::Invalid, "FS-CONFIG-VALUE", format!("{source}: `{key}`: {why}"), hint)
                })?;
                self.tree = tree;
                Ok(())
            }
        }
    }

    fn unknown(&self, source: &str, key: &str) -> Failure {
        let mut known = Vec::new();
        leaves(&self.defaults, &mut String::new(), &mut known);
        let nearest = known.iter().map(|k| (strsim::damerau_levenshtein(k, key), k)).min();
        let hint = match nearest {
            Some((typos, near)) if typos <= TYPOS_MAX => format!("did you mean `{near}`?"),
            _ => match known.iter().find(|k| k.rsplit('.').next() == key.rsplit('.').next()) {
                Some(elsewhere) => format!("did you mean `{elsewhere}`?"),
                None => "its sections are `store`, `bus` and `worker`".to_owned(),
            },
        };
        Failure::new(Exit::Invalid, "FS-CONFIG-KEY", format!("{source}: there is no configuration key `{key}`"), hint)
    }
}

fn find<'a>(tree: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(tree, |tree, name| tree.get(name))
}

fn find_mut<'a>(tree: &'a mut Value, path: &[String]) -> Option<&'a mut Value> {
    path.iter().try_fold(tree, |tree, name| tree.get_mut(name))
}

fn leaves(tree: &Value, prefix: &mut String, out: &mut Vec<String>) {
    let Value::Object(map) = tree else {
        out.push(prefix.clone());
        return;
    };
    for (name, value) in map {
        let length = prefix.len();
        if length > 0 {
            prefix.push('.');
        }
        prefix.push_str(name);
        leaves(value, prefix, out);
        prefix.truncate(length);
    }
}

/// A default of null stands for an optional text.
fn same_kind(default: &Value, value: &Value) -> bool {
    kind(default) == kind(value)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null | Value::String(_) => "text",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Array(_) => "a list",
        Value::Object(_) => "a section",
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn layers() -> Layers {
        let defaults = json!({ "store": { "url": null }, "worker": { "batch_max": 100, "engine": { "steps": 10 } } });
        Layers::new(defaults, |tree| match tree["worker"]["batch_max"].as_i64() {
            Some(n) if n > 0 => Ok(()),
            _ => Err("must be above 0".into()),
        })
    }

    fn refused(result: Result<(), Failure>) -> String {
        result.expect_err("should be refused").to_string()
    }

    #[test]
    fn later_layers_win_key_by_key() {
        let mut layers = layers();
        layers.file("flagstop.toml", "[worker]\nbatch_max = 7\nengine.steps = 3\n[store]\nurl = 'sqlite:a'").unwrap();
        layers.environment([("FLAGSTOP__WORKER__BATCH_MAX".into(), "8".into()), ("HOME".into(), "/".into())]).unwrap();
        layers.flag(["store", "url"], Some("sqlite:b"));
        let tree = layers.into_tree();
        assert_eq!(
            tree,
            json!({ "store": { "url": "sqlite:b" }, "worker": { "batch_max": 8, "engine": { "steps": 3 } } })
        );
    }

    #[test]
    fn a_mistake_names_its_source_and_its_key() {
        assert_eq!(
            refused(layers().file("flagstop.toml", "[worker]\nbatchmax = 7")),
            "FS-CONFIG-KEY: flagstop.toml: there is no configuration key `worker.batchmax`"
        );
        assert_eq!(
            refused(layers().file("flagstop.toml", "[worker]\nbatch_max = 'many'")),
            "FS-CONFIG-VALUE: flagstop.toml: `worker.batch_max` must be a number, and is text"
        );
        assert_eq!(
            refused(layers().environment([("FLAGSTOP__WORKER__BATCH_MAX".into(), "0".into())])),
            "FS-CONFIG-VALUE: FLAGSTOP__WORKER__BATCH_MAX: `worker.batch_max`: must be above 0"
        );
        assert!(refused(layers().file("flagstop.toml", "[worker")).starts_with("FS-CONFIG-SYNTAX: flagstop.toml: "));
        assert_eq!(
            refused(layers().file("flagstop.toml", "worker = 3")),
            "FS-CONFIG-VALUE: flagstop.toml: `worker` is a section, not a value"
        );
    }

    #[test]
    fn a_secret_url_can_stand_in_a_file() {
        let file = std::env::temp_dir().join(format!("flagstop-url-{}", std::process::id()));
        std::fs::write(&file, "postgres://u:p@h/d\n").unwrap();
        let mut layers = layers();
        layers.environment([("FLAGSTOP__STORE__URL_FILE".into(), file.display().to_string())]).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(layers.into_tree()["store"]["url"], "postgres://u:p@h/d");
    }
}
