//! Signatures only, so that the runtime can be written against them; replaced file by file.
#![allow(missing_docs, unused_variables, clippy::unimplemented)]

use std::sync::Arc;

use bytes::Bytes;
use flagstop_schemas::{CloudEvent, Hash16, InstanceId};

use crate::api::{Effect, Env, Phase, Projection, Reference, Rejected, Stimulus, Transition, Value, WaitReason};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::limits::Limits;

#[derive(Debug)]
pub struct Plan;
#[derive(Debug, Clone)]
pub struct Filter;
#[derive(Debug)]
pub struct Event;
#[derive(Debug, Clone)]
pub struct Instance;
#[derive(Debug, Clone, PartialEq)]
pub struct Problem;
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("FS-EVENT-DATA: {0}")]
pub struct EventError(pub String);
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    #[error("FS-SNAPSHOT-NEWER")]
    Newer { format: u16 },
    #[error("FS-SNAPSHOT-CORRUPT: {0}")]
    Corrupt(String),
}

impl Plan {
    pub fn compile(source: &[u8], limits: &Limits) -> Result<Self, Diagnostics> {
        unimplemented!()
    }
    pub fn warnings(&self) -> &[Diagnostic] {
        unimplemented!()
    }
    pub fn reference(&self) -> &Reference {
        unimplemented!()
    }
    /// `schedule.on`: `one`, or each of `any`.
    pub fn triggers(&self) -> &[Filter] {
        unimplemented!()
    }
    /// The filters of all listens.
    pub fn waits(&self) -> &[Filter] {
        unimplemented!()
    }
    /// The input of an instance that this event starts (`schedule.read`).
    pub fn trigger_input(&self, event: &Event) -> Value {
        unimplemented!()
    }
}

impl Filter {
    pub fn id(&self) -> Hash16 {
        unimplemented!()
    }
    pub fn event_type(&self) -> Option<&str> {
        unimplemented!()
    }
    pub fn accepts(&self, event: &Event) -> bool {
        unimplemented!()
    }
    pub fn keys(&self, event: &Event) -> Vec<Hash16> {
        unimplemented!()
    }
}

impl Event {
    pub fn parse(event: CloudEvent, limits: &Limits) -> Result<Self, EventError> {
        unimplemented!()
    }
    pub fn envelope(&self) -> &CloudEvent {
        unimplemented!()
    }
    pub fn value(&self) -> &Value {
        unimplemented!()
    }
}

impl Problem {
    pub fn to_value(&self) -> Value {
        unimplemented!()
    }
}

impl Instance {
    pub fn new(id: InstanceId, plan: &Plan) -> Self {
        unimplemented!()
    }
    pub fn id(&self) -> InstanceId {
        unimplemented!()
    }
    pub fn phase(&self) -> Phase {
        unimplemented!()
    }
    pub fn business_key(&self) -> Option<&str> {
        unimplemented!()
    }
    pub fn reference(&self) -> &Reference {
        unimplemented!()
    }
    pub fn sequence(&self) -> u64 {
        unimplemented!()
    }
    pub fn input(&self) -> &Value {
        unimplemented!()
    }
    pub fn output(&self) -> Option<&Value> {
        unimplemented!()
    }
    pub fn error(&self) -> Option<&Problem> {
        unimplemented!()
    }
    pub fn context(&self) -> &Value {
        unimplemented!()
    }
    pub fn projection(&self, plan: &Plan) -> Projection {
        unimplemented!()
    }
    pub fn waiting(&self, plan: &Plan) -> Vec<WaitReason> {
        unimplemented!()
    }
    pub fn effects(&self, plan: &Plan, env: &Env<'_>) -> Vec<Effect> {
        unimplemented!()
    }
    /// `None`: nothing is in flight in this slot, or its request can't be rendered any more (a secret was withdrawn);
    /// then give the slot an `EffectOutcome::NoAnswer`, which is refused when the slot is gone.
    pub fn effect(&self, plan: &Plan, slot: i64, env: &Env<'_>) -> Option<Effect> {
        unimplemented!()
    }
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }
    pub fn decode(plan: &Plan, bytes: &[u8]) -> Result<Self, SnapshotError> {
        unimplemented!()
    }
}

pub fn apply(plan: &Plan, instance: &Instance, stimulus: Stimulus, env: &Env<'_>) -> Result<Transition, Rejected> {
    let _ = Arc::new(());
    unimplemented!()
}
