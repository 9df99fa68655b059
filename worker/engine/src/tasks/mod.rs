//! The task types: each in one file with its model, its checks, its memory and its steps side by side.
//!
//! A new type is a new file and one line in [`registry!`]. What all tasks share (`if`, input, schemas, output, export,
//! `then`, events) is not here but around them, in [`crate::machine`]; a type never touches another task's run.

mod call_a2a;
mod call_asyncapi;
mod call_function;
mod call_grpc;
mod call_http;
mod call_mcp;
pub(crate) mod call_openapi;
mod do_;
mod emit;
mod for_;
mod fork;
mod http;
mod listen;
mod raise;
mod run;
mod set;
mod switch;
mod try_;
mod unrunnable;
mod wait;

pub(crate) use raise::check_unraised;
pub use run::program_options;
pub(crate) use try_::check_unused_policy;

use std::sync::Arc;

use crate::api::{ChildOutcome, EffectOutcome, Env, Projection, Request, Value, WaitReason};
use crate::event::Event;
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::reach::{Reach, Ways};
use crate::plan::{BlockIndex, Then};
use crate::problem::Problem;
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::source::Node;

/// What a task type decides in one of its steps.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done, with this raw output.
    Done(Value),
    /// It is done and goes on by this directive instead of its own `then`.
    Go(Value, Then),
    /// It runs a list of tasks, with this raw input for the first.
    List(BlockIndex, Value),
    /// It runs all tasks of a block of branches at once, each with this raw input.
    Fork(BlockIndex, Value),
    /// It waits for what its memory projects.
    Pause,
}

/// What a paused task can be woken by. `part` tells which of its slots.
#[derive(Debug)]
pub(crate) enum Signal<'a> {
    Event { part: u16, event: &'a Arc<Event> },
    Timer { part: u16 },
    Effect { part: u16, outcome: EffectOutcome },
    Child { part: u16, outcome: ChildOutcome },
}

/// A branch of a fork that is over.
#[derive(Debug)]
pub(crate) struct Branch {
    /// Its place in the block.
    pub(crate) position: u32,
    pub(crate) output: Value,
    /// `$context` as it left it; `None`: it exported nothing.
    pub(crate) context: Option<Value>,
}

/// One task type. A step that fails gives the problem; the core adds the task's pointer.
pub(crate) trait TaskType: Sized + std::fmt::Debug {
    /// The key that makes a task one of this type.
    const KEY: &'static str;
    /// Of several types with the same `KEY`: the text of its value (`call: http`), or the key inside of its value
    /// (`run: { shell: … }`), that makes a task one of this type. `None`: any other.
    const KIND: Option<&'static str> = None;
    /// The type's keys beside `KEY` and those that all tasks have.
    const MORE_KEYS: &'static [&'static str] = &[];
    /// Keys that the specification gives the type and this build does not.
    const NOT_YET_KEYS: &'static [&'static str] = &[];
    /// Tasks inside of it do not see the variables of those around it.
    const HIDES_LOCALS: bool = false;
    /// Stands for the type in snapshots: never changes, never 0 and below 250.
    const TAG: u8;
    /// What a run remembers while it is live.
    type Memory: Stored + Clone + std::fmt::Debug;

    /// The model, or `None` after having reported what is wrong.
    fn compile(node: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self>;

    /// How the flow can leave it, errors aside.
    fn ways(&self, _reach: &Reach<'_>) -> Ways {
        Ways::BY_THEN
    }

    /// The run begins.
    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Self::Memory, Outcome), Problem>;

    /// A list that it ran is through.
    fn list_done(
        &self,
        _memory: &mut Self::Memory,
        _cx: &mut Cx<'_, '_>,
        _list: BlockIndex,
        output: Value,
    ) -> Result<Outcome, Problem> {
        Ok(Outcome::Done(output))
    }

    /// A task of its list has faulted. `Err` passes the error on, `Ok` has caught it.
    fn child_faulted(
        &self,
        _memory: &mut Self::Memory,
        _cx: &mut Cx<'_, '_>,
        problem: Problem,
    ) -> Result<Outcome, Problem> {
        Err(problem)
    }

    /// A branch of its fork is done: by its end, by `exit` or because it was skipped.
    fn branch_done(
        &self,
        _memory: &mut Self::Memory,
        _cx: &mut Cx<'_, '_>,
        _branch: Branch,
    ) -> Result<Outcome, Problem> {
        Ok(Outcome::Pause)
    }

    /// A branch of its fork has faulted. `Err` passes the error on, `Ok` has caught it.
    fn branch_faulted(
        &self,
        _memory: &mut Self::Memory,
        _cx: &mut Cx<'_, '_>,
        _branch: Branch,
        problem: Problem,
    ) -> Result<Outcome, Problem> {
        Err(problem)
    }

    /// Something came for one of its slots. `None`: it does not wait for this, and nothing may have changed.
    fn wake(
        &self,
        _memory: &mut Self::Memory,
        _cx: &mut Cx<'_, '_>,
        _signal: Signal<'_>,
    ) -> Option<Result<Outcome, Problem>> {
        None
    }

    /// Adds the bookmarks, timers and effects of this run.
    fn project(&self, _memory: &Self::Memory, _look: &Look<'_>, _to: &mut Projection) {}

    /// What it waits for, for people.
    fn wait_reason(&self, _memory: &Self::Memory, _look: &Look<'_>) -> Option<WaitReason> {
        None
    }

    /// The request of its effect in flight, if one is.
    fn render(&self, _memory: &Self::Memory, _look: &Look<'_>, _env: &Env<'_>) -> Option<Result<Request, Problem>> {
        None
    }

    /// The variable of this name that tasks inside of it see.
    fn local<'m>(&self, _memory: &'m Self::Memory, _name: &str) -> Option<&'m Value> {
        None
    }

    /// Which of its rounds the tasks inside of it belong to, counted from 0, or which of several callers of the same
    /// tasks it is: what tells their runs apart (D4). `None`: it runs them once.
    fn iteration(&self, _memory: &Self::Memory) -> Option<u32> {
        None
    }

    /// Which attempt at the tasks inside of it this is, counted from 1; `None`: it makes only one.
    fn attempt(&self, _memory: &Self::Memory) -> Option<u32> {
        None
    }

    /// Its faulted instance is retried, and this run with it: attempts and their limits begin anew.
    fn begin_anew(&self, _memory: &mut Self::Memory, _now_us: i64) {}
}

