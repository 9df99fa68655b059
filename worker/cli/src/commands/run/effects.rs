//! The side effects of a run, carried out for real.

use std::collections::HashMap;
use std::sync::Arc;

use flagstop_effects::http::{Client, Http};
use flagstop_effects::process::Processes;
use flagstop_engine::api::{Effect, EffectOutcome, Request};
use flagstop_schemas::InstanceId;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// An effect that has ended: whose, which, how.
pub type Answer = (InstanceId, i64, EffectOutcome);

/// Effects in flight, and how to begin more.
pub struct Effects {
    http: Arc<Http>,
    client: Arc<Client>,
    processes: Arc<Processes>,
    in_flight: HashMap<(InstanceId, i64), AbortHandle>,
    to: mpsc::UnboundedSender<Answer>,
    from: mpsc::UnboundedReceiver<Answer>,
}

impl Effects {
    /// None in flight.
    pub fn new((http, client): (Http, Client), processes: Processes) -> Self {
        // Bounded by the effects in flight, which the workflow's own branches bound.
        let (to, from) = mpsc::unbounded_channel();
        let (http, client, processes) = (Arc::new(http), Arc::new(client), Arc::new(processes));
        Self { http, client, processes, in_flight: HashMap::new(), to, from }
    }

    /// Begins an effect.
    pub fn begin(&mut self, instance: InstanceId, effect: Effect) {
        let (http, client, processes) = (self.http.clone(), self.client.clone(), self.processes.clone());
        let (to, slot) = (self.to.clone(), effect.slot);
        let task = tokio::spawn(async move {
            let outcome = match effect.request {
                Request::Http(request) => http.call(&*client, &request).await,
                Request::Process(request) => processes.run(&request).await,
            };
            // Nobody listens any more when the run is over.
            let _over = to.send((instance, slot, outcome));
        });
        self.in_flight.insert((instance, slot), task.abort_handle());
    }

    /// Gives an effect up.
    pub fn drop_effect(&mut self, instance: InstanceId, slot: i64) {
        if let Some(task) = self.in_flight.remove(&(instance, slot)) {
            task.abort();
        }
    }

    /// Whether none is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// The next one that ends. To be asked only while some are in flight.
    pub async fn next(&mut self) -> Answer {
        loop {
            let Some((instance, slot, outcome)) = self.from.recv().await else { return std::future::pending().await };
            // One that was given up may have sent its answer before.
            if self.in_flight.remove(&(instance, slot)).is_some() {
                return (instance, slot, outcome);
            }
        }
    }
}
