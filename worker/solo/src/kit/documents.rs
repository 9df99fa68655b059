//! The documents that a case's workflows name (schemas, OpenAPI, functions): fetched through the mocks, before time begins.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use flagstop_effects::http::Http;
use flagstop_effects::resources::{Loaded, Network, Place, Sources, load};
use flagstop_engine::{Diagnostics, Limits, Plan};

use super::Failure;
use super::call::Line;
use super::file::Workflow;
use super::mock::Mock;
use super::model::Case;

/// The case's plans: those of the file where nothing is missing, else compiled with the documents that the mocks give.
pub(super) fn plans(
    workflows: &[Workflow],
    case: &Case,
    mock: &Mock<'_>,
    http: &Http,
    limits: &Limits,
) -> Result<Vec<Arc<Plan>>, Failure> {
    let plan = |workflow: &Workflow| {
        if workflow.plan.missing().is_empty() {
            return Ok(workflow.plan.clone());
        }
        let line = Line { mock, limits };
        let sources = Sources {
            place: workflow.folder.clone().map_or(Place::Nowhere, Place::Folder),
            default_catalog: None,
            network: Network::Online(http, &line),
            secrets: &case.secrets,
        };
        match at_once(load(&workflow.text, &sources, limits), case.clock_us, mock) {
            // What could not be fetched is missing from the plan: the task that needs it faults.
            Some(Ok(Loaded { plan, .. })) => Ok(Arc::new(plan)),
            Some(Err(diagnostics)) => Err(invalid(&workflow.name, &diagnostics)),
            // No rule fits; the stage tells which request it was.
            None => Ok(workflow.plan.clone()),
        }
    };
    let plans = workflows.iter().map(plan).collect();
    mock.set_now(case.clock_us);
    plans
}

/// Polls to the end, moving the time to each answer. `None`: one of them never comes.
fn at_once<T>(future: impl Future<Output = T>, start_us: i64, mock: &Mock<'_>) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    mock.set_now(start_us);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
        mock.set_now(mock.next_due_us()?);
    }
}

fn invalid(workflow: &str, diagnostics: &Diagnostics) -> Failure {
    Failure::new("workflows", format!("{workflow} is invalid with its documents: {diagnostics}"))
}
