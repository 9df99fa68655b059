//! `flagstop dead-letters show`

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use flagstop_store::port::Store;
use flagstop_store::rows::DeadLetter;
use serde_json::{Value, json};

use super::read;
use crate::args::Output;
use crate::exit::Failure;
use crate::term::{Paint, Style, tame};
use crate::time::rfc3339;

/// `show ID`
#[derive(Debug, Args)]
pub struct Show {
    /// The letter's id, or its beginning (of a recent one)
    id: String,
}

impl Show {
    /// The letter as text.
    pub async fn run(&self, store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
        let letter = read::find(store, &self.id).await?;
        let headers = headers(&letter);
        if output == Output::Json {
            let mut json = read::json(&letter);
            json["headers"] = headers.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
            (json["body"], json["bodyBase64"]) = match std::str::from_utf8(&letter.body) {
                Ok(text) => (text.into(), Value::Null),
                Err(_) => (Value::Null, BASE64.encode(&letter.body).into()),
            };
            return Ok(json.to_string());
        }
        let paint = Paint::stdout();
        let mut lines = Vec::new();
        let mut line = |name: &str, value: &str| {
            lines.push(format!("{}  {}", paint.on(Style::Dim, &format!("{name:<10}")), tame(value)));
        };
        line("id", &letter.id.0.to_string());
        line("at", &rfc3339(letter.at_us));
        line("code", &letter.code);
        line("reason", &letter.reason);
        line("origin", &letter.origin);
        line("redriven", &letter.redriven_us.map_or_else(|| "-".to_owned(), rfc3339));
        line("media type", letter.content_type.as_deref().unwrap_or("-"));
        for (name, value) in &headers {
            line("header", &format!("{name}: {value}"));
        }
        let body = match std::str::from_utf8(&letter.body) {
            Ok(text) => text.lines().map(tame).collect::<Vec<_>>().join("\n"),
            Err(_) => format!("{} bytes that are no text", letter.body.len()),
        };
        Ok(format!("{}\n\n{body}", lines.join("\n")))
    }
}

/// Names and values; what is no text is shown as base64.
fn headers(letter: &DeadLetter) -> Vec<(String, String)> {
    let stored: Vec<(String, String)> = serde_json::from_slice(&letter.headers).unwrap_or_default();
    let text = |value: &String| String::from_utf8(BASE64.decode(value).ok()?).ok();
    stored.into_iter().map(|(name, value)| (name, text(&value).unwrap_or(value))).collect()
}
