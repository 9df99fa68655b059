//! Finds letters, and shows them to programs.

use std::sync::Arc;

use flagstop_schemas::Hash16;
use flagstop_store::port::{LetterFilter, Store};
use flagstop_store::rows::DeadLetter;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::exit::{Exit, Failure};
use crate::time::rfc3339;

/// How many of the newest letters an abbreviated id is looked up in.
const RECENT: i64 = 1_000;

/// Finds one by its id or, among the newest, by the beginning of it.
pub async fn find(store: &Arc<dyn Store>, text: &str) -> Result<DeadLetter, Failure> {
    let unknown = || {
        let hint =
            "`flagstop dead-letters list` shows the ids; an abbreviated one is found among the newest 1,000 only";
        Failure::new(Exit::NotFound, "FS-LETTER-UNKNOWN", format!("there is no dead letter `{text}`"), hint)
    };
    if let Ok(id) = Uuid::parse_str(text) {
        return store.dead_letters(&[Hash16(id)]).await?.pop().ok_or_else(unknown);
    }
    let all = store.list_dead_letters(&LetterFilter { limit: RECENT, ..LetterFilter::default() }).await?;
    let mut fitting = all.into_iter().filter(|it| !text.is_empty() && it.id.0.to_string().starts_with(text));
    let first = fitting.next().ok_or_else(unknown)?;
    if fitting.next().is_some() {
        let what = format!("several dead letters begin with `{text}`");
        return Err(Failure::new(Exit::Invalid, "FS-LETTER-ID", what, "give more of the id"));
    }
    Ok(first)
}

/// Its entry in a list.
pub fn json(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id.0.to_string(),
        "at": rfc3339(letter.at_us),
        "code": letter.code,
        "reason": letter.reason,
        "origin": letter.origin,
        "contentType": letter.content_type,
        "bodyBytes": letter.body.len(),
        "redrivenAt": letter.redriven_us.map(rfc3339),
    })
}
