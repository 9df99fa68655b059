//! The test file's own structure: the file, its cases, and what they expect.

use std::collections::BTreeMap;

use flagstop_engine::expr::{Expression, Scope};
use flagstop_engine::source::{self, Node, NodeValue};
use flagstop_engine::{Diagnostics, Limits, value};

use super::model::{Case, Expect, Instances, InvalidAt, TestFile};
use super::reader::Reader;
use crate::world::Kill;

const FILE: &[&str] = &["workflows", "clock", "cases"];
const CASE: &[&str] =
    &["name", "clock", "input", "secrets", "http", "processes", "events", "commands", "faults", "until", "expect"];
const EXPECT: &[&str] = &[
    "status",
    "output",
    "where",
    "error",
    "context",
    "tasks",
    "lifecycle",
    "emitted",
    "requests",
    "elapsed",
    "instances",
    "invalid",
];
const STATUSES: &[&str] = &["completed", "faulted", "cancelled", "waiting", "suspended", "running"];
const ERROR: &[&str] = &["type", "status", "title", "detail", "instance"];

/// 2026-01-01T00:00:00Z.
const CLOCK_US: i64 = 1_767_225_600_000_000;

/// Reads a test file.
pub(super) fn read(text: &[u8], limits: &Limits) -> Result<TestFile, Diagnostics> {
    let root = source::read(text, limits)?;
    let mut reader = Reader::new(limits);
    let file = reader.file(&root);
    match file {
        Some(file) if !reader.found.has_errors() => Ok(file),
        _ => Err(reader.found.sorted()),
    }
}

