//! A crowd of onboardings on a real broker and Postgres: worker processes, subscribers that see everything, and the checks of
//! what they saw. What comes of each onboarding is computed without the engine.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flagstop_bus::BusConfig;
use flagstop_bus::port::{Bus, Channel, Content, Outgoing, RawMessage, Subscription};
use flagstop_engine::api::Phase;
use flagstop_schemas::{COMMAND_PREFIX, CloudEvent, Data, Validators};
use flagstop_store::StoreConfig;
use flagstop_store::port::{InstanceFilter, Store};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::http::Hr;
use crate::onboarding::{Workload, definition, workload};
use crate::process::{WorkerProcess, run};
use crate::services::{postgres, unique};

/// How long the crowd may take for a step, for each thousand of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ground is prepared, nobody works yet.
pub struct Crowd {
    pub employees: usize,
    workload: Workload,
    hr: Hr,
    bus: Arc<dyn Bus>,
    store: Arc<dyn Store>,
    args: Vec<String>,
    dir: PathBuf,
    seen: Arc<Seen>,
    done: Arc<AtomicBool>,
    followers: Vec<JoinHandle<()>>,
}

/// Everything that subscribers saw, in the order in which they saw it.
#[derive(Default)]
struct Seen {
    status: Mutex<Vec<RawMessage>>,
    out: Mutex<Vec<RawMessage>>,
    dead: Mutex<Vec<RawMessage>>,
}

impl Crowd {
    /// Deploys the onboarding into a schema and under names of its own, and follows all that leaves. Prints the seed.
    pub async fn new(bus_url: &str, employees: usize) -> Self {
        let seed = rand::random::<u64>();
        println!("seed {seed}");
        let hr = Hr::start().await;
        let name = unique("crowd");
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let (definition_file, config_file) = (dir.join("onboarding.yaml"), dir.join("flagstop.toml"));
        std::fs::write(&definition_file, definition(&hr.url)).unwrap();
        std::fs::write(&config_file, format!("[store]\nschema = \"{name}\"\n\n[bus]\nprefix = \"{name}.\"\n")).unwrap();
        let common = ["--config", config_file.to_str().unwrap(), "--store", &postgres()].map(str::to_owned);
        let with = |command: &str, more: &[&str]| {
            let words = std::iter::once(command).chain(common.iter().map(String::as_str)).chain(more.iter().copied());
            let _report = run(&words.collect::<Vec<_>>());
        };
        with("migrate", &[]);
        with("deploy", &[definition_file.to_str().unwrap()]);

        let config = BusConfig { prefix: format!("{name}."), ..BusConfig::default() };
        let bus = flagstop_bus::open(bus_url, &config).await.unwrap();
        bus.prepare(true).await.unwrap();
        let seen = Arc::new(Seen::default());
        let done = Arc::new(AtomicBool::new(false));
        let mut followers = Vec::new();
        for channel in [Channel::Status, Channel::Out, Channel::Dead] {
            let subscription = bus.subscribe(channel).await.unwrap();
            followers.push(tokio::spawn(follow(subscription, channel, seen.clone(), done.clone())));
        }
        let store_config = StoreConfig { schema: name, ..StoreConfig::default() };
        let store = flagstop_store::open(&postgres(), &store_config).await.unwrap();
        let args = common.into_iter().chain(["--bus".to_owned(), bus_url.to_owned()]).collect();
        let workload = workload(employees, seed);
        Self { employees, workload, hr, bus, store, args, dir, seen, done, followers }
    }

