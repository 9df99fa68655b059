//! Reads instances out of the store, with the definitions that their snapshots need.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use flagstop_engine::api::{Difference, Phase, WaitReason};
use flagstop_engine::{Bundle, Event, Instance, Limits, Plan};
use flagstop_schemas::{CloudEvent, InstanceId};
use flagstop_store::port::{InstanceFilter, LoadRequest, Store};
use flagstop_store::rows::{DefinitionNumber, DefinitionRow, InstanceSummary, Quarantined};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::exit::{Exit, Failure};
use crate::time::rfc3339;

/// How many of the newest instances an abbreviated id is looked up in.
const RECENT: i64 = 1_000;

/// All phases, with the names that people and programs see.
pub const PHASES: [(Phase, &str); 7] = [
    (Phase::Pending, "pending"),
    (Phase::Running, "running"),
    (Phase::Waiting, "waiting"),
    (Phase::Suspended, "suspended"),
    (Phase::Cancelled, "cancelled"),
    (Phase::Faulted, "faulted"),
    (Phase::Completed, "completed"),
];

/// The deployed definitions, compiled when an instance needs them.
pub struct Definitions {
    rows: HashMap<DefinitionNumber, DefinitionRow>,
    plans: HashMap<DefinitionNumber, Option<Arc<Plan>>>,
    quarantined: Option<HashMap<InstanceId, Quarantined>>,
}

/// One instance as a command shows it.
pub struct Record {
    /// What the store knows.
    pub summary: InstanceSummary,
    /// `namespace`, `name`, `version`
    pub reference: [String; 3],
    /// What the engine knows, unless this build can't read the snapshot.
    pub instance: Option<Instance>,
    /// What it waits for.
    pub waiting: Vec<WaitReason>,
    /// Its events are held back.
    pub quarantined: Option<Quarantined>,
    /// Its definition, unless this build can't read that.
    plan: Option<Arc<Plan>>,
}

impl Definitions {
    /// Reads all definitions.
    pub async fn load(store: &Arc<dyn Store>) -> Result<Self, Failure> {
        let (_, rows) = store.definitions(0).await?;
        Ok(Self {
            rows: rows.into_iter().map(|row| (row.number, row)).collect(),
            plans: HashMap::new(),
            quarantined: None,
        })
    }

    /// The numbers of a definition's versions: `namespace/name`, or one version of it, `namespace/name@version`.
    pub fn numbers(&self, text: &str) -> Result<Vec<DefinitionNumber>, Failure> {
        let (name, version) = text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)));
        let is_meant = |row: &&DefinitionRow| {
            format!("{}/{}", row.namespace, row.name) == name && version.is_none_or(|wanted| wanted == row.version)
        };
        let numbers: Vec<DefinitionNumber> = self.rows.values().filter(is_meant).map(|row| row.number).collect();
        if numbers.is_empty() {
            let what = format!("there is no definition `{text}`");
            let hint = "give `namespace/name` or `namespace/name@version`; `flagstop definitions list` shows them";
            return Err(Failure::new(Exit::NotFound, "FS-DEFINITION-UNKNOWN", what, hint));
        }
        Ok(numbers)
    }

    /// Reads an instance's snapshot, with the large values that it refers to.
    pub async fn record(&mut self, store: &Arc<dyn Store>, summary: InstanceSummary) -> Result<Record, Failure> {
        let number = summary.definition;
        let reference = match self.rows.get(&number) {
            Some(row) => [row.namespace.clone(), row.name.clone(), row.version.clone()],
            None => ["?", "?", "?"].map(str::to_owned),
        };
        let plan = self.plan(number);
        let refers = Instance::large_values(&summary.state).is_ok_and(|large| !large.is_empty());
        let values = if refers { store.large_values(summary.id).await? } else { Vec::new() };
        let mut find = |hash| values.iter().find(|value| value.hash == hash).map(|value| value.bytes.clone());
        let read = |plan: &Arc<Plan>| Instance::decode_split(plan, &summary.state, &mut find).ok();
        let instance = plan.as_ref().and_then(read);
        let waiting = match (&plan, &instance) {
            (Some(plan), Some(instance)) => instance.waiting(plan),
            _ => Vec::new(),
        };
        let quarantined = self.quarantined(store).await?.get(&summary.id).cloned();
        Ok(Record { summary, reference, instance, waiting, quarantined, plan })
    }

    /// The streams that are set aside, read once: there are few, and mostly none.
    async fn quarantined(&mut self, store: &Arc<dyn Store>) -> Result<&HashMap<InstanceId, Quarantined>, Failure> {
        if self.quarantined.is_none() {
            let streams = store.quarantined(None).await?;
            self.quarantined = Some(streams.into_iter().map(|stream| (stream.instance, stream)).collect());
        }
        Ok(self.quarantined.get_or_insert_default())
    }

    fn plan(&mut self, number: DefinitionNumber) -> Option<Arc<Plan>> {
        let row = self.rows.get(&number)?;
        let compile = || {
            let bundle = Bundle::decode(&row.bundle).ok()?;
            Plan::compile_with(&row.source, &bundle, &Limits::default()).ok().map(Arc::new)
        };
        self.plans.entry(number).or_insert_with(compile).clone()
    }
}

impl Record {
    /// `namespace/name version`
    pub fn definition(&self) -> String {
        let [namespace, name, version] = &self.reference;
        format!("{namespace}/{name} {version}")
    }

    /// Where an event differs from what one of its tasks awaits, as far as that can be told.
    pub fn differences(&self, task: &str, event: &CloudEvent) -> Vec<Difference> {
        let (Some(plan), Some(instance)) = (&self.plan, &self.instance) else { return Vec::new() };
        let event = Event::parse(event.clone(), &Limits::default());
        event.ok().and_then(|event| instance.differences(plan, task, &event)).unwrap_or_default()
    }

