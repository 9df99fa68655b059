//! One order to all instances that fit a filter. What the order does not fit is left alone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use flagstop_runtime::Order;
use flagstop_schemas::InstanceId;
use flagstop_store::port::{InstanceFilter, LoadRequest, Store};
use flagstop_store::rows::InstanceSummary;
use serde_json::json;

use super::filter::Filter;
use super::order::{To, carried_out, fits, verb};
use super::read::Definitions;
use crate::args::Output;
use crate::confirm::Consent;
use crate::exit::{Exit, Failure};

/// Instances that one look at the store takes.
const PAGE: usize = 500;

/// Pause between two looks whether the orders are carried out.
const LOOK: Duration = Duration::from_millis(200);

/// `ID`, or filters
#[derive(Debug, Args)]
pub struct Whom {
    /// The instance's id, its beginning (of a recent one), or its business key; without it, filters say who is meant
    id: Option<String>,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    consent: Consent,
    /// How long to wait until workers have carried it out, in seconds; 0: not at all
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    wait: u32,
}

impl Whom {
    /// Tells one, or many.
    pub async fn run(self, store: &Arc<dyn Store>, order: Order, output: Output) -> Result<String, Failure> {
        match (self.id, self.filter == Filter::default()) {
            (Some(id), true) => To { id, wait: self.wait }.run(store, order, output).await,
            (None, false) => many(store, &self.filter, self.consent, self.wait, order, output).await,
            _ => {
                let what = format!("`instances {}` needs an id, or filters", verb(order));
                let hint = "give the id alone, or filters such as `--definition hr/onboarding --status faulted` alone";
                Err(Failure::new(Exit::Invalid, "FS-ARGUMENTS", what, hint))
            }
        }
    }
}

async fn many(
    store: &Arc<dyn Store>,
    filter: &Filter,
    consent: Consent,
    wait: u32,
    order: Order,
    output: Output,
) -> Result<String, Failure> {
    let filter = filter.of_store(&Definitions::load(store).await?)?;
    let found = meant(store, filter, order).await?;
    if found.len() > 1 {
        consent.to(&format!("{} {} instances", verb(order), found.len()))?;
    }
    for summary in &found {
        flagstop_runtime::tell(&**store, summary.id, summary.definition, order).await?;
    }
    let ids: Vec<InstanceId> = found.iter().map(|summary| summary.id).collect();
    let left = undone(store, &ids, wait).await?;
    let mut refused = 0;
    for before in found.iter().filter(|summary| left.binary_search(&summary.id).is_err()) {
        let now = store.instance(before.id).await?;
        refused += usize::from(now.is_some_and(|now| !carried_out(before, &now, order)));
    }
    let told = ids.len();
    let done = told - left.len() - refused;
    Ok(match output {
        Output::Table if refused == 0 => format!("{told} told to {}, {done} carried out so far", verb(order)),
        Output::Table => format!("{told} told to {}, {done} carried out so far, {refused} refused", verb(order)),
        Output::Json => {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            json!({ "order": verb(order), "told": told, "carriedOut": done, "refused": refused, "instances": ids })
                .to_string()
        }
    })
}

/// Those that fit the filter and that the order fits, the oldest first.
async fn meant(store: &Arc<dyn Store>, filter: InstanceFilter, order: Order) -> Result<Vec<InstanceSummary>, Failure> {
    let mut filter = InstanceFilter { limit: PAGE as i64, ..filter };
    let mut found = Vec::new();
    loop {
        let page = store.list_instances(&filter).await?;
        let is_last = page.len() < PAGE;
        filter.after = page.last().map(|summary| summary.id);
        found.extend(page.into_iter().filter(|summary| fits(summary, order)));
        if is_last {
            found.reverse();
            return Ok(found);
        }
    }
}

/// Those that still have mail once all are done, or the wait is over; sorted.
async fn undone(store: &Arc<dyn Store>, ids: &[InstanceId], wait: u32) -> Result<Vec<InstanceId>, Failure> {
    let until = Instant::now() + Duration::from_secs(wait.into());
    loop {
        let mut left = Vec::new();
        for page in ids.chunks(PAGE) {
            let request = LoadRequest { instances: page.to_vec(), ..LoadRequest::default() };
            left.extend(store.load(&request).await?.mail.into_iter().map(|mail| mail.instance));
        }
        left.sort_unstable();
        left.dedup();
        if left.is_empty() || Instant::now() >= until {
            return Ok(left);
        }
        tokio::time::sleep(LOOK).await;
    }
}
