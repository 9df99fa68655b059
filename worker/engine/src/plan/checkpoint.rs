//! Checkpoints: after which tasks the state is written, besides where it must be. Per deployment, workflow, type of task or
//! task; the nearest wins.
//!
//! Written it is, whatever the policy, when the instance waits or has ended; and before a side effect is made, unless the policy
//! of its task says that the instance runs ahead. What runs between two checkpoints is repeated after a crash: side effects
//! among it with the same idempotency key.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compiler::{At, Compiler};
use super::keys::Keys;
use crate::diagnostic::suggestion;
use crate::duration;
use crate::expr::Expression;
use crate::limits::Limits;
use crate::resource::Bundle;
use crate::source::{self, Node};
use crate::{tasks, value};

/// Which of a task's boundaries are checkpoints.
#[derive(Debug, Clone, Default)]
pub(crate) enum Checkpoint {
    /// Neither; a side effect is written before it is made.
    #[default]
    None,
    /// Neither, and a side effect is made before it is written: the instance runs ahead of its stored state.
    Ahead,
    Before,
    After,
    Both,
    /// After it, if so many tasks were done since the last one.
    Tasks(u32),
    /// After it, if so many microseconds have passed since the last one.
    Every(i64),
    /// After it, if this holds of its output.
    When(Arc<Expression>),
}

/// What holds for tasks that say nothing of their own.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    all: Checkpoint,
    /// By the key that chooses a task's type.
    of_type: BTreeMap<String, Checkpoint>,
}

const POLICY: Keys = Keys { of: "`checkpoint`", known: &["tasks", "every", "when"], not_yet: &[] };
const EVERY: Keys = Keys { of: "`checkpoint.every`", known: &duration::PART_NAMES, not_yet: &[] };

/// Words for policies, and which of them stand for one task only.
const WORDS: [(&str, Checkpoint); 7] = [
    ("effects", Checkpoint::None),
    ("suspend", Checkpoint::Ahead),
    ("task", Checkpoint::After),
    ("none", Checkpoint::Ahead),
    ("before", Checkpoint::Before),
    ("after", Checkpoint::After),
    ("both", Checkpoint::Both),
];
/// How many of them stand for whole workflows, too.
const WORDS_OF_WORKFLOWS: usize = 3;

/// What a policy is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum For {
    Workflow,
    Task,
}

/// Checks a deployment's policy: [`Limits::checkpoint`].
///
/// # Errors
/// Says what it must be.
pub fn check_policy(limits: &Limits) -> Result<(), String> {
    deployments(limits).map(drop)
}

/// It is written like in a definition, so it is read like there.
fn deployments(limits: &Limits) -> Result<Checkpoint, String> {
    let bundle = Bundle::default();
    let mut compiler = Compiler::new(limits, &bundle);
    let found =
        source::read(limits.checkpoint.as_bytes(), limits).map(|node| compiler.checkpoint_policy(&node, For::Workflow));
    let broken = match found {
        Ok(Some(policy)) => return Ok(policy),
        Ok(None) => std::mem::take(&mut compiler.diagnostics),
        Err(broken) => broken,
    };
    let first = broken.into_iter().next().map(|found| found.message).unwrap_or_default();
    Err(format!("{first}; write effects, suspend, task, {{ tasks: 10 }}, {{ every: PT1S }} or {{ when: EXPRESSION }}"))
}

impl Compiler<'_> {
    /// The workflow's own policy, over the deployment's. A worker whose deployment's is wrong does not start.
    pub(super) fn checkpoints_of_workflow(&mut self, settings: Option<&Node>) {
        self.checkpoints.all = deployments(self.limits).unwrap_or_default();
        if let Some(policy) = settings.and_then(|settings| settings.get("checkpoint"))
            && let Some(policy) = self.checkpoint_policy(policy, For::Workflow)
        {
            self.checkpoints.all = policy;
        }
        let Some(by_type) = settings.and_then(|settings| settings.get("checkpoints")) else { return };
        let Some(entries) = by_type.as_map() else {
            return self.wrong_type(by_type, "`checkpoints`", "a mapping of task types to policies");
        };
        for (key, policy) in entries {
            if !tasks::TYPES.iter().any(|of| of.key == &*key.text) {
                let hint = suggestion(&key.text, tasks::TYPES.iter().map(|of| of.key));
                self.error("FS-UNKNOWN-KEY", policy, format!("`{}` is no type of task", key.text), &hint);
            } else if let Some(policy) = self.checkpoint_policy(policy, For::Task) {
                self.checkpoints.of_type.insert(key.text.to_string(), policy);
            }
        }
    }

    /// A task's policy: its own, its type's or the workflow's.
    pub(super) fn checkpoint_of_task(&mut self, task: &Node, of: &str) -> Checkpoint {
        let settings = task.get("metadata").and_then(|metadata| metadata.get("flagstop"));
        let own = settings.and_then(|settings| settings.get("checkpoint"));
        let own = own.and_then(|policy| self.checkpoint_policy(policy, For::Task));
        own.unwrap_or_else(|| self.checkpoints.of_type.get(of).unwrap_or(&self.checkpoints.all).clone())
    }

    fn checkpoint_policy(&mut self, node: &Node, policy_for: For) -> Option<Checkpoint> {
        if let Some(word) = node.as_str() {
            let allowed = if policy_for == For::Task { &WORDS[..] } else { &WORDS[..WORDS_OF_WORKFLOWS] };
            let found = allowed.iter().find(|(known, _)| *known == word);
            if found.is_none() {
                let known = allowed.iter().map(|(known, _)| *known);
                let hint = suggestion(word, known.chain(["{ tasks: 10 }", "{ every: PT1S }", "{ when: EXPRESSION }"]));
                self.error("FS-VALUE", node, format!("`{word}` is no checkpoint policy"), &hint);
            }
            return found.map(|(_, policy)| policy.clone());
        }
        let entries = self.mapping(node, POLICY)?;
        let [(key, of)] = entries else {
            let hint = "write `{ tasks: 10 }`, `{ every: PT1S }` or `{ when: EXPRESSION }`";
            self.error("FS-VALUE", node, "a checkpoint policy says one thing", hint);
            return None;
        };
        match &*key.text {
            "tasks" => match value::to_serde(&value::from_node(of)).as_u64().and_then(|n| u32::try_from(n).ok()) {
                Some(count) if count > 0 => Some(Checkpoint::Tasks(count)),
                _ => {
                    self.error("FS-VALUE", of, "`tasks` must be a whole number above 0", "write `{ tasks: 10 }`");
                    None
                }
            },
            "every" => self.fixed_duration(of, EVERY).map(Checkpoint::Every),
            "when" => self.jq(of, "`when`", At::Export).map(|when| Checkpoint::When(Arc::new(when))),
            _ => None,
        }
    }
}