    /// Another worker process.
    #[must_use]
    pub fn worker(&self) -> WorkerProcess {
        WorkerProcess::start(&self.args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Sends this share of the messages, from and to a part of 1.
    pub async fn send(&self, from: f64, to: f64) {
        let messages = &self.workload.messages;
        let at = |share: f64| (messages.len() as f64 * share) as usize;
        send(&*self.bus, &messages[at(from)..at(to)]).await;
    }

    /// Waits until so many have completed.
    pub async fn completed(&self, wanted: usize) {
        let start = Instant::now();
        let patience = PATIENCE * u32::try_from(self.employees.div_ceil(1_000)).unwrap();
        loop {
            let census = self.store.census().await.unwrap();
            let count = |phase: Phase| {
                census.instances.iter().filter(|(of, _)| *of == phase as i16).map(|(_, n)| n).sum::<i64>()
            };
            let completed = count(Phase::Completed);
            if usize::try_from(completed).unwrap() >= wanted {
                return;
            }
            if start.elapsed() > patience {
                let open = self
                    .store
                    .list_instances(&InstanceFilter { limit: 10, ..InstanceFilter::default() })
                    .await
                    .unwrap();
                let open: Vec<_> = open.iter().map(|it| (it.id, it.status, it.revision, &it.aside)).collect();
                panic!("{completed} of {} completed; {census:?}; the newest: {open:?}", self.employees);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits for the last event, lets the workers leave, and checks everything: each trigger exactly one instance, each resume
    /// consumed once, streams without gaps that obey their schemas, one key per call, and nothing left but history.
    pub async fn check(self, workers: Vec<WorkerProcess>) {
        let start = Instant::now();
        let patience = PATIENCE * u32::try_from(self.employees.div_ceil(1_000)).unwrap();
        while ends(&self.seen.status.lock().await) < self.employees
            || letters(&self.seen).await.len() < self.workload.junk
        {
            assert!(start.elapsed() < patience, "status events or dead letters are missing");
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        for mut worker in workers {
            worker.signal("TERM");
            assert_eq!(worker.wait(), Some(0), "a drained worker ends with 0");
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        self.done.store(true, Ordering::Relaxed);
        for follower in self.followers {
            follower.await.unwrap();
        }

        let completed = check_status(&self.seen.status.lock().await);
        assert_eq!(completed.len(), self.employees, "each trigger exactly one instance");
        for it in &self.workload.expected {
            let output = &completed[&it.employee];
            assert_eq!(output["hired"], it.hired, "{it:?}");
            assert_eq!(output["employeeId"], it.employee, "{it:?}");
            if it.hired {
                assert_eq!(output["account"], format!("account-of-{}", it.employee), "{it:?}");
            }
        }
        let hired = self.workload.expected.iter().filter(|it| it.hired).map(|it| it.employee.clone()).collect();
        check_emitted(&self.seen.out.lock().await, hired);
        check_calls(&self.hr, self.employees);
        let junk = self.workload.junk;
        assert_eq!(letters(&self.seen).await.len(), junk, "each junk message is one dead letter, and nothing else is");
        assert_eq!(self.store.list_dead_letters(&Default::default()).await.unwrap().len(), junk);
        for ty in ["com.example.background-check.completed", "com.example.employee.hired"] {
            assert_eq!(self.store.parked_of_type(ty, 5).await.unwrap(), [], "each resume was consumed");
        }
        let census = self.store.census().await.unwrap();
        let left = (census.parked, census.mail, census.effects, census.timers_due, census.aside, census.quarantined);
        assert_eq!(left, (0, 0, 0, 0, 0, 0), "nothing is left but history");
        self.bus.close().await;
        std::fs::remove_dir_all(self.dir).unwrap();
    }
}

/// How many instances were seen to complete.
fn ends(seen: &[RawMessage]) -> usize {
    let completed = |message: &RawMessage| {
        let ty = message.headers.iter().find(|(name, _)| name.ends_with("_type")).map(|(_, ty)| ty);
        ty.is_some_and(|ty| ty.ends_with(b"workflow.completed.v1"))
    };
    seen.iter().filter(|message| completed(message)).map(|message| decode(message).id).collect::<HashSet<_>>().len()
}

async fn follow(mut subscription: Box<dyn Subscription>, channel: Channel, seen: Arc<Seen>, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        if let Ok(batch) = tokio::time::timeout(Duration::from_millis(100), subscription.next(500)).await {
            let list = match channel {
                Channel::Status => &seen.status,
                Channel::Out => &seen.out,
                _ => &seen.dead,
            };
            list.lock().await.extend(batch);
        }
    }
}

async fn send(bus: &dyn Bus, messages: &[RawMessage]) {
    let outgoing: Vec<Outgoing> = messages
        .iter()
        .enumerate()
        .map(|(n, message)| Outgoing {
            channel: Channel::In,
            routing_key: "tests".into(),
            order_key: n.to_string(),
            content: Content::Raw(message.clone()),
        })
        .collect();
    for chunk in outgoing.chunks(200) {
        for result in bus.publish(chunk).await {
            result.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn decode(message: &RawMessage) -> CloudEvent {
    flagstop_bus::decode(message, &flagstop_bus::CodecLimits::default()).unwrap()
}

/// Ids of the dead letters, copies aside.
async fn letters(seen: &Seen) -> HashSet<(Vec<u8>, Vec<u8>)> {
    let dead = seen.dead.lock().await;
    let header = |message: &RawMessage, wanted: &str| {
        message.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.to_vec()).unwrap_or_default()
    };
    dead.iter()
        .map(|message| {
            assert!(!header(message, "flagstop-reason").is_empty(), "a letter says why");
            assert!(header(message, "flagstop-code").starts_with(b"FS-"), "a letter has a code");
            (
                header(message, "flagstop-code"),
                [&message.body[..], &header(message, "ce_id"), &header(message, "ce_type")].concat(),
            )
        })
        .collect()
}

/// Schema-valid, without gaps, in order per instance for whoever drops copies by id. Returns the outputs by business key.
fn check_status(seen: &[RawMessage]) -> HashMap<String, serde_json::Value> {
    let validators = Validators::new();
    let mut ids = HashSet::new();
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    let mut outputs = HashMap::new();
    let mut answered = HashMap::new();
    for event in seen.iter().map(decode) {
        if event.ty.starts_with(COMMAND_PREFIX) {
            validators.check_answer(&event).unwrap_or_else(|why| panic!("{} {}: {why}", event.ty, event.id));
            let first = answered.entry(event.extensions["causationid"].to_string()).or_insert_with(|| event.id.clone());
            assert_eq!(*first, event.id, "two answers to one command");
            continue;
        }
        validators.check(&event).unwrap_or_else(|why| panic!("{} {}: {why}", event.ty, event.id));
        if !ids.insert(event.id.clone()) {
            continue;
        }
        let instance = event.subject.clone().unwrap();
        let sequence: u64 = event.extensions["sequence"].as_str().unwrap().parse().unwrap();
        let expected = next.entry(instance.clone()).or_insert(1);
        assert_eq!(sequence, *expected, "{instance}: gap or disorder at {}", event.ty);
        *expected += 1;
        if event.ty.ends_with("workflow.completed.v1") {
            let Data::Json(data) = &event.data else { panic!("{}: no data", event.id) };
            let data: serde_json::Value = serde_json::from_slice(data).unwrap();
            let key = event.extensions["businesskey"].as_str().unwrap().to_owned();
            assert!(outputs.insert(key.clone(), data["output"].clone()).is_none(), "{key} completed twice");
        }
    }
    outputs
}

fn check_emitted(seen: &[RawMessage], hired: HashSet<String>) {
    let by_id: HashMap<String, String> =
        seen.iter().map(decode).map(|event| (event.id, event.subject.unwrap())).collect();
    let employees: HashSet<String> = by_id.values().cloned().collect();
    assert_eq!(by_id.len(), hired.len(), "each emitted event has one id, whenever it is published again");
    assert_eq!(employees, hired);
}

/// Every employee was registered, at least once, always under the same key.
fn check_calls(hr: &Hr, employees: usize) {
    let mut keys: HashMap<String, HashSet<String>> = HashMap::new();
    for asked in hr.asked() {
        keys.entry(asked.body["id"].as_str().unwrap().to_owned()).or_default().insert(asked.key);
    }
    assert_eq!(keys.len(), employees);
    let twice: Vec<_> = keys.iter().filter(|(_, keys)| keys.len() != 1).collect();
    assert!(twice.is_empty(), "one idempotency key per call: {twice:?}");
    let all: HashSet<&String> = keys.values().flatten().collect();
    assert_eq!(all.len(), employees, "no two calls share a key");
}
