//! From the definition's tree to the arena: lists, tasks and what all tasks share.
//!
//! It walks the tree recursively, which the reader's depth limit bounds, and never stops at the first mistake.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::authentication::Policy;
use super::checkpoint::Checkpoints;
pub(crate) use super::expressions::At;
use super::extensions::Extensions;
use super::functions::Functions;
use super::keys::{Keys, OWN_PREFIX};
use super::named::Named;
use super::{Block, BlockIndex, BlockKind, Common, Task, TaskIndex, Then};
use crate::diagnostic::{Diagnostic, Diagnostics, nearest, suggestion};
use crate::expr::Mode;
use crate::filter::Filter;
use crate::limits::Limits;
use crate::pointer::Pointer;
use crate::resource::{Bundle, Resource};
use crate::source::{Key, Node, Span};
use crate::tasks::call_openapi::DocumentError;
use crate::tasks::{self, Choice, TypeOf};
use crate::value::{self, Value};

/// The compilation of one definition.
pub(crate) struct Compiler<'a> {
    pub(crate) limits: &'a Limits,
    /// The definition's text, for places within its texts.
    pub(super) source: &'a [u8],
    /// `evaluate.mode`.
    pub(crate) mode: Mode,
    pub(crate) diagnostics: Diagnostics,
    /// `None` while a task's own lists are being compiled: the text's order is the arena's.
    pub(super) tasks: Vec<Option<Task>>,
    /// Where their names stand; `None` in other documents than the definition.
    pub(super) places: Vec<Option<Span>>,
    pub(super) blocks: Vec<Block>,
    pub(super) waits: Vec<Filter>,
    /// `use.secrets`.
    pub(crate) secrets: Vec<String>,
    /// The variables that tasks around this place define.
    pub(crate) locals: Vec<String>,
    /// The documents that are there already.
    pub(super) bundle: &'a Bundle,
    /// The OpenAPI documents among them that were read already.
    pub(super) openapi: BTreeMap<String, Result<Value, DocumentError>>,
    /// Those that are still to be fetched.
    pub(super) missing: Vec<Resource>,
    /// How their servers are shown who asks, by location.
    pub(super) policies: BTreeMap<String, Arc<Policy>>,
    /// Where the text that is being compiled lies; empty: the definition itself.
    pub(super) base: String,
    /// What proved who asked for that text: what lies beside it is asked for in the same way.
    pub(super) base_policy: Option<Arc<Policy>>,
    /// Events or commands start instances, so that several of them are to be expected at a time.
    pub(crate) has_many_instances: bool,
    pub(super) extensions: Extensions<'a>,
    pub(super) named: Named<'a>,
    pub(super) functions: Functions<'a>,
    pub(super) checkpoints: Checkpoints,
}

/// A task of the definition, as its type sees it.
#[derive(Clone, Copy)]
pub(crate) struct TaskNode<'n> {
    pub(crate) node: &'n Node,
    pub(crate) pointer: &'n Pointer,
    /// The names of the list in which it stands, for directives.
    pub(crate) siblings: &'n [&'n str],
}

impl<'n> TaskNode<'n> {
    /// The value of the key that chose the type.
    pub(crate) fn own(&self, key: &str) -> &'n Node {
        self.node.get(key).expect("a task type is chosen by its key")
    }
}

const COMMON_KEYS: &[&str] = &["if", "input", "output", "export", "timeout", "then", "metadata"];
const COMMON_NOT_YET: &[&str] = &[];

const INPUT: Keys = Keys { of: "`input`", known: &["schema", "from"], not_yet: &[] };
const OUTPUT: Keys = Keys { of: "`output`", known: &["schema", "as"], not_yet: &[] };
/// This engine's own settings of a task.
const FLAGSTOP: Keys = Keys { of: "`metadata.flagstop`", known: &["checkpoint"], not_yet: &[] };
const EXPORT: Keys = Keys { of: "`export`", known: &["schema", "as"], not_yet: &[] };