    /// Its phase's name.
    pub fn status(&self) -> &'static str {
        status(self.summary.status)
    }

    /// Its entry in a list.
    pub fn json(&self) -> Value {
        let [namespace, name, version] = &self.reference;
        let mut json = json!({
            "id": self.summary.id.to_string(),
            "namespace": namespace,
            "name": name,
            "version": version,
            "businessKey": self.summary.business_key,
            "status": self.status(),
            "revision": self.summary.revision,
            "createdAt": rfc3339(self.summary.created_us),
            "updatedAt": rfc3339(self.summary.updated_us),
            "endedAt": self.summary.ended_us.map(rfc3339),
            "parent": self.summary.parent.map(|id| id.to_string()),
            "waitingFor": self.waiting.iter().map(waiting_json).collect::<Vec<_>>(),
        });
        if let Some(reason) = &self.summary.aside {
            json["setAside"] = reason.as_str().into();
        }
        if let Some(stream) = &self.quarantined {
            json["eventsHeldBack"] = stream.reason.as_str().into();
        }
        json
    }
}

/// A wait for programs.
fn waiting_json(wait: &WaitReason) -> Value {
    json!({ "task": wait.task, "kind": wait.kind, "what": wait.what })
}

/// A wait for people: `event com.example.x with employeeId "e-1"`.
pub fn waiting_text(wait: &WaitReason) -> String {
    let keys: Vec<String> = wait.correlate.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let with = if keys.is_empty() { String::new() } else { format!(" with {}", keys.join(", ")) };
    format!("{} {}{with}", wait.kind, wait.what)
}

/// A phase number's name.
pub fn status(number: i16) -> &'static str {
    PHASES.iter().find(|(phase, _)| *phase as i16 == number).map_or("unknown", |(_, name)| name)
}

/// Finds one instance by its id, by the beginning of it (among the newest), or by its business key.
pub async fn find(store: &Arc<dyn Store>, text: &str) -> Result<Record, Failure> {
    let mut definitions = Definitions::load(store).await?;
    let summary = find_summary(store, text).await?;
    definitions.record(store, summary).await
}

/// The id of one that is found so.
pub async fn find_id(store: &Arc<dyn Store>, text: &str) -> Result<InstanceId, Failure> {
    Ok(find_summary(store, text).await?.id)
}

async fn find_summary(store: &Arc<dyn Store>, text: &str) -> Result<InstanceSummary, Failure> {
    let summary = match Uuid::parse_str(text) {
        Ok(id) => store.instance(InstanceId(id)).await?,
        Err(_) => {
            let may_begin_an_id = !text.is_empty() && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            let filter = InstanceFilter { limit: RECENT, ..InstanceFilter::default() };
            let all = if may_begin_an_id { store.list_instances(&filter).await? } else { Vec::new() };
            let mut fitting = all.into_iter().filter(|i| i.id.to_string().starts_with(text));
            let first = fitting.next();
            if fitting.next().is_some() {
                let what = format!("several instances begin with `{text}`");
                return Err(Failure::new(Exit::Invalid, "FS-INSTANCE-ID", what, "give more of the id"));
            }
            match first {
                Some(first) => Some(first),
                None => by_business_key(store, text).await?,
            }
        }
    };
    summary.ok_or_else(|| unknown(text))
}

/// The one with this business key: of several the one that has not ended, if there is only one such.
async fn by_business_key(store: &Arc<dyn Store>, key: &str) -> Result<Option<InstanceSummary>, Failure> {
    if let Some(alive) = alive_by_business_key(store, key).await? {
        return Ok(Some(alive));
    }
    let filter = InstanceFilter { business_key: Some(key.to_owned()), limit: RECENT, ..InstanceFilter::default() };
    let mut all = store.list_instances(&filter).await?;
    if all.len() > 1 {
        all.retain(|summary| summary.ended_us.is_none());
        if all.len() != 1 {
            let what = format!("several instances have the business key `{key}`");
            let hint = format!("give the id; `flagstop instances list --business-key {key}` shows them");
            return Err(Failure::new(Exit::Invalid, "FS-INSTANCE-ID", what, hint));
        }
    }
    Ok(all.pop())
}

/// The one that has not ended, if there is only one such: found as a command finds it, without looking through all instances.
async fn alive_by_business_key(store: &Arc<dyn Store>, key: &str) -> Result<Option<InstanceSummary>, Failure> {
    let (_, rows) = store.definitions(0).await?;
    let keys: BTreeSet<_> =
        rows.iter().map(|row| flagstop_runtime::business_hash(&row.namespace, &row.name, key)).collect();
    let request = LoadRequest { keys: keys.into_iter().collect(), ..LoadRequest::default() };
    let hits: BTreeSet<InstanceId> = store.load(&request).await?.hits.iter().map(|hit| hit.instance).collect();
    let mut alive = Vec::new();
    for id in hits {
        let summary = store.instance(id).await?;
        alive.extend(summary.filter(|it| it.ended_us.is_none() && it.business_key.as_deref() == Some(key)));
    }
    Ok(if alive.len() == 1 { alive.pop() } else { None })
}

/// There is no such instance.
pub fn unknown(text: &str) -> Failure {
    let hint =
        "`flagstop instances list` shows ids and business keys; an abbreviated id is found among the newest 1,000 only";
    Failure::new(Exit::NotFound, "FS-INSTANCE-UNKNOWN", format!("there is no instance `{text}`"), hint)
}
