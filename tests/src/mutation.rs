//! Definitions with one or two things changed: what authors get wrong, and what nobody would write.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::random::Random;

/// What mutations are made of: the keys and values of many definitions.
#[derive(Debug, Default)]
pub struct Pool {
    keys: Vec<String>,
    by_key: BTreeMap<String, Vec<Value>>,
    values: Vec<Value>,
}

/// The way from a document's root to a node in it.
type Path = Vec<Step>;

#[derive(Debug, Clone)]
enum Step {
    Key(String),
    Index(usize),
}

impl Pool {
    pub fn of(documents: &[Value]) -> Self {
        let mut pool = Self::default();
        for document in documents {
            pool.add(document);
        }
        pool.keys = pool.by_key.keys().cloned().collect();
        pool
    }

    fn add(&mut self, value: &Value) {
        self.values.push(value.clone());
        match value {
            Value::Object(entries) => {
                for (key, inner) in entries {
                    self.by_key.entry(key.clone()).or_default().push(inner.clone());
                    self.add(inner);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.add(item)),
            _ => {}
        }
    }
}

/// A changed copy, and what was changed.
pub fn mutate(document: &Value, pool: &Pool, random: &mut Random) -> (Value, String) {
    let mut changed = document.clone();
    let mut said = String::new();
    let wanted = if random.below(4) == 0 { 2 } else { 1 };
    let mut done = 0;
    while done < wanted {
        if let Some(what) = once(&mut changed, pool, random) {
            said = if said.is_empty() { what } else { format!("{said}; {what}") };
            done += 1;
        }
    }
    (changed, said)
}

/// One change; `None`: it does not fit the place that was chosen.
fn once(document: &mut Value, pool: &Pool, random: &mut Random) -> Option<String> {
    let mut paths = Vec::new();
    collect(document, &mut Vec::new(), &mut paths);
    let path = random.one_of(&paths).clone();
    let place = shown(&path);
    let node = at(document, &path);
    match random.below(10) {
        0 => {
            let (last, parent) = path.split_last()?;
            remove(at(document, parent), last);
            Some(format!("without {place}"))
        }
        1 => {
            let entries = node.as_object_mut()?;
            let old = some_key(entries, random)?;
            let new = misspelt(&old, random);
            rename(entries, &old, &new);
            Some(format!("`{old}` of {place} becomes `{new}`"))
        }
        2 => {
            let entries = node.as_object_mut()?;
            let old = some_key(entries, random)?;
            let new = random.one_of(&pool.keys);
            rename(entries, &old, new);
            Some(format!("`{old}` of {place} becomes `{new}`"))
        }
        3 => {
            *node = of_any_type(random);
            Some(format!("{place} becomes {node}"))
        }
        4 => {
            let key = *random.one_of(&["bogus", "x-own", "Do", "$ref"]);
            node.as_object_mut()?.insert(key.to_owned(), of_any_type(random));
            Some(format!("`{key}` is put into {place}"))
        }
        5 => {
            let items = node.as_array_mut()?;
            let item = items.get(random.below(items.len().max(1)))?.clone();
            items.push(item);
            Some(format!("an item of {place} is there twice"))
        }
        6 => {
            *node = random.one_of(&pool.values).clone();
            Some(format!("{place} becomes {node}"))
        }
        7 => {
            let Some(Step::Key(key)) = path.last() else { return None };
            *node = random.one_of(pool.by_key.get(key)?).clone();
            Some(format!("{place} becomes {node}"))
        }
        8 => {
            let key = random.one_of(&pool.keys);
            let value = random.one_of(&pool.by_key[key]).clone();
            let said = format!("`{key}: {value}` is put into {place}");
            node.as_object_mut()?.insert(key.clone(), value);
            Some(said)
        }
        _ => {
            *node = match node {
                Value::Object(_) => json!({}),
                Value::Array(_) => json!([]),
                Value::String(text) => Value::String(misspelt(text, random)),
                Value::Number(number) => json!(number.as_f64().unwrap_or_default() * *random.one_of(&[-1.0, 0.5, 1e6])),
                _ => return None,
            };
            Some(format!("{place} becomes {node}"))
        }
    }
}

fn of_any_type(random: &mut Random) -> Value {
    let values = [
        json!(null),
        json!(true),
        json!(7),
        json!(-1),
        json!(3.0),
        json!(1.5),
        json!(""),
        json!("text"),
        json!("${ .x }"),
        json!("PT5S"),
        json!([]),
        json!(["text"]),
        json!([{ "a": 1 }]),
        json!({}),
        json!({ "a": 1 }),
    ];
    random.one_of(&values).clone()
}

fn misspelt(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    if chars.is_empty() {
        return "e".to_owned();
    }
    let at = random.below(chars.len());
    match random.below(4) {
        0 => drop(chars.remove(at)),
        1 => chars.insert(at, chars[at]),
        2 if at + 1 < chars.len() => chars.swap(at, at + 1),
        _ => chars[at] = if chars[at].is_uppercase() { 'q' } else { chars[at].to_ascii_uppercase() },
    }
    chars.into_iter().collect()
}

fn some_key(entries: &Map<String, Value>, random: &mut Random) -> Option<String> {
    entries.keys().nth(random.below(entries.len().max(1))).cloned()
}

fn rename(entries: &mut Map<String, Value>, old: &str, new: &str) {
    if let Some(value) = entries.remove(old) {
        entries.insert(new.to_owned(), value);
    }
}

fn remove(parent: &mut Value, step: &Step) {
    match (parent, step) {
        (Value::Object(entries), Step::Key(key)) => drop(entries.remove(key)),
        (Value::Array(items), Step::Index(index)) => drop(items.remove(*index)),
        _ => unreachable!("the path was just collected"),
    }
}

fn at<'v>(document: &'v mut Value, path: &[Step]) -> &'v mut Value {
    path.iter().fold(document, |node, step| match step {
        Step::Key(key) => &mut node[key.as_str()],
        Step::Index(index) => &mut node[*index],
    })
}

fn collect(value: &Value, path: &mut Path, to: &mut Vec<Path>) {
    to.push(path.clone());
    let mut inner = |step: Step, value: &Value| {
        path.push(step);
        collect(value, path, to);
        path.pop();
    };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| inner(Step::Key(key.clone()), value)),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| inner(Step::Index(index), value)),
        _ => {}
    }
}

fn shown(path: &[Step]) -> String {
    if path.is_empty() {
        return "the whole".to_owned();
    }
    path.iter().fold(String::new(), |text, step| match step {
        Step::Key(key) => format!("{text}/{key}"),
        Step::Index(index) => format!("{text}/{index}"),
    })
}
