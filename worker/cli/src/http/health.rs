//! `/healthz/live`, `/healthz/ready` and `/metrics`: what an orchestrator and a monitor ask.
//!
//! *Live* means that the process answers: a restart would mend nothing that is wrong outside of it. *Ready* means that it
//! could take a message right now.

use std::sync::{Arc, OnceLock};

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use flagstop_runtime::{Signs, Vitals, metrics};
use serde_json::{Value, json};

/// A worker's vital signs, once it has started.
pub type Patient = Arc<OnceLock<Vitals>>;

/// What can be asked; the rest is not ours.
pub async fn answer(path: &str, patient: &Patient) -> Option<Response> {
    Some(match path {
        "/healthz/live" => json_response(StatusCode::OK, &json!({ "live": true })),
        "/healthz/ready" => {
            let (checks, waiting) = match patient.get() {
                Some(vitals) => {
                    let signs = vitals.read().await;
                    (checks(&signs), signs.held_up)
                }
                None => (vec![Check { name: "worker", fault: Some("it is starting".to_owned()) }], None),
            };
            let ready = checks.iter().all(|check| check.fault.is_none());
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            json_response(status, &report(&checks, waiting.as_deref()))
        }
        "/metrics" => match patient.get() {
            Some(vitals) => {
                let text = metrics::render(&vitals.read().await);
                (StatusCode::OK, [(header::CONTENT_TYPE, metrics::MEDIA_TYPE)], text).into_response()
            }
            None => (StatusCode::SERVICE_UNAVAILABLE, "the worker is starting\n").into_response(),
        },
        _ => return None,
    })
}

/// One thing that must be right.
struct Check {
    name: &'static str,
    fault: Option<String>,
}

fn checks(signs: &Signs) -> Vec<Check> {
    let check = |name, right: bool, fault: &str| Check { name, fault: (!right).then(|| fault.to_owned()) };
    vec![
        Check { name: "store", fault: signs.store_fault.clone() },
        check("bus", signs.bus_up, "the broker's connections are down; they are made again as soon as it is there"),
        check(
            "catalogue",
            signs.catalogue_whole,
            "this build can't compile a deployed definition; use the build that deployed it",
        ),
        check("worker", !signs.draining, "it is told to stop, and takes no more messages"),
    ]
}

/// `schemas/cli/healthcheck.schema.json`
fn report(checks: &[Check], waiting: Option<&str>) -> Value {
    let ready = checks.iter().all(|check| check.fault.is_none());
    let check = |check: &Check| json!({ "name": check.name, "ok": check.fault.is_none(), "fault": check.fault });
    json!({ "ready": ready, "checks": checks.iter().map(check).collect::<Vec<_>>(), "waiting": waiting })
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signs() -> Signs {
        Signs {
            done: flagstop_runtime::WorkerCounters::default(),
            store: flagstop_store::port::Counters::default(),
            bus: flagstop_bus::port::BusCounters::default(),
            store_fault: None,
            bus_up: true,
            draining: false,
            catalogue_whole: true,
            catalogue: 1,
            behind: false,
            relay_lag_us: 0,
            streams_held: 0,
            held_up: None,
            effects_here: 0,
            effects_waiting: 0,
            shards: 64,
            census: None,
        }
    }

    #[test]
    fn a_worker_is_ready_only_while_nothing_is_in_its_way() {
        let faults = |signs: Signs| {
            let checks = checks(&signs);
            let bad: Vec<&str> = checks.iter().filter(|check| check.fault.is_some()).map(|check| check.name).collect();
            assert_eq!(report(&checks, None)["ready"], bad.is_empty());
            bad.join(" ")
        };
        assert_eq!(faults(signs()), "");
        assert_eq!(faults(Signs { store_fault: Some("FS-STORE-UNREACHABLE: gone".into()), ..signs() }), "store");
        assert_eq!(faults(Signs { bus_up: false, ..signs() }), "bus");
        assert_eq!(faults(Signs { catalogue_whole: false, ..signs() }), "catalogue");
        assert_eq!(faults(Signs { draining: true, ..signs() }), "worker");
        // Being behind is no reason to be taken out of service: it is what the worker is working on.
        assert_eq!(faults(Signs { behind: true, relay_lag_us: 60_000_000, ..signs() }), "");
    }
}
