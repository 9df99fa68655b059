//! The definition's top level: `document`, `use`, `input`, `output`, `evaluate`, `schedule` and the workflow's list.

use std::sync::Arc;

use flagstop_schemas::Hash16;

use super::checkpoint::Checkpoint;
use super::compiler::{At, Compiler};
use super::keys::Keys;
use super::named::NamedOf;
use super::{Activation, Block, OnDuplicate, Plan, Workflow, reach};
use crate::api::Reference;
use crate::diagnostic::{Diagnostics, Severity};
use crate::expr::{Mode, Template};
use crate::limits::Limits;
use crate::pointer::Pointer;
use crate::reference;
use crate::resource::Bundle;
use crate::source::{self, Node, NodeValue};
use crate::value;

const ROOT: Keys = Keys {
    of: "a workflow definition",
    known: &["document", "input", "use", "do", "output", "schedule", "evaluate", "timeout"],
    not_yet: &[],
};
const DOCUMENT: Keys = Keys {
    of: "`document`",
    known: &["dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"],
    not_yet: &[],
};
const USE: Keys = Keys {
    of: "`use`",
    known: &["authentications", "catalogs", "errors", "extensions", "functions", "retries", "secrets", "timeouts"],
    not_yet: &[],
};
const INPUT: Keys = Keys { of: "the workflow's `input`", known: &["schema", "from"], not_yet: &[] };
const OUTPUT: Keys = Keys { of: "the workflow's `output`", known: &["schema", "as"], not_yet: &[] };
const EVALUATE: Keys = Keys { of: "`evaluate`", known: &["language", "mode"], not_yet: &[] };
/// `document.metadata.flagstop`: this engine's own settings.
const FLAGSTOP: Keys = Keys {
    of: "`document.metadata.flagstop`",
    known: &["activation", "businessKey", "checkpoint", "checkpoints", "timezone", "missedRuns"],
    not_yet: &[],
};
const ACTIVATION: Keys = Keys { of: "`activation`", known: &["key", "onDuplicate"], not_yet: &[] };

pub(super) fn compile(source: &[u8], bundle: &Bundle, limits: &Limits) -> Result<Plan, Diagnostics> {
    let root = source::read(source, limits)?;
    let mut compiler = Compiler::new(limits, bundle);
    compiler.source = source;
    let plan = compiler.root(&root, source);
    let diagnostics = std::mem::take(&mut compiler.diagnostics).sorted();
    match plan {
        Some(mut plan) if !diagnostics.has_errors() => {
            plan.warnings = diagnostics.into_iter().filter(|found| found.severity == Severity::Warning).collect();
            Ok(plan)
        }
        _ => Err(diagnostics),
    }
}

impl<'a> Compiler<'a> {
    fn root(&mut self, root: &'a Node, source: &[u8]) -> Option<Plan> {
        if root.value == NodeValue::Null {
            let hint = "begin with `document:` and `do:`";
            self.error("FS-WRONG-TYPE", root, "there is no workflow definition in it: it holds nothing", hint);
            return None;
        }
        self.mapping(root, ROOT)?;
        let document = self.required(root, "document", ROOT.of);
        let reference = document.and_then(|document| self.document(document));
        if let Some(used) = root.get("use") {
            self.used(used);
        }
        if let Some(evaluate) = root.get("evaluate") {
            self.evaluate(evaluate);
        }
        let (business_key, activation) = document.map(|document| self.flagstop(document)).unwrap_or_default();
        let input = root.get("input").filter(|input| self.mapping(input, INPUT).is_some());
        let output = root.get("output").filter(|output| self.mapping(output, OUTPUT).is_some());
        let input_schema = input.and_then(|input| input.get("schema")).and_then(|schema| self.schema(schema));
        let input_from =
            input.and_then(|input| input.get("from")).and_then(|from| self.jq_or_template(from, At::WorkflowInput));
        let output_as =
            output.and_then(|output| output.get("as")).and_then(|as_| self.jq_or_template(as_, At::WorkflowOutput));
        let output_schema = output.and_then(|output| output.get("schema")).and_then(|schema| self.schema(schema));
        let timeout = root.get("timeout").and_then(|timeout| self.timeout(timeout, At::WorkflowInput));
        let clockwork = self.clockwork(document);
        let schedule = root.get("schedule").map(|schedule| self.schedule(schedule, &clockwork, reference.as_ref()));
        // What only a clock starts has hardly ever two runs at once.
        self.has_many_instances = root.get("schedule").is_none_or(|schedule| schedule.get("on").is_some());
        let extensions = self.extensions();
        let list = self.required(root, "do", ROOT.of).and_then(|list| self.list(list, &Pointer::root().child("do")));

        self.compile_functions();
        self.check_unused();

        let tasks: Option<Vec<_>> = std::mem::take(&mut self.tasks).into_iter().collect();
        let tasks = tasks.filter(|_| !self.diagnostics.has_errors())?;
        let unreached = reach::unreached(&tasks, &self.blocks, &self.places);
        self.diagnostics.extend(unreached);
        Some(Plan {
            reference: Arc::new(reference?),
            runs_ahead: tasks.iter().any(|task| matches!(task.common.checkpoint, Checkpoint::Ahead)),
            fingerprint: fingerprint(source, self.bundle),
            definition: value::from_node(root),
            tasks,
            blocks: std::mem::take::<Vec<Block>>(&mut self.blocks),
            extensions,
            workflow: Workflow {
                input_schema,
                input_from,
                output_as,
                output_schema,
                secrets: std::mem::take(&mut self.secrets),
                business_key,
                activation,
                timeout,
                list: list?,
            },
            schedule: schedule.unwrap_or_default(),
            waits: std::mem::take(&mut self.waits),
            missing: std::mem::take(&mut self.missing),
            policies: std::mem::take(&mut self.policies),
            warnings: Vec::new(),
        })
    }

