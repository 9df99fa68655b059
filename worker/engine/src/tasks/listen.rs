//! `listen`: waits for an event.
//!
//! What it waits for is fixed when it begins: the values of `expect` are evaluated once and kept, so that the bookmark
//! stays the same whatever happens to the context meanwhile.

use std::sync::Arc;

use flagstop_schemas::{Hash16, StatusKind};

use super::{Outcome, Signal, TaskType};
use crate::api::{Bookmark, Projection, Value, WaitReason};
use crate::event::{Event, ReadAs};
use crate::filter::{Binding, Expect, Filter, FilterOf};
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::Problem;
use crate::snapshot::{Reader, SnapshotError, Stored, Writer};
use crate::value;

/// One event.
#[derive(Debug)]
pub(crate) struct Listen {
    filter: Filter,
    read: ReadAs,
}

/// The awaited values, and the key under which the wait is found; no key: no event can ever fit.
#[derive(Debug, Clone)]
pub(crate) struct Awaiting {
    values: Vec<Value>,
    key: Option<Hash16>,
}

const LISTEN: Keys = Keys { of: "`listen`", known: &["to", "read"], not_yet: &[] };
const TO: Keys = Keys { of: "`listen.to`", known: &["one"], not_yet: &["all", "any", "until"] };

impl TaskType for Listen {
    const KEY: &'static str = "listen";
    const NOT_YET_KEYS: &'static [&'static str] = &["foreach"];
    const TAG: u8 = 8;
    type Memory = Awaiting;

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let node = task.own(Self::KEY);
        compiler.mapping(node, LISTEN)?;
        let read = node.get("read").map_or(Some(ReadAs::Data), |read| compiler.read_as(read));
        let to = compiler.required(node, "to", LISTEN.of)?;
        compiler.mapping(to, TO)?;
        let Some(one) = to.get("one") else {
            if TO.not_yet.iter().all(|key| to.get(key).is_none()) {
                compiler.error(
                    "FS-MISSING-KEY",
                    to,
                    "`listen.to` needs `one`",
                    "write `to: { one: { with: { type: … } } }`",
                );
            }
            return None;
        };
        let filter = Filter::compile(one, FilterOf::Listen, compiler)?;
        compiler.waits_for(filter.clone());
        Some(Self { filter, read: read? })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<(Awaiting, Outcome), Problem> {
        let awaited = |(_, expect): (_, &Expect)| match expect {
            Expect::Constant(constant) => Ok(constant.clone()),
            Expect::Expression(template) => cx.vars().eval(template, cx.input()),
        };
        let values = self.filter.expecting().map(awaited).collect::<Result<Vec<_>, _>>()?;
        let key = self.filter.key(&values);
        cx.correlation(StatusKind::WorkflowCorrelationStarted, None);
        Ok((Awaiting { values, key }, Outcome::Pause))
    }

    fn wake(
        &self,
        awaiting: &mut Awaiting,
        cx: &mut Cx<'_, '_>,
        signal: Signal<'_>,
    ) -> Option<Result<Outcome, Problem>> {
        let Signal::Event { part: 0, event } = signal else { return None };
        let found = self.filter.takes(event, &awaiting.values, &cx.vars())?;
        let names = self.filter.correlations().iter().map(|correlation| correlation.name.clone());
        let keys = (!found.is_empty()).then(|| value::object(names.zip(found)));
        cx.correlation(StatusKind::WorkflowCorrelationCompleted, keys.as_ref());
        Some(Ok(Outcome::Done(self.output(event))))
    }

    fn project(&self, awaiting: &Awaiting, look: &Look<'_>, to: &mut Projection) {
        let since_us = match self.filter.binding() {
            // The key names this instance's own matter: what came before the instance was meant for it too.
            Binding::Bound => None,
            Binding::None | Binding::Open => Some(look.instance.started_us),
        };
        to.bookmarks.extend(awaiting.key.map(|key| Bookmark { key, slot: look.slot(0), since_us }));
    }

    fn wait_reason(&self, awaiting: &Awaiting, look: &Look<'_>) -> Option<WaitReason> {
        let names = self.filter.expecting().map(|(correlation, _)| correlation.name.clone());
        Some(WaitReason {
            task: look.task().pointer.clone(),
            kind: "event",
            what: self.filter.event_type().unwrap_or("any type").to_owned(),
            correlate: names.zip(awaiting.values.iter().map(value::to_json)).collect(),
            since_us: look.frame.started_us,
            until_us: None,
        })
    }
}

impl Listen {
    /// Always an array, however many events were asked for.
    fn output(&self, event: &Arc<Event>) -> Value {
        value::array([event.read(self.read)])
    }
}

impl Stored for Awaiting {
    fn write(&self, to: &mut Writer) {
        self.values.write(to);
        self.key.write(to);
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        Ok(Self { values: Stored::read(from)?, key: Stored::read(from)? })
    }
}
