//! The deployed definitions, compiled, with an index from events to what they may start or resume.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, RwLock};

use flagstop_engine::api::Reference;
use flagstop_engine::schedule::{NewSet, Sets};
use flagstop_engine::{Bundle, Event, Filter, Limits, Plan};
use flagstop_schemas::Hash16;
use flagstop_store::port::Store;
use flagstop_store::port::StoreError;
use flagstop_store::rows::{DefinitionNumber, DefinitionRow};
use tokio_util::sync::CancellationToken;

/// One definition, ready to run.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) number: DefinitionNumber,
    pub(crate) plan: Plan,
    /// When, on the store's clock.
    pub(crate) deployed_us: i64,
}

/// What an event concerns, by the definitions alone.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// Definitions that it starts: the newest version of each name.
    pub(crate) starts: Vec<Arc<Deployed>>,
    /// Open sets that it may go into: of each definition all versions, the newest last.
    pub(crate) feeds: Vec<Feed>,
    /// Keys under which bookmarks may wait for it. Empty: no definition listens.
    pub(crate) keys: Vec<Hash16>,
}

/// A definition that collects events before it starts.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(crate) deployed: Arc<Deployed>,
    /// The row of its open sets under the event's key.
    pub(crate) row: Hash16,
    /// Only the newest version opens sets; the others' go on under the version that opened them.
    pub(crate) new: NewSet,
}

/// All definitions of one catalogue version. Immutable: a new version is a new catalogue.
#[derive(Debug)]
pub(crate) struct Catalogue {
    /// Negative verdicts rest on it (PROTOCOL D5).
    pub(crate) version: i64,
    /// Every deployed definition is compiled. While not, no message may be judged here (PROTOCOL D5, D16).
    pub(crate) whole: bool,
    last: DefinitionNumber,
    by_number: HashMap<DefinitionNumber, Arc<Deployed>>,
    /// Of each name the highest version that takes new triggers.
    newest: HashMap<(String, String), Arc<Deployed>>,
    /// Those that take no new triggers.
    disabled: HashSet<DefinitionNumber>,
    /// Which newest versions an event may start: by constant type, and those without one.
    starts: HashMap<Option<String>, Vec<Arc<Deployed>>>,
    /// Which versions collect an event, newest or not: by constant type, and those without one.
    collects: HashMap<Option<String>, Vec<Arc<Deployed>>>,
    /// All distinct listen filters of all versions: by constant type, and those without one.
    waits: HashMap<Option<String>, Vec<(DefinitionNumber, usize)>>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            version: 0,
            whole: true,
            last: 0,
            by_number: HashMap::new(),
            newest: HashMap::new(),
            disabled: HashSet::new(),
            starts: HashMap::new(),
            collects: HashMap::new(),
            waits: HashMap::new(),
        }
    }
}

impl Catalogue {
    pub(crate) fn by_number(&self, number: DefinitionNumber) -> Option<&Arc<Deployed>> {
        self.by_number.get(&number)
    }

