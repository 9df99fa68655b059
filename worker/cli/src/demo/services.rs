//! Stand-ins for the HTTP services that a demonstration's workflows call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::demo::script::{Answer, Service};
use crate::exit::{Exit, Failure};
use crate::term::{Paint, Style, tame};

/// A running stand-in.
struct StandIn {
    service: Service,
    /// How often each answer may still be given; counts down only where the script gives a number.
    left: Vec<AtomicU32>,
}

/// Starts all services and returns the secrets that lead to them. They end with the process.
pub async fn start(services: &[Service]) -> Result<Map<String, Value>, Failure> {
    let mut secrets = Map::new();
    for service in services {
        let no_port = |error: std::io::Error| {
            let what = format!("no loopback port for the stand-in `{}`: {error}", service.name);
            Failure::coded(Exit::Invalid, &format!("FS-DEMO: {what}"), None)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(no_port)?;
        let mut secret = service.secret.clone();
        secret.insert("url".into(), format!("http://{}", listener.local_addr().map_err(no_port)?).into());
        secrets.insert(service.name.clone(), secret.into());
        let left = service.answers.iter().map(|answer| AtomicU32::new(answer.times.unwrap_or(u32::MAX))).collect();
        let stand_in = Arc::new(StandIn { service: service.clone(), left });
        let router = axum::Router::new().fallback(answer).with_state(stand_in);
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    Ok(secrets)
}

async fn answer(State(stand_in): State<Arc<StandIn>>, request: Request) -> Response {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let service = &stand_in.service;
    let found = stand_in.find(method, path);
    let status = found.and_then(|answer| StatusCode::from_u16(answer.status).ok()).unwrap_or(StatusCode::NOT_FOUND);
    let key = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or("none");
    let paint = Paint::stderr();
    let line = format!("{method} {path} → {}   idempotency-key {key}", status.as_u16());
    eprintln!("  {} {}", paint.on(Style::Own, &format!("[{}]", service.name)), paint.on(Style::Dim, &tame(&line)));
    let body = match found {
        Some(answer) => answer.body.clone(),
        None => Some(json!({ "status": 404, "title": "the stand-in has no such answer" })),
    };
    match body {
        Some(body) => (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response(),
        None => status.into_response(),
    }
}

impl StandIn {
    fn find(&self, method: &str, path: &str) -> Option<&Answer> {
        let fits = |answer: &Answer| answer.method.eq_ignore_ascii_case(method) && fits(&answer.path, path);
        let take = |left: u32| if left == u32::MAX { Some(left) } else { left.checked_sub(1) };
        let mut answers = self.service.answers.iter().zip(&self.left).filter(|(answer, _)| fits(answer));
        let found = answers.find(|(_, left)| left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok());
        found.map(|(answer, _)| answer)
    }
}

/// Compares segment by segment; `{x}` stands for any one.
fn fits(pattern: &str, path: &str) -> bool {
    let (mut pattern, mut path) = (pattern.split('/'), path.split('/'));
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return true,
            (Some(p), Some(s)) if p == s || (p.starts_with('{') && p.ends_with('}') && !s.is_empty()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::{StandIn, fits};
    use crate::demo::script::Service;

    #[test]
    fn an_answer_that_is_used_up_gives_way_to_the_next_that_fits() {
        let service: Service = serde_json::from_value(serde_json::json!({ "name": "s", "answers": [
            { "method": "get", "path": "/a", "status": 503, "times": 1 },
            { "method": "GET", "path": "/{x}", "status": 200 },
        ]}))
        .expect("it is a service");
        let stand_in = StandIn { service, left: vec![AtomicU32::new(1), AtomicU32::new(u32::MAX)] };
        let mut statuses = Vec::new();
        for path in ["/b", "/a", "/a", "/a/b"] {
            statuses.push(stand_in.find("GET", path).map(|answer| answer.status));
        }
        assert_eq!(statuses, [Some(200), Some(503), Some(200), None]);
    }

    #[test]
    fn a_placeholder_is_one_segment() {
        assert!(fits("/accounts/{id}", "/accounts/7"));
        assert!(!fits("/accounts/{id}", "/accounts/"));
        assert!(!fits("/accounts/{id}", "/accounts/7/x"));
        assert!(!fits("/accounts", "/account"));
    }
}
