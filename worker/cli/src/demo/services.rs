//! Stand-ins for the HTTP services that a demonstration's workflows call.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::demo::script::{Answer, Service};
use crate::exit::{Exit, Failure};
use crate::term::{Paint, Style, tame};

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
        let router = axum::Router::new().fallback(answer).with_state(Arc::new(service.clone()));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }
    Ok(secrets)
}

async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (method, path) = (request.method().as_str(), request.uri().path());
    let fits = |answer: &&Answer| answer.method.eq_ignore_ascii_case(method) && fits(&answer.path, path);
    let found = service.answers.iter().find(fits);
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
    use super::fits;

    #[test]
    fn a_placeholder_is_one_segment() {
        assert!(fits("/accounts/{id}", "/accounts/7"));
        assert!(!fits("/accounts/{id}", "/accounts/"));
        assert!(!fits("/accounts/{id}", "/accounts/7/x"));
        assert!(!fits("/accounts", "/account"));
    }
}