impl<'a> Compiler<'a> {
    pub(crate) fn new(limits: &'a Limits, bundle: &'a Bundle) -> Self {
        Self {
            limits,
            source: &[],
            mode: Mode::Strict,
            diagnostics: Diagnostics::new(),
            tasks: Vec::new(),
            places: Vec::new(),
            blocks: Vec::new(),
            waits: Vec::new(),
            secrets: Vec::new(),
            locals: Vec::new(),
            bundle,
            openapi: BTreeMap::new(),
            missing: Vec::new(),
            policies: BTreeMap::new(),
            base: String::new(),
            base_policy: None,
            has_many_instances: true,
            extensions: Extensions::default(),
            named: Named::default(),
            functions: Functions::default(),
            checkpoints: Checkpoints::default(),
        }
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(crate) fn error(&mut self, code: &'static str, node: &Node, message: impl Into<String>, hint: &str) {
        self.push(Diagnostic::error(code, node.span, message).with_hint(hint));
    }

    /// A filter that a listen waits with.
    pub(crate) fn waits_for(&mut self, filter: Filter) {
        self.waits.push(filter);
    }

    /// A list of tasks; `pointer` is the list's own.
    pub(crate) fn list(&mut self, node: &Node, pointer: &Pointer) -> Option<BlockIndex> {
        self.block(node, pointer, BlockKind::List)
    }

    /// The branches of a fork; `pointer` is their list's own.
    pub(crate) fn branches(&mut self, node: &Node, pointer: &Pointer) -> Option<BlockIndex> {
        self.block(node, pointer, BlockKind::Branches)
    }

    /// A place for a body that is compiled later, because it may call itself.
    pub(crate) fn reserve_body(&mut self) -> BlockIndex {
        let index = BlockIndex(self.blocks.len() as u32);
        self.blocks.push(Block { kind: BlockKind::Body, tasks: Vec::new() });
        index
    }

    /// Compiles the one task of a reserved body (a function's); `pointer` is its own. It sees no variables of the tasks
    /// that call it: their type must have [`crate::tasks::TaskType::HIDES_LOCALS`].
    pub(crate) fn fill_body(&mut self, index: BlockIndex, name: &Key, node: &Node, pointer: &Pointer) {
        let locals = std::mem::take(&mut self.locals);
        let extending = self.extensions.leave();
        let place = Place { block: index, position: 0, siblings: &[&name.text] };
        let task = self.task(name, node, pointer, place);
        self.blocks[index.0 as usize].tasks = vec![task];
        self.extensions.enter_again(extending);
        self.locals = locals;
    }

    pub(super) fn block(&mut self, node: &Node, pointer: &Pointer, kind: BlockKind) -> Option<BlockIndex> {
        let Some(items) = node.as_seq() else {
            self.error(
                "FS-WRONG-TYPE",
                node,
                format!("a list of tasks is expected here, but this is {}", node.kind()),
                "write `- name:` and below it the task",
            );
            return None;
        };
        let index = BlockIndex(self.blocks.len() as u32);
        self.blocks.push(Block { kind, tasks: Vec::new() });
        let entries: Vec<Option<(&Key, &Node)>> = items.iter().map(|item| self.list_item(item)).collect();
        let names: Vec<&str> = entries.iter().map(|entry| entry.map_or("", |(key, _)| &*key.text)).collect();
        for (position, entry) in entries.into_iter().enumerate() {
            let Some((key, task)) = entry else { continue };
            if names[..position].contains(&&*key.text) {
                self.push(
                    Diagnostic::error(
                        "FS-DUPLICATE-NAME",
                        key.span,
                        format!("two tasks of this list are named `{}`", key.text),
                    )
                    .with_hint("give each task of a list its own name"),
                );
            }
            // Branches run at once: none can go on with another.
            let siblings = if kind == BlockKind::Branches { &[] } else { &*names };
            let place = Place { block: index, position: position as u32, siblings };
            let task = self.task(key, task, &pointer.index(position).child(&key.text), place);
            self.blocks[index.0 as usize].tasks.push(task);
        }
        Some(index)
    }

    fn list_item<'n>(&mut self, item: &'n Node) -> Option<(&'n Key, &'n Node)> {
        match item.as_map() {
            Some([(key, task)]) => Some((key, task)),
            Some([]) | None => {
                self.error(
                    "FS-WRONG-TYPE",
                    item,
                    "an item of a list of tasks must be a mapping of one name to its task",
                    "write `- name:` and below it the task",
                );
                None
            }
            Some(_) => {
                self.error(
                    "FS-WRONG-TYPE",
                    item,
                    "an item of a list of tasks holds one task, but this one has several keys",
                    "begin each task with its own `- name:`, and indent what belongs to it further than the name",
                );
                None
            }
        }
    }

    fn task(&mut self, key: &Key, node: &Node, pointer: &Pointer, place: Place<'_>) -> TaskIndex {
        let index = TaskIndex(self.tasks.len() as u32);
        self.tasks.push(None);
        self.places.push(self.base.is_empty().then_some(key.span));
        let task = TaskNode { node, pointer, siblings: place.siblings };
        // Everything is looked at, so that all mistakes are reported at once.
        let (of, kind) = match self.task_type(key, task) {
            Some((of, kind)) => (Some(of), kind),
            None => (None, None),
        };
        let extensions = of.map(|of| self.extensions.of(of.key)).unwrap_or_default();
        let mut common = self.common(task);
        common.checkpoint = self.checkpoint_of_task(node, of.map_or("", |of| of.key));
        self.tasks[index.0 as usize] = kind.map(|kind| Task {
            name: key.text.to_string(),
            pointer: pointer.as_str().to_owned(),
            block: place.block,
            position: place.position,
            common,
            kind,
            extensions,
            definition: value::from_node(node),
        });
        index
    }