    /// The version that takes new triggers: the highest that is enabled, or the one that is asked for.
    pub(crate) fn named(&self, namespace: &str, name: &str, version: Option<&str>) -> Option<&Arc<Deployed>> {
        match version {
            None => self.newest.get(&(namespace.to_owned(), name.to_owned())),
            // `flagstop dev` deploys what was saved again under a version as that version's revisions, `VERSION+dev.N`.
            Some(version) => {
                let means = |it: &Reference| {
                    let it = it.version.to_string();
                    let rest = it.strip_prefix(version);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("+dev.") || rest.starts_with(".dev."))
                };
                let of_name = self.by_number.values().filter(|deployed| {
                    let it = deployed.plan.reference();
                    it.namespace == namespace && it.name == name && means(it)
                });
                of_name.max_by(|a, b| a.plan.reference().version.cmp(&b.plan.reference().version))
            }
        }
    }

    /// Newest versions that the clock starts.
    pub(crate) fn timed(&self) -> impl Iterator<Item = &Arc<Deployed>> {
        self.newest.values().filter(|deployed| !deployed.plan.schedule().timed().is_empty())
    }

    /// Whether a version takes no new triggers.
    pub(crate) fn is_disabled(&self, number: DefinitionNumber) -> bool {
        self.disabled.contains(&number)
    }

    fn is_newest(&self, deployed: &Deployed) -> bool {
        let it = deployed.plan.reference();
        self.named(&it.namespace, &it.name, None).is_some_and(|newest| newest.number == deployed.number)
    }

    /// The distinct names, for hints.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.newest.keys().map(|(namespace, name)| format!("{namespace}/{name}"))
    }

    pub(crate) fn route(&self, event: &Event) -> Route {
        let mut route = Route::default();
        let of_type = Some(event.envelope().ty.clone());
        for deployed in both(&self.starts, &of_type) {
            if deployed.plan.triggers().iter().any(|filter| filter.accepts(event)) {
                route.starts.push(deployed.clone());
            }
        }
        route.starts.sort_by_key(|d| d.number);
        route.starts.dedup_by_key(|d| d.number);
        route.feeds = self.feeds(event, &of_type);
        for &(number, index) in both(&self.waits, &of_type) {
            route.keys.extend(self.filter(number, index).keys(event));
        }
        route.keys.sort_unstable();
        route.keys.dedup();
        route
    }

    fn feeds(&self, event: &Event, of_type: &Option<String>) -> Vec<Feed> {
        let mut collecting: Vec<&Arc<Deployed>> = both(&self.collects, of_type).collect();
        collecting.sort_by_key(|deployed| (deployed.plan.reference(), deployed.number));
        collecting.dedup_by_key(|deployed| deployed.number);
        let feed = |deployed: &Arc<Deployed>| {
            let key = deployed.plan.schedule().sets()?.key(event)?;
            let parts = [&deployed.number.to_be_bytes()[..], key.0.as_bytes()];
            let new = if self.is_newest(deployed) { NewSet::Open } else { NewSet::Refuse };
            Some(Feed { deployed: deployed.clone(), row: Hash16::of("flagstop/open-sets/row", &parts), new })
        };
        collecting.into_iter().filter_map(feed).collect()
    }

    fn filter(&self, number: DefinitionNumber, index: usize) -> &Filter {
        &self.by_number[&number].plan.waits()[index]
    }

    fn extended(
        &self,
        version: i64,
        rows: Vec<DefinitionRow>,
        disabled: HashSet<DefinitionNumber>,
        limits: &Limits,
    ) -> Self {
        let mut next = Self {
            version,
            whole: self.whole,
            last: self.last,
            by_number: self.by_number.clone(),
            newest: HashMap::new(),
            disabled,
            starts: HashMap::new(),
            collects: self.collects.clone(),
            waits: self.waits.clone(),
        };
        for row in rows {
            next.last = next.last.max(row.number);
            let bundle = Bundle::decode(&row.bundle).unwrap_or_else(|why| {
                // What it lacks then, its tasks fault with; the definition itself still compiles.
                tracing::error!(name = row.name, version = row.version, "{why}");
                Bundle::default()
            });
            match Plan::compile_with(&row.source, &bundle, limits) {
                Ok(plan) => next.add(Arc::new(Deployed { number: row.number, plan, deployed_us: row.deployed_us })),
                Err(why) => {
                    next.whole = false;
                    tracing::error!(
                        namespace = row.namespace,
                        name = row.name,
                        version = row.version,
                        "this build can't compile a deployed definition and takes no messages any more; use the build that deployed it: {}",
                        why.render(&row.name, &String::from_utf8_lossy(&row.source))
                    );
                }
            }
        }
        next.newest = next.find_newest();
        for deployed in next.newest.values() {
            for filter in deployed.plan.triggers() {
                next.starts.entry(filter.event_type().map(str::to_owned)).or_default().push(deployed.clone());
            }
        }
        next
    }

    fn add(&mut self, deployed: Arc<Deployed>) {
        let known: Vec<Hash16> =
            self.waits.values().flatten().map(|&(number, index)| self.filter(number, index).id()).collect();
        for (index, filter) in deployed.plan.waits().iter().enumerate() {
            let earlier = &deployed.plan.waits()[..index];
            if !known.contains(&filter.id()) && !earlier.iter().any(|f| f.id() == filter.id()) {
                self.waits.entry(filter.event_type().map(str::to_owned)).or_default().push((deployed.number, index));
            }
        }
        for filter in deployed.plan.schedule().sets().into_iter().flat_map(Sets::filters) {
            self.collects.entry(filter.event_type().map(str::to_owned)).or_default().push(deployed.clone());
        }
        self.by_number.insert(deployed.number, deployed);
    }
}

