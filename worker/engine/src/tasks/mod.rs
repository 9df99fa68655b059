//! The task types: each in one file with its model, its checks, its memory and its steps side by side.
//!
//! A new type is a new file and one line in [`registry!`]. What all tasks share (`if`, input, schemas, output, export,
//! `then`, events) is not here but around them, in [`crate::machine`]; a type never touches another task's run.

mod call_http;
mod do_;
mod emit;
mod listen;
mod raise;
mod set;
mod switch;
mod try_;
mod wait;

pub(crate) use raise::check_error;

use std::sync::Arc;

use crate::api::{EffectOutcome, Env, Projection, Request, Value, WaitReason};
use crate::event::Event;
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::{BlockIndex, Then};
use crate::problem::Problem;
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};

/// What a task type decides in one of its steps.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is done, with this raw output.
    Done(Value),
    /// It is done and goes on by this directive instead of its own `then`.
    Go(Value, Then),
    /// It runs a list of tasks, with this raw input for the first.
    List(BlockIndex, Value),
    /// It waits for what its memory projects.
    Pause,
}

/// What a paused task can be woken by. `part` tells which of its slots.
#[derive(Debug)]
pub(crate) enum Signal<'a> {
    Event { part: u16, event: &'a Arc<Event> },
    Timer { part: u16 },
    Effect { part: u16, outcome: EffectOutcome },
}

/// One task type. A step that fails gives the problem; the core adds the task's pointer.
pub(crate) trait TaskType: Sized + std::fmt::Debug {
    /// The key that makes a task one of this type.
    const KEY: &'static str;
    /// The type's keys beside `KEY` and those that all tasks have.
    const MORE_KEYS: &'static [&'static str] = &[];
    /// Keys that the specification gives the type and this build does not.
    const NOT_YET_KEYS: &'static [&'static str] = &[];
    /// Stands for the type in snapshots: never changes, never 0.
    const TAG: u8;
    /// What a run remembers while it is live.
    type Memory: Stored + Clone + std::fmt::Debug;

    /// The model, or `None` after having reported what is wrong.
    fn compile(node: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self>;

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

        /// The keys that choose a type.
        pub(crate) const TYPE_KEYS: &[&str] = &[$(<$type>::KEY,)*];

        /// The keys of the type that `key` chooses, beside those that all tasks have.
        pub(crate) fn keys_of(key: &str) -> Option<&'static [&'static str]> {
            $(if key == <$type>::KEY { return Some(<$type>::MORE_KEYS); })*
            None
        }

        /// The keys of the type that `key` chooses which this build does not know yet.
        pub(crate) fn keys_not_yet(key: &str) -> &'static [&'static str] {
            $(if key == <$type>::KEY { return <$type>::NOT_YET_KEYS; })*
            &[]
        }

        /// The model of the type that `key` chooses.
        pub(crate) fn compile(key: &str, node: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Kind> {
            $(if key == <$type>::KEY { return <$type>::compile(node, compiler).map(Kind::$variant); })*
            None
        }

        impl Kind {
            pub(crate) fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Memory, Outcome), Problem> {
                match self {
                    $(Self::$variant(kind) => {
                        kind.enter(cx).map(|(memory, outcome)| (Memory::$variant(memory), outcome))
                    })*
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

            /// Reads what a run of this type remembered; `tag` was already taken.
            pub(crate) fn read_memory(&self, tag: u8, from: &mut Reader<'_>) -> Result<Memory, SnapshotError> {
                match self {
                    $(Self::$variant(_) if tag == <$type>::TAG => Stored::read(from).map(Memory::$variant),)*
                    _ => Err(SnapshotError::corrupt("a frame's memory is of another task type")),
                }
            }
        }

        /// The tags of all types, for the test that no two are the same.
        #[cfg(test)]
        const TAGS: &[u8] = &[$(<$type>::TAG,)*];

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
}

/// Can't happen: a frame's memory is made by, and read back for, its own task's type.
fn foreign_memory() -> Problem {
    crate::machine::run::broken("the engine mixed up two task types")
}

#[cfg(test)]
mod tests {
    use super::{TAGS, TYPE_KEYS};

    #[test]
    fn snapshots_tell_every_task_type_from_every_other() {
        let tags: std::collections::BTreeSet<_> = TAGS.iter().collect();
        assert!(tags.len() == TYPE_KEYS.len() && !tags.contains(&0));
    }
}
