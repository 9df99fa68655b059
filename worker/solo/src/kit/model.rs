//! A test file as data, checked: what is here can be run.

use std::collections::BTreeMap;

use bytes::Bytes;
use flagstop_engine::Span;
use flagstop_engine::api::Value;
use flagstop_engine::expr::Expression;
use flagstop_schemas::CloudEvent;

use super::matching::UrlPattern;
use crate::world::{Command, Kill};

#[derive(Debug)]
pub(super) struct TestFile {
    /// As written, with their places.
    pub(super) workflows: Vec<(String, Span)>,
    pub(super) cases: Vec<Case>,
}

#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) line: u32,
    /// Where virtual time begins.
    pub(super) clock_us: i64,
    pub(super) input: Option<Value>,
    pub(super) secrets: BTreeMap<String, Value>,
    pub(super) http: Vec<HttpRule>,
    pub(super) processes: Vec<ProcessRule>,
    pub(super) events: Vec<ScriptEvent>,
    pub(super) commands: Vec<ScriptCommand>,
    pub(super) kill: Kill,
    /// Since the beginning; `None`: until nothing more can happen.
    pub(super) until_us: Option<i64>,
    pub(super) expect: Expect,
}

#[derive(Debug)]
pub(super) struct ScriptEvent {
    pub(super) when: When,
    /// Without `time` where the author gives none.
    pub(super) event: CloudEvent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// So long after the beginning.
    At(i64),
    /// As soon as the instance can go on only by an event, a timer or a command, and listens.
    Waiting,
}

#[derive(Debug)]
pub(super) struct ScriptCommand {
    pub(super) at_us: i64,
    pub(super) command: Command,
}

#[derive(Debug)]
pub(super) struct HttpRule {
    pub(super) method: Option<String>,
    pub(super) url: Option<UrlPattern>,
    /// Names in lower case.
    pub(super) headers: Vec<(String, Value)>,
    pub(super) query: Vec<(String, Value)>,
    pub(super) body: Option<Value>,
    pub(super) reply: HttpReply,
    pub(super) after_us: i64,
    pub(super) times: Option<u32>,
}

#[derive(Debug, Clone)]
pub(super) enum HttpReply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Bytes,
    },
    /// No answer comes: why.
    Fail(&'static str),
}

#[derive(Debug)]
pub(super) struct ProcessRule {
    pub(super) kind: Option<String>,
    pub(super) command: Option<String>,
    pub(super) code: Option<String>,
    pub(super) language: Option<String>,
    pub(super) image: Option<String>,
    pub(super) arguments: Option<Value>,
    pub(super) stdin: Option<Value>,
    pub(super) environment: Vec<(String, Value)>,
    pub(super) exit_code: i32,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) after_us: i64,
    pub(super) times: Option<u32>,
}

/// What is expected; `None`: not looked at.
#[derive(Debug, Default)]
pub(super) struct Expect {
    pub(super) status: Option<String>,
    pub(super) output: Option<Value>,
    /// The text, and what it compiles to.
    pub(super) wheres: Vec<Expression>,
    pub(super) error: Option<Value>,
    pub(super) context: Option<Value>,
    pub(super) tasks: Option<Vec<String>>,
    pub(super) lifecycle: Option<Vec<Value>>,
    pub(super) emitted: Option<Vec<Value>>,
    pub(super) requests: Option<Vec<RequestPattern>>,
    pub(super) elapsed_us: Option<i64>,
    pub(super) instances: Option<Instances>,
    pub(super) invalid: Option<InvalidAt>,
}

#[derive(Debug)]
pub(super) enum Instances {
    Count(u64),
    List(Vec<Value>),
}

/// A request that is expected: what is named must be equal.
#[derive(Debug)]
pub(super) struct RequestPattern {
    /// As it was written, for reports.
    pub(super) written: Value,
    pub(super) method: Option<String>,
    pub(super) url: Option<String>,
    pub(super) headers: Vec<(String, Value)>,
    pub(super) query: Vec<(String, Value)>,
    pub(super) body: Option<Value>,
}

/// Where and how a workflow is expected to be invalid.
#[derive(Debug)]
pub(super) struct InvalidAt {
    pub(super) line: Option<u32>,
    pub(super) text: Option<String>,
}

impl Expect {
    /// Whether the judged instance's status events must be kept.
    pub(super) fn looks_at_lifecycle(&self) -> bool {
        self.lifecycle.is_some() || self.wheres.iter().any(|condition| condition.uses("result"))
    }
}