impl Reader<'_> {
    fn file(&mut self, root: &Node) -> Option<TestFile> {
        self.mapping(root, "a test file", FILE)?;
        let clock_us = match root.get("clock") {
            Some(clock) => self.moment(clock, "`clock`").unwrap_or(CLOCK_US),
            None => CLOCK_US,
        };
        let workflows = self.required(root, "workflows", "a test file").map(|node| self.workflows(node));
        let cases = self.required(root, "cases", "a test file").and_then(|node| {
            let items = self.list(node, "`cases`")?;
            if items.is_empty() {
                self.error("FS-VALUE", node.span, "`cases` is empty", "describe at least one case");
            }
            Some(items.iter().enumerate().filter_map(|(at, case)| self.case(case, at, clock_us)).collect())
        });
        Some(TestFile { workflows: workflows?, cases: cases? })
    }

    fn workflows(&mut self, node: &Node) -> Vec<(String, flagstop_engine::Span)> {
        let items = self.list(node, "`workflows`").unwrap_or_default();
        if node.as_seq().is_some_and(<[Node]>::is_empty) {
            self.error("FS-VALUE", node.span, "`workflows` is empty", "name the workflow's file, relative to this one");
        }
        items.iter().filter_map(|item| Some((self.text(item, "a workflow's file")?.to_owned(), item.span))).collect()
    }

    fn case(&mut self, node: &Node, at: usize, clock_us: i64) -> Option<Case> {
        self.mapping(node, "a case", CASE)?;
        let name = node.get("name").and_then(|name| self.scalar(name, "`name`"));
        let mut case = Case {
            name: name.unwrap_or_else(|| format!("case {}", at + 1)),
            line: node.span.line,
            clock_us,
            input: node.get("input").map(value::from_node),
            secrets: BTreeMap::new(),
            http: Vec::new(),
            processes: Vec::new(),
            events: Vec::new(),
            commands: Vec::new(),
            kill: Kill::Never,
            until_us: None,
            expect: Expect::default(),
        };
        if let Some(clock) = node.get("clock") {
            case.clock_us = self.moment(clock, "`clock`").unwrap_or(clock_us);
        }
        if let Some(secrets) = node.get("secrets") {
            case.secrets = self.named_values(secrets, "`secrets`").into_iter().collect();
        }
        if let Some(http) = node.get("http") {
            let rules = self.list(http, "`http`").unwrap_or_default();
            case.http = rules.iter().filter_map(|rule| self.http_rule(rule)).collect();
        }
        if let Some(processes) = node.get("processes") {
            let rules = self.list(processes, "`processes`").unwrap_or_default();
            case.processes = rules.iter().filter_map(|rule| self.process_rule(rule)).collect();
        }
        if let Some(events) = node.get("events") {
            let items = self.list(events, "`events`").unwrap_or_default();
            let event = |(at, item): (usize, &Node)| self.script_event(item, at);
            case.events = items.iter().enumerate().filter_map(event).collect();
        }
        if let Some(commands) = node.get("commands") {
            let items = self.list(commands, "`commands`").unwrap_or_default();
            case.commands = items.iter().filter_map(|item| self.script_command(item)).collect();
        }
        if let Some(faults) = node.get("faults")
            && self.mapping(faults, "`faults`", &["kill"]).is_some()
            && let Some(kill) = faults.get("kill")
            && self.one_of(kill, "`kill`", &["every-commit"]).is_some()
        {
            case.kill = Kill::EveryCommit;
        }
        case.until_us = node.get("until").and_then(|until| self.duration(until, "`until`"));
        if let Some(expect) = node.get("expect") {
            case.expect = self.expect(expect);
        }
        Some(case)
    }

    fn expect(&mut self, node: &Node) -> Expect {
        let mut expect = Expect::default();
        if self.mapping(node, "`expect`", EXPECT).is_none() {
            return expect;
        }
        expect.status =
            node.get("status").and_then(|status| self.one_of(status, "`status`", STATUSES)).map(str::to_owned);
        expect.output = node.get("output").map(value::from_node);
        expect.context = node.get("context").map(value::from_node);
        if let Some(condition) = node.get("where") {
            expect.wheres = self.conditions(condition);
        }
        if let Some(error) = node.get("error").and_then(|error| self.mapping(error, "`error`", ERROR)) {
            expect.error = Some(value::from_node(error));
        }
        if let Some(tasks) = node.get("tasks") {
            let items = self.list(tasks, "`tasks`").unwrap_or_default();
            let pointers = items.iter().filter_map(|item| self.text(item, "a task's pointer").map(str::to_owned));
            expect.tasks = Some(pointers.collect());
        }
        expect.lifecycle = node.get("lifecycle").and_then(|events| self.event_patterns(events, "`lifecycle`"));
        expect.emitted = node.get("emitted").and_then(|events| self.event_patterns(events, "`emitted`"));
        expect.requests = node.get("requests").and_then(|requests| {
            let items = self.list(requests, "`requests`")?;
            Some(items.iter().filter_map(|item| self.request_pattern(item)).collect())
        });
        expect.elapsed_us = node.get("elapsed").and_then(|elapsed| self.duration(elapsed, "`elapsed`"));
        expect.instances = node.get("instances").and_then(|instances| self.instances(instances));
        expect.invalid = node.get("invalid").and_then(|invalid| self.invalid(invalid, node));
        expect
    }

    /// jq, or a list of them.
    fn conditions(&mut self, node: &Node) -> Vec<Expression> {
        let items = match &node.value {
            NodeValue::Seq(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        let scope = Scope::none().with_local("result");
        let mut conditions = Vec::new();
        for item in items {
            let Some(text) = self.text(item, "`where`") else { continue };
            match Expression::compile(text, &scope, item.span, self.limits) {
                Ok(condition) => conditions.push(condition),
                Err(found) => self.found.extend(found),
            }
        }
        conditions
    }

    fn instances(&mut self, node: &Node) -> Option<Instances> {
        match &node.value {
            NodeValue::Seq(_) => {
                let known = ["input", "status", "output"];
                Some(Instances::List(self.mappings(node, "`instances`", "an expected instance", &known)?))
            }
            _ => self
                .number(node, "`instances`", 0, i64::from(u32::MAX))
                .map(|count| Instances::Count(count.unsigned_abs())),
        }
    }

    fn invalid(&mut self, node: &Node, expect: &Node) -> Option<InvalidAt> {
        self.mapping(node, "`invalid`", &["line", "text"])?;
        if let Some((other, _)) = expect.as_map().into_iter().flatten().find(|(key, _)| &*key.text != "invalid") {
            let message = format!("`{}` stands beside `invalid`", other.text);
            self.error("FS-VALUE", other.span, message, "a workflow that is invalid never runs: remove one of the two");
        }
        let line = match node.get("line") {
            Some(line) => Some(u32::try_from(self.number(line, "`line`", 1, i64::from(u32::MAX))?).ok()?),
            None => None,
        };
        let text = match node.get("text") {
            Some(text) => Some(self.scalar(text, "`text`")?),
            None => None,
        };
        Some(InvalidAt { line, text })
    }
}
