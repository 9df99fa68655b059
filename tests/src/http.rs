//! The HR service's test double: answers every request, and remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::any;

/// One request: its idempotency key and its body.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `Idempotency-Key`.
    pub key: String,
    /// The body, JSON.
    pub body: serde_json::Value,
}

/// The service.
#[derive(Debug, Clone)]
pub struct Hr {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    hangs: Arc<Mutex<bool>>,
}

impl Hr {
    /// Starts it on a free port; it ends with the test's runtime.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let hr = Self { url, asked: Arc::default(), hangs: Arc::default() };
        let app = Router::new().fallback(any(answer)).with_state(hr.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        hr
    }

    /// All requests so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// From now on requests are remembered and not answered (`true`), or answered again.
    pub fn hang(&self, hangs: bool) {
        *self.hangs.lock().unwrap() = hangs;
    }
}

async fn answer(
    State(hr): State<Hr>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(&'static str, &'static str); 1], String) {
    let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned()).unwrap_or_default();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let account = format!("account-of-{}", body["id"].as_str().unwrap_or_default());
    hr.asked.lock().unwrap().push(Asked { key, body });
    while *hr.hangs.lock().unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (StatusCode::CREATED, [("content-type", "application/json")], serde_json::json!({ "account": account }).to_string())
}
