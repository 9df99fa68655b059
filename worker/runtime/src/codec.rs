//! How the runtime writes events and stimuli into the store's bytes (parked events, mail), and reads them back.

use bytes::Bytes;
use flagstop_bus::CodecLimits;
use flagstop_bus::port::RawMessage;
use flagstop_schemas::CloudEvent;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A stimulus that waits in the mailbox (PROTOCOL D1). Names are part of the stored format.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mail {
    /// Starts the instance, if it is not there yet.
    Start {
        /// The raw workflow input, JSON text.
        input: Box<RawValue>,
        /// `id` and `source` of the trigger.
        cause: Option<(String, String)>,
    },
    /// An event for one of the instance's bookmarks.
    Event {
        /// In CloudEvents' JSON format.
        event: Box<RawValue>,
    },
    /// Ends the instance.
    Cancel,
    /// The last transition ended by its budget (PROTOCOL D18): a letter to itself, so that no crash stops it.
    Proceed,
}

/// Why stored bytes can't be read. Such a row was written by a newer build, or is damaged.
#[derive(Debug, thiserror::Error)]
#[error("stored {what} can't be read: {why}")]
pub(crate) struct Unreadable {
    what: &'static str,
    why: String,
}

impl Mail {
    pub(crate) fn event(event: &CloudEvent) -> Self {
        Self::Event { event: raw(event.to_json()) }
    }

    pub(crate) fn encode(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("strings and JSON text always serialise"))
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        serde_json::from_slice(bytes).map_err(|e| Unreadable { what: "mail", why: e.to_string() })
    }
}

/// JSON text that one of our own writers made.
pub(crate) fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).expect("our own writers make well-formed JSON")
}

/// An event as stored bytes.
pub(crate) fn encode_event(event: &CloudEvent) -> Bytes {
    Bytes::from(event.to_json())
}

/// The event in stored bytes.
pub(crate) fn decode_event(bytes: &[u8], limits: &CodecLimits) -> Result<CloudEvent, Unreadable> {
    let message = RawMessage {
        content_type: Some("application/cloudevents+json".into()),
        body: Bytes::copy_from_slice(bytes),
        ..RawMessage::default()
    };
    // What was taken once is taken again: the stored form is a level deeper, and binary data is a third larger in it.
    let stored = CodecLimits { body_bytes_max: usize::MAX, json_depth_max: limits.json_depth_max + 1, ..*limits };
    flagstop_bus::decode(&message, &stored).map_err(|e| Unreadable { what: "event", why: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_survives_its_stored_form() {
        let start = Mail::Start { input: raw("[{\"n\":1.50}]".into()), cause: Some(("id".into(), "/s".into())) };
        for mail in [start, Mail::Event { event: raw("{\"id\":\"1\"}".into()) }, Mail::Cancel, Mail::Proceed] {
            let bytes = mail.encode();
            let read = Mail::decode(&bytes).expect("what was written can be read");
            assert_eq!(format!("{read:?}"), format!("{mail:?}"));
        }
    }
}
