//! What the specification's own JSON Schema says of a definition, and where our verdict may differ from it.
//!
//! The schema costs five times more with each level of nesting, so it is asked task by task, with empty lists in place of the
//! nested ones. A piece is right when the schema of either version takes it: our reader takes the union of both.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use jsonschema::Validator;
use serde_json::{Value, json};

use super::VERSIONS;
use crate::scenario::yaml;

/// A rule by which we may differ, with its reason. All rules together stand in `tests/specification/oracle.yaml`.
#[derive(Debug)]
pub struct Rule {
    pub why: String,
    pub what: Difference,
    /// A definition that it is needed for, of those that mutations hardly ever make.
    pub example: Option<Value>,
}

#[derive(Debug)]
pub enum Difference {
    /// We refuse, by a diagnostic of this code whose message holds this text, what the schema takes.
    Stricter { code: String, says: String },
    /// We take what the schema refuses: it would take it if these places of it held this, in either version.
    Looser { at: Vec<String>, is: Value },
    /// The same of every object of the schema that has this key: it would take it if this were added.
    LooserWherever { has: String, add: Value },
}

/// The schemas of both versions.
pub struct Oracle {
    schemas: Vec<Value>,
    rules: Vec<Rule>,
    compiled: HashMap<(Relaxed, Kind), Vec<Validator>>,
    known: HashMap<(Kind, String), bool>,
}

/// What of a definition is asked at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Root,
    Task,
}

/// How far the schema is relaxed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Relaxed {
    Never,
    ByAll,
    ByAllBut(usize),
}

/// A definition in pieces.
#[derive(Debug, Default)]
pub struct Pieces {
    pub pieces: Vec<(Kind, Value)>,
    /// An item of a list of tasks is not one name with its task.
    pub has_broken_list: bool,
}

/// Where a task holds lists of tasks.
const LISTS: [&str; 5] = ["/do", "/try", "/catch/do", "/fork/branches", "/foreach/do"];

impl Oracle {
    /// Reads the schemas of the kit, and our table of rules.
    pub fn new(kit: &Path, rules: Vec<Rule>) -> Self {
        let schema = |version: &&str| {
            let text = std::fs::read_to_string(kit.join(version).join("schema/workflow.yaml")).unwrap();
            let mut schema = yaml("workflow.yaml", &text);
            *schema.pointer_mut("/$defs/taskList").unwrap() = json!({ "type": "array" });
            *schema.pointer_mut("/properties/use/properties/functions/additionalProperties").unwrap() = json!(true);
            schema
        };
        let schemas: Vec<Value> = VERSIONS.iter().map(schema).collect();
        for rule in &rules {
            let Difference::Looser { at, .. } = &rule.what else { continue };
            for place in at {
                // The last key may be one to be added.
                let around = place.rsplit_once('/').expect("a place is a pointer").0;
                assert!(schemas.iter().any(|schema| schema.pointer(around).is_some()), "no schema has {around}");
            }
        }
        Self { schemas, rules, compiled: HashMap::new(), known: HashMap::new() }
    }

    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The pieces that the schema refuses.
    pub fn refused(&mut self, pieces: &Pieces) -> Vec<(Kind, Value)> {
        let mut refused = Vec::new();
        for (kind, piece) in &pieces.pieces {
            let key = (*kind, piece.to_string());
            let is_valid = match self.known.get(&key) {
                Some(known) => *known,
                None => {
                    let found = self.takes(Relaxed::Never, *kind, piece);
                    self.known.insert(key, found);
                    found
                }
            };
            if !is_valid {
                refused.push((*kind, piece.clone()));
            }
        }
        refused
    }

    /// The rules that let us take a piece that the schema refuses; `None`: all of them don't.
    pub fn excuse(&mut self, kind: Kind, piece: &Value, used: &BTreeSet<usize>) -> Option<Vec<usize>> {
        if !self.takes(Relaxed::ByAll, kind, piece) {
            return None;
        }
        let is_open =
            |index: &usize| !used.contains(index) && !matches!(self.rules[*index].what, Difference::Stricter { .. });
        let open: Vec<usize> = (0..self.rules.len()).filter(is_open).collect();
        Some(open.into_iter().filter(|index| !self.takes(Relaxed::ByAllBut(*index), kind, piece)).collect())
    }

    fn takes(&mut self, relaxed: Relaxed, kind: Kind, piece: &Value) -> bool {
        let (schemas, rules) = (&self.schemas, &self.rules);
        let validators = self.compiled.entry((relaxed, kind)).or_insert_with(|| {
            let compile = |schema: &Value| compile(schema, rules, relaxed, kind);
            schemas.iter().map(compile).collect()
        });
        validators.iter().any(|validator| validator.is_valid(piece))
    }
}