    fn document(&mut self, node: &Node) -> Option<Reference> {
        self.mapping(node, DOCUMENT)?;
        if let Some(dsl) = self.required(node, "dsl", DOCUMENT.of)
            && let Some(text) = self.text(dsl, "`document.dsl`")
        {
            match reference::version(text) {
                Ok(version) if version.major == 1 && version.minor == 0 => {}
                Ok(_) => self.error(
                    "FS-DSL-VERSION",
                    dsl,
                    format!("this build runs DSL 1.0, not {text}"),
                    "write `dsl: '1.0.3'`",
                ),
                Err(error) => self.error("FS-DSL-VERSION", dsl, error.to_string(), "write `dsl: '1.0.3'`"),
            }
        }
        let namespace = self.label(node, "namespace");
        let name = self.label(node, "name");
        let version = self.required(node, "version", DOCUMENT.of).and_then(|version| {
            let Some(text) = version.as_str() else {
                let message = format!("`document.version` must be a string, but is {}", version.kind());
                self.error("FS-WRONG-TYPE", version, message, "put it in quotes: `version: '1.0.0'`");
                return None;
            };
            reference::version(text)
                .map_err(|error| self.error("FS-NAME", version, error.to_string(), "write `version: '1.0.0'`"))
                .ok()
        });
        for key in ["title", "summary"] {
            if let Some(text) = node.get(key) {
                self.text(text, key);
            }
        }
        for key in ["tags", "metadata"] {
            if let Some(map) = node.get(key).filter(|map| map.as_map().is_none()) {
                self.wrong_type(map, &format!("`document.{key}`"), "a mapping");
            }
        }
        Some(Reference { namespace: namespace?, name: name?, version: version? })
    }

    fn label(&mut self, document: &Node, key: &str) -> Option<String> {
        let node = self.required(document, key, DOCUMENT.of)?;
        let text = self.text(node, &format!("`document.{key}`"))?;
        match reference::label(text) {
            Ok(()) => Some(text.to_owned()),
            Err(error) => {
                self.error("FS-NAME", node, error.to_string(), "choose another name");
                None
            }
        }
    }

    fn used(&mut self, node: &'a Node) {
        if self.mapping(node, USE).is_none() {
            return;
        }
        match node.get("secrets").map(|secrets| (secrets, secrets.as_seq())) {
            None => {}
            Some((_, Some(names))) => names.iter().for_each(|name| self.name_secret(name)),
            Some((secrets, None)) => self.wrong_type(secrets, "`use.secrets`", "a list of names"),
        }
        for of in NamedOf::MAPPINGS {
            self.name_all(of, node);
        }
        self.name_catalogs(node);
        if let Some(extensions) = node.get("extensions") {
            self.name_extensions(extensions);
        }
    }

    fn evaluate(&mut self, node: &Node) {
        if self.mapping(node, EVALUATE).is_none() {
            return;
        }
        if let Some(language) = node.get("language")
            && language.as_str() != Some("jq")
        {
            self.error("FS-NOT-YET", language, "this build evaluates `jq` only", "leave `language` out");
        }
        match node.get("mode").map(|mode| (mode, mode.as_str())) {
            None | Some((_, Some("strict"))) => {}
            Some((_, Some("loose"))) => self.mode = Mode::Loose,
            Some((mode, _)) => self.error("FS-VALUE", mode, "`mode` must be `strict` or `loose`", "leave `mode` out"),
        }
    }

    fn flagstop(&mut self, document: &Node) -> (Option<Template>, Option<Activation>) {
        let settings = document.get("metadata").and_then(|metadata| metadata.get("flagstop"));
        self.checkpoints_of_workflow(settings);
        let Some(settings) = settings.filter(|settings| self.mapping(settings, FLAGSTOP).is_some()) else {
            return (None, None);
        };
        let activation = settings.get("activation").and_then(|activation| self.activation(activation));
        (settings.get("businessKey").and_then(|key| self.jq_or_template(key, At::WorkflowInput)), activation)
    }

    fn activation(&mut self, node: &Node) -> Option<Activation> {
        self.mapping(node, ACTIVATION)?;
        let on_duplicate = match node.get("onDuplicate").map(|policy| (policy, policy.as_str())) {
            None | Some((_, Some("deadLetter"))) => OnDuplicate::DeadLetter,
            Some((_, Some("drop"))) => OnDuplicate::Drop,
            Some((policy, _)) => {
                let hint = "leave it out for `deadLetter`";
                self.error("FS-VALUE", policy, "`onDuplicate` must be `drop` or `deadLetter`", hint);
                return None;
            }
        };
        let key = self.required(node, "key", ACTIVATION.of)?;
        Some(Activation { key: self.jq_or_template(key, At::WorkflowInput)?, on_duplicate })
    }
}

/// What all that compiles to the same plan has in common. A definition without documents is its text alone.
fn fingerprint(source: &[u8], bundle: &Bundle) -> Hash16 {
    match bundle.is_empty() {
        true => Hash16::of("flagstop/definition", &[source]),
        false => Hash16::of("flagstop/definition", &[source, bundle.fingerprint().0.as_bytes()]),
    }
}