/// Makes the sum types over all task types and hands each call on to the right one.
macro_rules! registry {
    ($($variant:ident: $type:ty,)*) => {
        /// A task's type with its model.
        #[derive(Debug)]
        pub(crate) enum Kind { $($variant($type),)* }

        /// What a live run remembers, by type.
        #[derive(Debug, Clone)]
        pub(crate) enum Memory { $($variant(<$type as TaskType>::Memory),)* }

        /// All task types.
        pub(crate) const TYPES: &[TypeOf] = &[$(TypeOf {
            key: <$type>::KEY,
            kind: <$type>::KIND,
            more_keys: <$type>::MORE_KEYS,
            not_yet_keys: <$type>::NOT_YET_KEYS,
            tag: <$type>::TAG,
        },)*];

        /// The model of a task of this type.
        pub(crate) fn compile(of: &TypeOf, node: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Kind> {
            match of.tag {
                $(<$type>::TAG => <$type>::compile(node, compiler).map(Kind::$variant),)*
                _ => None,
            }
        }

        impl Kind {
            pub(crate) fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Memory, Outcome), Problem> {
                match self {
                    $(Self::$variant(kind) => {
                        kind.enter(cx).map(|(memory, outcome)| (Memory::$variant(memory), outcome))
                    })*
                }
            }

            pub(crate) fn ways(&self, reach: &Reach<'_>) -> Ways {
                match self {
                    $(Self::$variant(kind) => kind.ways(reach),)*
                }
            }

            pub(crate) fn list_done(
                &self, memory: &mut Memory, cx: &mut Cx<'_, '_>, list: BlockIndex, output: Value,
            ) -> Result<Outcome, Problem> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.list_done(memory, cx, list, output),)*
                    _ => Err(foreign_memory()),
                }
            }

            pub(crate) fn child_faulted(
                &self, memory: &mut Memory, cx: &mut Cx<'_, '_>, problem: Problem,
            ) -> Result<Outcome, Problem> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.child_faulted(memory, cx, problem),)*
                    _ => Err(foreign_memory()),
                }
            }

            pub(crate) fn branch_done(
                &self, memory: &mut Memory, cx: &mut Cx<'_, '_>, branch: Branch,
            ) -> Result<Outcome, Problem> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.branch_done(memory, cx, branch),)*
                    _ => Err(foreign_memory()),
                }
            }

            pub(crate) fn branch_faulted(
                &self, memory: &mut Memory, cx: &mut Cx<'_, '_>, branch: Branch, problem: Problem,
            ) -> Result<Outcome, Problem> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => {
                        kind.branch_faulted(memory, cx, branch, problem)
                    })*
                    _ => Err(foreign_memory()),
                }
            }

            pub(crate) fn wake(
                &self, memory: &mut Memory, cx: &mut Cx<'_, '_>, signal: Signal<'_>,
            ) -> Option<Result<Outcome, Problem>> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.wake(memory, cx, signal),)*
                    _ => None,
                }
            }

            pub(crate) fn project(&self, memory: &Memory, look: &Look<'_>, to: &mut Projection) {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.project(memory, look, to),)*
                    _ => {}
                }
            }

            pub(crate) fn wait_reason(&self, memory: &Memory, look: &Look<'_>) -> Option<WaitReason> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.wait_reason(memory, look),)*
                    _ => None,
                }
            }

            pub(crate) fn render(
                &self, memory: &Memory, look: &Look<'_>, env: &Env<'_>,
            ) -> Option<Result<Request, Problem>> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.render(memory, look, env),)*
                    _ => None,
                }
            }

            pub(crate) fn local<'m>(&self, memory: &'m Memory, name: &str) -> Option<&'m Value> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.local(memory, name),)*
                    _ => None,
                }
            }

            pub(crate) fn iteration(&self, memory: &Memory) -> Option<u32> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.iteration(memory),)*
                    _ => None,
                }
            }

            pub(crate) fn attempt(&self, memory: &Memory) -> Option<u32> {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.attempt(memory),)*
                    _ => None,
                }
            }

            pub(crate) fn begin_anew(&self, memory: &mut Memory, now_us: i64) {
                match (self, memory) {
                    $((Self::$variant(kind), Memory::$variant(memory)) => kind.begin_anew(memory, now_us),)*
                    _ => {}
                }
            }

            pub(crate) fn hides_locals(&self) -> bool {
                match self {
                    $(Self::$variant(_) => <$type>::HIDES_LOCALS,)*
                }
            }

            /// Reads what a run of this type remembered; `tag` was already taken.
            pub(crate) fn read_memory(&self, tag: u8, from: &mut Reader<'_>) -> Result<Memory, SnapshotError> {
                match self {
                    $(Self::$variant(_) if tag == <$type>::TAG => Stored::read(from).map(Memory::$variant),)*
                    _ => Err(SnapshotError::corrupt("a frame's memory is of another task type")),
                }
            }
        }

        impl Memory {
            pub(crate) fn write(&self, to: &mut Writer) {
                match self {
                    $(Self::$variant(memory) => {
                        to.byte(<$type>::TAG);
                        memory.write(to);
                    })*
                }
            }
        }
    };
}