    fn task_type(&mut self, key: &Key, task: TaskNode<'_>) -> Option<(&'static TypeOf, Option<tasks::Kind>)> {
        let Some(entries) = task.node.as_map() else {
            self.wrong_type(task.node, &format!("the task `{}`", key.text), "a mapping");
            return None;
        };
        let of = match tasks::choose(task.node) {
            Choice::One(of) => of,
            Choice::None => {
                self.no_type(key, entries);
                return None;
            }
            Choice::Several(own, other) => {
                self.push(
                    Diagnostic::error(
                        "FS-TASK-TYPE",
                        task.node.entry(other).map_or(key.span, |(key, _)| key.span),
                        format!("the task `{}` is both `{own}` and `{other}`", key.text),
                    )
                    .with_hint("split it into two tasks"),
                );
                return None;
            }
            Choice::NoSuchKind(own) => {
                self.no_such_kind(own, task.own(own));
                return None;
            }
        };
        let not_yet: Vec<&str> = COMMON_NOT_YET.iter().chain(of.not_yet_keys).copied().collect();
        self.check_keys(entries, &format!("a `{}` task", of.key), &[&[of.key], of.more_keys, COMMON_KEYS], &not_yet);
        Some((of, tasks::compile(of, &task, self)))
    }

    /// Says which kinds of the type there are.
    fn no_such_kind(&mut self, own: &str, node: &Node) {
        let kinds = tasks::TYPES.iter().filter(|of| of.key == own).filter_map(|of| of.kind);
        let hint = suggestion("", kinds);
        self.error("FS-TASK-TYPE", node, format!("`{own}` does not say what to run"), &hint);
    }

    /// Says what is wrong at the key that the author probably meant to be the type.
    fn no_type(&mut self, name: &Key, entries: &[(Key, Node)]) {
        let types = || tasks::TYPES.iter().map(|of| of.key);
        let is_unknown = |key: &&Key| {
            let text = &*key.text;
            !COMMON_KEYS.contains(&text) && !COMMON_NOT_YET.contains(&text) && !text.starts_with(OWN_PREFIX)
        };
        let unknown: Vec<&Key> = entries.iter().map(|(key, _)| key).filter(is_unknown).collect();
        let misspelt = unknown.iter().find(|key| nearest(&key.text, types()).is_some()).or(unknown.first());
        let (span, word) = misspelt.map_or((name.span, ""), |key| (key.span, &*key.text));
        let message = format!("the task `{}` does not say what to do", name.text);
        self.push(Diagnostic::error("FS-TASK-TYPE", span, message).with_hint(suggestion(word, types())));
    }

    fn common(&mut self, task: TaskNode<'_>) -> Common {
        let mut common = Common::default();
        let node = task.node;
        if let Some(condition) = node.get("if") {
            common.condition = self.condition(condition, "`if`", At::Condition);
        }
        if let Some(input) = node.get("input").filter(|input| self.mapping(input, INPUT).is_some()) {
            common.input_schema = input.get("schema").and_then(|schema| self.schema(schema));
            common.input_from = input.get("from").and_then(|from| self.jq_or_template(from, At::Input));
        }
        if let Some(output) = node.get("output").filter(|output| self.mapping(output, OUTPUT).is_some()) {
            common.output_as = output.get("as").and_then(|as_| self.jq_or_template(as_, At::Output));
            common.output_schema = output.get("schema").and_then(|schema| self.schema(schema));
        }
        if let Some(export) = node.get("export").filter(|export| self.mapping(export, EXPORT).is_some()) {
            common.export_as = export.get("as").and_then(|as_| self.jq_or_template(as_, At::Export));
            common.export_schema = export.get("schema").and_then(|schema| self.schema(schema));
        }
        if let Some(timeout) = node.get("timeout") {
            common.timeout = self.timeout(timeout, At::Definition);
        }
        if let Some(then) = node.get("then") {
            common.then = self.then(then, task.siblings).unwrap_or_default();
        }
        if let Some(metadata) = node.get("metadata")
            && metadata.as_map().is_none()
        {
            self.wrong_type(metadata, "`metadata`", "a mapping");
        }
        if let Some(settings) = node.get("metadata").and_then(|metadata| metadata.get("flagstop")) {
            self.mapping(settings, FLAGSTOP);
        }
        common
    }

    /// A flow directive among the tasks of one list.
    pub(crate) fn then(&mut self, node: &Node, siblings: &[&str]) -> Option<Then> {
        Some(match self.text(node, "a flow directive")? {
            "continue" => Then::Continue,
            "exit" => Then::Exit,
            "end" => Then::End,
            name => match siblings.iter().position(|sibling| *sibling == name) {
                Some(position) => Then::Sibling(position as u32),
                None if siblings.is_empty() => {
                    self.error(
                        "FS-UNKNOWN-TASK",
                        node,
                        format!("branches run at once: none can go on with `{name}`"),
                        "allowed here: continue, exit (this branch is done), end",
                    );
                    return None;
                }
                None => {
                    let names =
                        siblings.iter().copied().chain(["continue", "exit", "end"]).filter(|name| !name.is_empty());
                    self.push(
                        Diagnostic::error(
                            "FS-UNKNOWN-TASK",
                            node.span,
                            format!("no task of this list is named `{name}`"),
                        )
                        .with_hint(suggestion(name, names)),
                    );
                    return None;
                }
            },
        })
    }
}

/// Where in the arena a task stands.
#[derive(Clone, Copy)]
struct Place<'n> {
    block: BlockIndex,
    position: u32,
    siblings: &'n [&'n str],
}
