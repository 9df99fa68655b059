//! `flagstop instances cancel`, `suspend`, `continue`, `retry`, `rerun`: an order goes into the instance's mailbox, and a worker
//! carries it out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use flagstop_engine::api::Phase;
use flagstop_runtime::Order;
use flagstop_schemas::InstanceId;
use flagstop_store::port::{LoadRequest, Store};
use flagstop_store::rows::InstanceSummary;
use serde_json::json;

use super::read::{self, Record};
use crate::args::Output;
use crate::exit::{Exit, Failure};

/// Pause between two looks whether the order is carried out.
const LOOK: Duration = Duration::from_millis(100);

/// `ID [--wait SECONDS]`
#[derive(Debug, Args)]
pub struct To {
    /// The instance's id, its beginning (of a recent one), or its business key
    pub(super) id: String,
    /// How long to wait until a worker has carried it out, in seconds; 0: not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(super) wait: u32,
}

impl To {
    /// Writes the order and waits until it is carried out.
    pub async fn run(&self, store: &Arc<dyn Store>, order: Order, output: Output) -> Result<String, Failure> {
        let record = read::find(store, &self.id).await?;
        refuse(&record, order)?;
        let (id, definition) = (record.summary.id, record.summary.definition);
        flagstop_runtime::tell(&**store, id, definition, order).await?;
        let drained = self.drained(store, id, verb(order)).await?;
        let before = record.summary;
        let record = read::find(store, &id.to_string()).await?;
        let status = record.status();
        if drained && !carried_out(&before, &record.summary, order) {
            let what =
                format!("a worker took the order to {} instance {id} and refused it: it is {status}", verb(order));
            return Err(Failure::new(Exit::Failed, "FS-ORDER-REFUSED", what, refused_hint(order)));
        }
        Ok(match output {
            Output::Table if drained => format!("{id}  {status}"),
            Output::Table => format!("{id}  told to {}", verb(order)),
            Output::Json => {
                json!({ "id": id.to_string(), "order": verb(order), "carriedOut": drained, "status": status })
                    .to_string()
            }
        })
    }
}

impl To {
    /// Starts it again as a new instance, and waits until that is there.
    pub async fn rerun(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        let ended = read::find(store, &self.id).await?;
        let (id, definition) = (ended.summary.id, ended.summary.definition);
        if Phase::try_from(ended.summary.status).is_ok_and(|phase| !phase.has_ended()) {
            let what = format!("instance {id} is {}", ended.status());
            let hint = "only what has ended is run again; `cancel` ends it";
            return Err(Failure::new(Exit::Failed, "FS-INSTANCE-PHASE", what, hint));
        }
        let again = flagstop_runtime::rerun(&**store, id, definition).await?;
        let drained = self.drained(store, id, "rerun").await?;
        if drained && store.instance(again).await?.is_none() {
            let what = format!("instance {id} was not run again: a worker refused it");
            let hint = "the worker's log and `flagstop dead-letters list` say why; its definition may be disabled";
            return Err(Failure::new(Exit::Failed, "FS-INSTANCE-RERUN", what, hint));
        }
        Ok(match output {
            Output::Table => again.to_string(),
            Output::Json => {
                json!({ "id": again.to_string(), "rerunOf": id.to_string(), "carriedOut": drained }).to_string()
            }
        })
    }

    /// Waits until the instance's mailbox is empty. `false`: nobody asked to wait so long.
    async fn drained(&self, store: &Arc<dyn Store>, id: InstanceId, verb: &str) -> Result<bool, Failure> {
        let until = Instant::now() + Duration::from_secs(self.wait.into());
        loop {
            let request = LoadRequest { instances: vec![id], ..LoadRequest::default() };
            if store.load(&request).await?.mail.is_empty() {
                return Ok(true);
            }
            if Instant::now() < until {
                tokio::time::sleep(LOOK).await;
            } else if self.wait > 0 {
                let what =
                    format!("the order to {verb} instance {id} is in its mailbox, and no worker has taken it yet");
                let hint = "start a worker on this store (`flagstop worker`): it carries the order out";
                return Err(Failure::new(Exit::Stopped, "FS-NO-WORKER", what, hint));
            } else {
                return Ok(false);
            }
        }
    }
}

/// What can't be right now is refused at once; what becomes wrong meanwhile, the worker refuses.
fn refuse(record: &Record, order: Order) -> Result<(), Failure> {
    let status = record.status();
    if fits(&record.summary, order) {
        return Ok(());
    }
    let hint = match order {
        Order::Cancel => "what has ended can't be cancelled",
        Order::Suspend => "only what runs or waits can be suspended",
        Order::Continue => "only what is suspended can continue; a faulted instance goes on by `retry`",
        Order::Retry => "only what has faulted can be retried; a suspended instance goes on by `continue`",
    };
    let what = format!("instance {} is {status}", record.summary.id);
    Err(Failure::new(Exit::Failed, "FS-INSTANCE-PHASE", what, hint))
}

/// Whether an instance can be told so as it is; one whose phase this build does not know, by those that do.
pub(super) fn fits(summary: &InstanceSummary, order: Order) -> bool {
    let phase = Phase::try_from(summary.status).ok();
    phase.is_none_or(|phase| match order {
        Order::Cancel => !phase.has_ended(),
        Order::Suspend => matches!(phase, Phase::Pending | Phase::Running | Phase::Waiting),
        Order::Continue => phase == Phase::Suspended || summary.aside.is_some(),
        Order::Retry => phase == Phase::Faulted,
    })
}

/// Whether an order that a worker has taken was carried out, as far as the instance shows it.
pub(super) fn carried_out(before: &InstanceSummary, now: &InstanceSummary, order: Order) -> bool {
    let is = |phase: Phase| now.status == phase as i16;
    match order {
        Order::Cancel => is(Phase::Cancelled),
        Order::Suspend => is(Phase::Suspended),
        Order::Continue => !is(Phase::Suspended) && now.aside.is_none(),
        // Nothing else moves what has faulted.
        Order::Retry => !is(Phase::Faulted) || now.revision > before.revision,
    }
}

fn refused_hint(order: Order) -> &'static str {
    match order {
        Order::Retry => {
            "`instances list` shows whether another instance lives under its activation key; the worker's log says why"
        }
        _ => "`instances history` shows what came before it; the worker's log says why",
    }
}

/// The order's word.
pub(super) fn verb(order: Order) -> &'static str {
    match order {
        Order::Cancel => "cancel",
        Order::Suspend => "suspend",
        Order::Continue => "continue",
        Order::Retry => "retry",
    }
}