registry! {
    Do: do_::Do,
    Set: set::Set,
    Switch: switch::Switch,
    Raise: raise::Raise,
    Try: try_::Try,
    Wait: wait::Wait,
    Emit: emit::Emit,
    Listen: listen::Listen,
    CallHttp: call_http::CallHttp,
    For: for_::For,
    Fork: fork::Fork,
    CallOpenApi: call_openapi::CallOpenApi,
    CallGrpc: call_grpc::CallGrpc,
    CallAsyncApi: call_asyncapi::CallAsyncApi,
    CallMcp: call_mcp::CallMcp,
    CallA2a: call_a2a::CallA2a,
    CallFunction: call_function::CallFunction,
    RunWorkflow: run::workflow::RunWorkflow,
    RunScript: run::script::RunScript,
    RunShell: run::shell::RunShell,
    RunContainer: run::container::RunContainer,
}

/// What tells a task type from the others in a definition.
#[derive(Debug)]
pub(crate) struct TypeOf {
    pub(crate) key: &'static str,
    pub(crate) kind: Option<&'static str>,
    pub(crate) more_keys: &'static [&'static str],
    pub(crate) not_yet_keys: &'static [&'static str],
    tag: u8,
}

/// Which types a task's keys name.
pub(crate) enum Choice {
    One(&'static TypeOf),
    /// No key of it is a type's.
    None,
    /// Keys of two types.
    Several(&'static str, &'static str),
    /// The key is a type's, but none is of this kind.
    NoSuchKind(&'static str),
}

/// Chooses a task's type by its keys.
pub(crate) fn choose(task: &Node) -> Choice {
    let mut keys: Vec<&'static str> = Vec::new();
    let there = |key: &str| task.get(key).is_some();
    // `for` has a `do` of its own: a key that belongs to another type that is there chooses nothing.
    let belongs = |key: &str| TYPES.iter().any(|of| of.key != key && there(of.key) && of.more_keys.contains(&key));
    for of in TYPES.iter().filter(|of| there(of.key) && !belongs(of.key)) {
        if !keys.contains(&of.key) {
            keys.push(of.key);
        }
    }
    match *keys {
        [] => Choice::None,
        [key] => {
            let of_key = || TYPES.iter().filter(|of| of.key == key);
            let kind = task.get(key).and_then(kind_of);
            let exact = of_key().find(|of| of.kind.is_some() && of.kind == kind);
            exact.or_else(|| of_key().find(|of| of.kind.is_none())).map_or(Choice::NoSuchKind(key), Choice::One)
        }
        [first, second, ..] => Choice::Several(first, second),
    }
}

/// The text of a type's key, or the first key inside of it that is no option.
fn kind_of(own: &Node) -> Option<&str> {
    own.as_str().or_else(|| {
        let is_kind = |name: &&str| TYPES.iter().any(|of| of.kind == Some(*name));
        own.as_map()?.iter().map(|(key, _)| &*key.text).find(is_kind)
    })
}

/// Can't happen: a frame's memory is made by, and read back for, its own task's type.
fn foreign_memory() -> Problem {
    crate::machine::run::broken("the engine mixed up two task types")
}

#[cfg(test)]
mod tests {
    use super::TYPES;

    #[test]
    fn snapshots_tell_every_task_type_from_every_other() {
        let tags: std::collections::BTreeSet<_> = TYPES.iter().map(|of| of.tag).collect();
        assert!(tags.len() == TYPES.len() && tags.iter().all(|tag| (1..250).contains(tag)));
    }
}
