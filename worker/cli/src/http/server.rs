//! The port: one listener for whatever a command serves over HTTP.

use std::net::SocketAddr;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;

use super::api::Ingest;
use super::health::{self, Patient};
use super::problem::Problem;
use crate::exit::{Exit, Failure};

/// What is served.
#[derive(Clone)]
pub struct Site {
    /// `/healthz/live`, `/healthz/ready`, `/metrics`
    pub patient: Patient,
    /// `POST /events`, where events are taken.
    pub ingest: Option<Ingest>,
}

/// Serves until the task is dropped.
pub async fn serve(listener: TcpListener, site: Site) {
    let router = axum::Router::new().fallback(handle).with_state(site);
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "the HTTP port was lost; restart to have it again");
    }
}

async fn handle(State(site): State<Site>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    if let Some(response) = health::answer(&path, &site.patient).await {
        return response;
    }
    match &site.ingest {
        Some(ingest) if path == "/events" => ingest.take(request).await.unwrap_or_else(IntoResponse::into_response),
        ingest => {
            let detail = format!("there is nothing at {path}");
            let hint = match ingest {
                Some(_) => "events go to POST /events; /healthz/live, /healthz/ready and /metrics can be read",
                None => "/healthz/live, /healthz/ready and /metrics can be read",
            };
            Problem::new(StatusCode::NOT_FOUND, "FS-HTTP-PATH", detail, hint).into_response()
        }
    }
}

/// Opens the port that an address names.
pub async fn listen(text: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address(text)?).await.map_err(|error| no_port(text, &error))
}

/// Reads an address.
pub fn address(text: &str) -> Result<SocketAddr, Failure> {
    text.parse().map_err(|_| {
        let what = format!("`{text}` is no address");
        Failure::new(Exit::Invalid, "FS-HTTP-ADDR", what, "give host and port, such as `127.0.0.1:8080`")
    })
}

/// The port can't be had.
pub fn no_port(address: &str, error: &std::io::Error) -> Failure {
    let what = format!("{address}: {error}");
    Failure::new(
        Exit::Invalid,
        "FS-HTTP-PORT",
        what,
        "choose another port with `--http 127.0.0.1:PORT`; `dev` also takes `--http off`",
    )
}
