//! `POST /events`: takes a CloudEvent (binary or structured mode, or a batch) and answers 202 once the bus has it durably.
//!
//! Must never answer 2xx for an event that could still be lost. What is wrong is said as `application/problem+json`.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flagstop_bus::port::{Bus, Channel, PublishError, RawMessage};
use flagstop_bus::{CodecError, CodecLimits};
use flagstop_schemas::CloudEvent;
use serde_json::{Value, json};

use super::problem::Problem;
use crate::events;

/// Where events are taken.
#[derive(Debug, Clone)]
pub struct Ingest {
    bus: Arc<dyn Bus>,
    limits: CodecLimits,
    bytes_max: usize,
}

const FORMS: &str = "send `Content-Type: application/cloudevents+json` with the whole event as JSON, \
                     or its data with the headers ce-specversion, ce-type, ce-source and ce-id";

impl Ingest {
    /// Takes them for this bus, within these limits.
    pub fn new(bus: Arc<dyn Bus>, limits: CodecLimits) -> Self {
        Self { bus, bytes_max: limits.body_bytes_max, limits }
    }

    /// Takes one.
    pub async fn take(&self, request: Request) -> Result<Response, Problem> {
        take(self, request).await
    }
}

async fn take(ingest: &Ingest, request: Request) -> Result<Response, Problem> {
    if request.method() != Method::POST {
        let detail = format!("/events does not take {}", request.method());
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "FS-HTTP-METHOD", detail, "use POST"));
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, ingest.bytes_max).await.map_err(|_| {
        let detail = format!("the body is larger than {} bytes, or broke off", ingest.bytes_max);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "FS-HTTP-TOO-LARGE", detail, "send a reference to the data instead")
    })?;
    let message =
        RawMessage { content_type: content_type(&parts.headers), headers: ce(&parts.headers), key: None, body };
    // All of a batch are read before the first is published: a bad one refuses them all.
    let parts = flagstop_bus::split(&message, &ingest.limits);
    let mut answers = Vec::new();
    let mut outgoing = Vec::new();
    for message in parts.as_deref().unwrap_or(std::slice::from_ref(&message)) {
        let event = read(ingest, message)?;
        answers.push(json!({ "source": event.source, "id": event.id }));
        outgoing.push(events::outgoing(event, Channel::In));
    }
    for published in ingest.bus.publish(&outgoing).await {
        match published {
            Ok(()) => {}
            Err(PublishError::Refused(why)) => {
                let hint = "mend the event, then send it again";
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "FS-BUS-REFUSED", why, hint));
            }
            Err(PublishError::Unavailable(why) | PublishError::Pushback(why)) => return Err(unavailable(why)),
        }
    }
    let answer = if parts.is_some() { Value::Array(answers) } else { answers.pop().unwrap_or_default() };
    Ok((StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response())
}

fn read(ingest: &Ingest, message: &RawMessage) -> Result<CloudEvent, Problem> {
    flagstop_bus::decode_http(message, &ingest.limits).map_err(|error| {
        let text = error.to_string();
        let detail = text.split_once(": ").map_or(text.as_str(), |(_, detail)| detail);
        let status = match error {
            CodecError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        };
        Problem::new(status, error.code(), detail, FORMS)
    })
}

fn unavailable(why: String) -> Problem {
    let hint = "send the same event again: a duplicate does no harm";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "FS-BUS-UNAVAILABLE", why, hint)
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok().map(str::to_owned)
}

/// The CloudEvents attributes among the headers; the rest of them is the connection's business.
fn ce(headers: &HeaderMap) -> Vec<(String, bytes::Bytes)> {
    let ours = headers.iter().filter(|(name, _)| name.as_str().starts_with("ce-"));
    ours.map(|(name, value)| (name.as_str().to_owned(), bytes::Bytes::copy_from_slice(value.as_bytes()))).collect()
}
