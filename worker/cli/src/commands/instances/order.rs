//! `flagstop instances cancel`, `suspend`, `continue`, `retry`: an order goes into the instance's mailbox, and a worker
//! carries it out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use flagstop_engine::api::Phase;
use flagstop_runtime::Order;
use flagstop_store::port::{LoadRequest, Store};
use serde_json::json;

use super::read::{self, Record};
use crate::args::Output;
use crate::exit::{Exit, Failure};

/// Pause between two looks whether the order is carried out.
const LOOK: Duration = Duration::from_millis(100);

/// `ID [--wait SECONDS]`
#[derive(Debug, Args)]
pub struct To {
    /// The instance's id, or its beginning (of a recent one)
    id: String,
    /// How long to wait until a worker has carried it out, in seconds; 0: not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u32,
}

impl To {
    /// Writes the order and waits until it is carried out.
    pub async fn run(&self, store: &Arc<dyn Store>, order: Order, output: Output) -> Result<String, Failure> {
        let record = read::find(store, &self.id).await?;
        refuse(&record, order)?;
        let (id, definition) = (record.summary.id, record.summary.definition);
        flagstop_runtime::tell(&**store, id, definition, order).await?;
        let until = Instant::now() + Duration::from_secs(self.wait.into());
        let drained = loop {
            let request = LoadRequest { instances: vec![id], ..LoadRequest::default() };
            if store.load(&request).await?.mail.is_empty() {
                break true;
            }
            if Instant::now() >= until {
                break false;
            }
            tokio::time::sleep(LOOK).await;
        };
        if !drained && self.wait > 0 {
            let what =
                format!("the order to {} instance {id} is in its mailbox, and no worker has taken it yet", verb(order));
            let hint = "start a worker on this store (`flagstop worker`): it carries the order out";
            return Err(Failure::new(Exit::Stopped, "FS-NO-WORKER", what, hint));
        }
        let record = read::find(store, &id.to_string()).await?;
        let status = record.status();
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

/// What can't be right now is refused at once; what becomes wrong meanwhile, the worker refuses.
fn refuse(record: &Record, order: Order) -> Result<(), Failure> {
    let status = record.status();
    let phase = Phase::try_from(record.summary.status).ok();
    let fits = phase.is_none_or(|phase| match order {
        Order::Cancel => !phase.has_ended(),
        Order::Suspend => matches!(phase, Phase::Pending | Phase::Running | Phase::Waiting),
        Order::Continue => phase == Phase::Suspended,
        Order::Retry => phase == Phase::Faulted,
    });
    if fits {
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

fn verb(order: Order) -> &'static str {
    match order {
        Order::Cancel => "cancel",
        Order::Suspend => "suspend",
        Order::Continue => "continue",
        Order::Retry => "retry",
    }
}