fn compile(schema: &Value, rules: &[Rule], relaxed: Relaxed, kind: Kind) -> Validator {
    let mut schema = schema.clone();
    for (index, rule) in rules.iter().enumerate() {
        match &rule.what {
            _ if relaxed == Relaxed::Never || relaxed == Relaxed::ByAllBut(index) => {}
            Difference::Stricter { .. } => {}
            Difference::Looser { at, is } => {
                for place in at {
                    let (around, key) = place.rsplit_once('/').expect("a place is a pointer");
                    match schema.pointer_mut(around) {
                        Some(Value::Object(entries)) => drop(entries.insert(key.to_owned(), is.clone())),
                        Some(Value::Array(items)) => items[key.parse::<usize>().unwrap()] = is.clone(),
                        _ => {}
                    }
                }
            }
            Difference::LooserWherever { has, add } => add_wherever(&mut schema, has, add),
        }
    }
    if kind == Kind::Task {
        let draft = schema["$schema"].clone();
        schema = json!({ "$schema": draft, "$ref": "#/$defs/task", "$defs": schema["$defs"] });
    }
    // Where the schema tells a text from an expression, it does so by format alone.
    jsonschema::options().should_validate_formats(true).build(&schema).expect("the specification's schema is one")
}

fn add_wherever(schema: &mut Value, has: &str, add: &Value) {
    match schema {
        Value::Object(entries) => {
            entries.values_mut().for_each(|inner| add_wherever(inner, has, add));
            if entries.contains_key(has) {
                entries.extend(add.as_object().expect("keys are added").clone());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| add_wherever(inner, has, add)),
        _ => {}
    }
}

impl Pieces {
    pub fn of(definition: &Value) -> Self {
        let mut found = Self::default();
        let mut root = definition.clone();
        if let Some(list) = root.get_mut("do") {
            found.list(list);
        }
        for function in root.pointer("/use/functions").and_then(Value::as_object).into_iter().flatten() {
            found.task(function.1.clone());
        }
        for extension in root.pointer_mut("/use/extensions").and_then(Value::as_array_mut).into_iter().flatten() {
            for (_, extension) in extension.as_object_mut().into_iter().flatten() {
                for key in ["before", "after"] {
                    if let Some(list) = extension.get_mut(key) {
                        found.list(list);
                    }
                }
            }
        }
        found.pieces.push((Kind::Root, root));
        found
    }

    /// Takes the tasks out of a list. What is no list stays, for the schema.
    fn list(&mut self, list: &mut Value) {
        for item in list.as_array_mut().map(std::mem::take).into_iter().flatten() {
            match item {
                Value::Object(entries) if entries.len() == 1 => {
                    entries.into_iter().for_each(|(_, task)| self.task(task));
                }
                _ => self.has_broken_list = true,
            }
        }
    }

    fn task(&mut self, mut task: Value) {
        for place in LISTS {
            if let Some(list) = task.pointer_mut(place) {
                self.list(list);
            }
        }
        if task["call"] == "asyncapi"
            && let Some(list) = task.pointer_mut("/with/subscription/foreach/do")
        {
            self.list(list);
        }
        self.pieces.push((Kind::Task, task));
    }
}

/// The rules of a table.
pub fn rules(table: &str) -> Vec<Rule> {
    let table = yaml("oracle.yaml", table);
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text, not {value}")).to_owned();
    let mut rules = Vec::new();
    let mut seen = BTreeMap::new();
    for entry in table["stricter"].as_array().unwrap() {
        let says = entry.get("says").map(text).unwrap_or_default();
        let what = Difference::Stricter { code: text(&entry["code"]), says };
        rules.push(Rule { why: text(&entry["why"]), what, example: example(entry) });
    }
    for entry in table["looser"].as_array().unwrap() {
        let what = match entry["at"].as_array() {
            Some(at) => Difference::Looser { at: at.iter().map(text).collect(), is: entry["is"].clone() },
            None => Difference::LooserWherever { has: text(&entry["wherever"]), add: entry["add"].clone() },
        };
        rules.push(Rule { why: text(&entry["why"]), what, example: example(entry) });
    }
    for rule in &rules {
        assert!(seen.insert(format!("{:?}", rule.what), ()).is_none(), "a rule is there twice: {rule:?}");
    }
    rules
}

/// What a rule's example leaves out of `document` is added.
fn example(entry: &Value) -> Option<Value> {
    let mut example = yaml("example", entry.get("example")?.as_str().expect("an example is a text"));
    let usual = json!({ "dsl": "1.0.3", "namespace": "test", "name": "rule", "version": "1.0.0" });
    let given = example["document"].take();
    let all = usual.as_object().into_iter().chain(given.as_object()).flatten();
    example["document"] = all.map(|(key, value)| (key.clone(), value.clone())).collect();
    Some(example)
}