impl Catalogue {
    fn find_newest(&self) -> HashMap<(String, String), Arc<Deployed>> {
        let mut newest: HashMap<(String, String), Arc<Deployed>> = HashMap::new();
        for deployed in self.by_number.values().filter(|deployed| !self.is_disabled(deployed.number)) {
            let it = deployed.plan.reference();
            let best = newest.entry((it.namespace.clone(), it.name.clone())).or_insert_with(|| deployed.clone());
            if best.plan.reference().version < it.version {
                *best = deployed.clone();
            }
        }
        newest
    }
}

/// What is listed under a type, and what is listed under none.
fn both<'a, T>(index: &'a HashMap<Option<String>, Vec<T>>, of_type: &Option<String>) -> impl Iterator<Item = &'a T> {
    index.get(of_type).into_iter().chain(index.get(&None)).flatten()
}

/// The current catalogue, shared by all loops.
#[derive(Debug, Default)]
pub(crate) struct Catalogues {
    current: RwLock<Arc<Catalogue>>,
    /// A deployed definition can't be compiled here. That stays so: only another build can.
    pub(crate) outdated: CancellationToken,
    refreshing: tokio::sync::Mutex<()>,
}

impl Catalogues {
    pub(crate) fn current(&self) -> Arc<Catalogue> {
        self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Brings the catalogue at least to `version`. Compiling happens once, whoever asks first.
    pub(crate) async fn refresh(&self, store: &dyn Store, version: i64, limits: &Limits) -> Result<(), StoreError> {
        let _one = self.refreshing.lock().await;
        let old = self.current();
        if old.version >= version {
            return Ok(());
        }
        let (version, rows) = store.definitions(old.last).await?;
        // Read after the version: at least as new.
        let disabled = store.disabled().await?.into_iter().collect();
        let limits = limits.clone();
        let next = tokio::task::spawn_blocking(move || old.extended(version, rows, disabled, &limits))
            .await
            .map_err(|e| StoreError::Failed(format!("compiling the definitions failed: {e}")))?;
        if !next.whole {
            self.outdated.cancel();
        }
        tracing::info!(version, definitions = next.by_number.len(), "catalogue refreshed");
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(next);
        Ok(())
    }
}

/// The row under which a definition that names nothing elsewhere is deployed; the store sets its number.
#[must_use]
pub fn definition_row(plan: &Plan, source: &[u8]) -> DefinitionRow {
    bundled_row(plan, source, &Bundle::default())
}

/// The row under which a definition is deployed with the documents that it names (PROTOCOL D6).
#[must_use]
pub fn bundled_row(plan: &Plan, source: &[u8], bundle: &Bundle) -> DefinitionRow {
    let reference = plan.reference();
    DefinitionRow {
        number: 0,
        namespace: reference.namespace.clone(),
        name: reference.name.clone(),
        version: reference.version.to_string(),
        content: match bundle.is_empty() {
            true => Hash16::of("flagstop/definition", &[source]),
            false => Hash16::of("flagstop/definition", &[source, bundle.fingerprint().0.as_bytes()]),
        },
        source: bytes::Bytes::copy_from_slice(source),
        bundle: if bundle.is_empty() { bytes::Bytes::new() } else { bundle.encode() },
        deployed_us: 0,
        enabled: true,
    }
}
