//! Sends events to a `POST /events`.

use std::time::Duration;

use flagstop_schemas::CloudEvent;

use crate::exit::{Exit, Failure};

/// Longest wait for an answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Sends one event; done once it is durable over there. `base` is the address without the path.
pub async fn post(base: &str, event: &CloudEvent) -> Result<(), Failure> {
    let url = format!("{}/events", base.trim_end_matches('/').trim_end_matches("/events"));
    let sending = reqwest::Client::new()
        .post(&url)
        .timeout(ANSWER_TIME_MAX)
        .header("content-type", "application/cloudevents+json")
        .body(event.to_json())
        .send();
    let answer = sending.await.map_err(|error| {
        let what = format!("{url}: {}", cause(&error));
        if error.is_builder() {
            return Failure::new(Exit::Invalid, "FS-HTTP-URL", what, "give the address that `flagstop dev` prints");
        }
        Failure::new(Exit::Unreachable, "FS-HTTP-UNREACHABLE", what, "is `flagstop dev` running there?")
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let text = answer.text().await.unwrap_or_default();
    let problem: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let field = |name: &str| problem.get(name).and_then(|v| v.as_str()).map(str::to_owned);
    let what = format!("event {}: {url} answered {status}: {}", event.id, field("detail").unwrap_or(text.clone()));
    let exit = if status.is_client_error() { Exit::Invalid } else { Exit::Unreachable };
    let code = field("code").unwrap_or_else(|| "FS-HTTP-REFUSED".into());
    Err(Failure::coded(exit, &format!("{code}: {what}"), field("hint")))
}

/// What is at the bottom of it: the layers above only say that something failed.
fn cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => cause(source),
        None => error.to_string(),
    }
}

/// Asks whether the process at an address is ready: the report that it gives, whatever it says.
pub async fn ready(base: &str) -> Result<serde_json::Value, Failure> {
    let url = format!("{}/healthz/ready", base.trim_end_matches('/').trim_end_matches("/healthz/ready"));
    let answer = reqwest::Client::new().get(&url).timeout(ANSWER_TIME_MAX).send().await.map_err(|error| {
        let what = format!("{url}: {}", cause(&error));
        if error.is_builder() {
            return Failure::new(Exit::Invalid, "FS-HTTP-URL", what, "give an address such as http://127.0.0.1:9090");
        }
        Failure::new(Exit::Unreachable, "FS-HTTP-UNREACHABLE", what, "is `flagstop worker --http ADDR` running there?")
    })?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(report) if report["ready"].is_boolean() => Ok(report),
        _ => {
            let what = format!("{url} answered {status}, which is no health report");
            Err(Failure::new(Exit::Failed, "FS-HTTP-REFUSED", what, "give the address of a `flagstop worker --http`"))
        }
    }
}
