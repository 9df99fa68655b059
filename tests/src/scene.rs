//! Definitions, workers and instances on a real Postgres with a bus in the test's hands: what a test tells its workers, and
//! what became of it.

use std::sync::Arc;

use flagstop_engine::api::Phase;
use flagstop_engine::{Instance, Limits, Plan, value};
use flagstop_runtime::{Options, Order, Secrets, Worker, definition_row};
use flagstop_schemas::{CloudEvent, InstanceId};
use flagstop_store::StoreConfig;
use flagstop_store::port::{Aside, Batch, Group, InstanceFilter, Store, Verdict};
use flagstop_store::rows::InstanceSummary;
use serde_json::{Value, json};

use crate::hand_bus::HandBus;
use crate::onboarding::event;
use crate::services::{eventually, fresh_postgres, postgres};

/// Hears one event of its own number, then ends with it.
pub const WAITS: &str = r"
document: { dsl: '1.0.3', namespace: t, name: waits, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } }, read: data }
input: { from: '.[0]' }
do:
  - hear:
      listen:
        to:
          one:
            with: { type: t.go }
            correlate: { n: { from: .data.n, expect: '${ .n }' } }
        read: envelope
      output: { as: '{ heard: [.[].id] }' }
";

/// A store with some definitions.
pub struct Scene {
    pub store: Arc<dyn Store>,
    pub config: StoreConfig,
    pub plans: Vec<(i32, Plan)>,
}

impl Scene {
    pub async fn new(definitions: &[&str]) -> Self {
        let (store, config) = fresh_postgres("durable").await;
        let mut scene = Self { store, config, plans: Vec::new() };
        for text in definitions {
            scene.deploy(text).await;
        }
        scene
    }

    pub async fn deploy(&mut self, text: &str) {
        let compile = || Plan::compile(text.as_bytes(), &Limits::default()).unwrap();
        let rows = self.store.deploy(&[definition_row(&compile(), text.as_bytes())]).await.unwrap();
        self.plans.push((rows[0].number, compile()));
    }

    pub async fn worker(&self, options: Options) -> (Worker, Arc<HandBus>) {
        let store = flagstop_store::open(&postgres(), &self.config).await.unwrap();
        let bus = Arc::new(HandBus::default());
        (Worker::start(store, bus.clone(), options, Secrets::none()).await.unwrap(), bus)
    }

    pub async fn all(&self) -> Vec<InstanceSummary> {
        self.store.list_instances(&InstanceFilter::default()).await.unwrap()
    }

    pub async fn phase(&self, id: InstanceId) -> Option<Phase> {
        let summary = self.store.instance(id).await.unwrap()?;
        Some(Phase::try_from(summary.status).unwrap())
    }

    pub async fn becomes(&self, id: InstanceId, phase: Phase) {
        eventually(&format!("{id} is {phase:?}"), async || self.phase(id).await == Some(phase)).await;
    }

    pub async fn instance(&self, id: InstanceId) -> Instance {
        let summary = self.store.instance(id).await.unwrap().unwrap();
        let (_, plan) = self.plans.iter().find(|(number, _)| *number == summary.definition).unwrap();
        let values = self.store.large_values(id).await.unwrap();
        let mut find = |hash| values.iter().find(|value| value.hash == hash).map(|value| value.bytes.clone());
        Instance::decode_split(plan, &summary.state, &mut find).unwrap()
    }

    pub async fn output(&self, id: InstanceId) -> Value {
        self.becomes(id, Phase::Completed).await;
        value::to_serde(self.instance(id).await.output().unwrap())
    }

    /// Sets an instance aside, as if it had killed workers.
    pub async fn set_aside(&self, instance: InstanceId) {
        let aside = Some(Aside { instance, reason: Some("it killed workers".into()) });
        let batch = Batch { worker: None, groups: vec![Group { aside, ..Group::default() }] };
        assert_eq!(self.store.commit(&batch).await.unwrap(), [Verdict::Applied]);
    }

    /// Why an instance is set aside, if it is.
    pub async fn aside(&self, id: InstanceId) -> Option<String> {
        self.store.instance(id).await.unwrap().unwrap().aside
    }

    pub async fn tell(&self, id: InstanceId, order: Order) {
        flagstop_runtime::tell(&*self.store, id, 0, order).await.unwrap();
    }
}

pub fn started(id: &str, name: &str) -> InstanceId {
    InstanceId::of_trigger("/tests", id, "t", name)
}

pub fn start(id: &str, n: u32) -> CloudEvent {
    event(id, "t.start", &json!({ "n": n }))
}

pub fn go(id: &str, n: u32) -> CloudEvent {
    event(id, "t.go", &json!({ "n": n, "id": id }))
}

pub fn command(id: &str, verb: &str, to: InstanceId, data: &Value) -> CloudEvent {
    let ty = format!("io.flagstop.command.{verb}.v1");
    CloudEvent { subject: Some(to.to_string()), ..event(id, &ty, data) }
}
