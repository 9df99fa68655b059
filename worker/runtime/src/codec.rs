//! How the runtime writes events and stimuli into the store's bytes (parked events, mail), and reads them back.

use bytes::Bytes;
use flagstop_bus::CodecLimits;
use flagstop_bus::port::RawMessage;
use flagstop_engine::api::{ChildOutcome, Phase, Value};
use flagstop_engine::{Instance, Limits, Problem, value};
use flagstop_schemas::{CloudEvent, Hash16};
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
        /// How many workflows stand above it; missing in what older builds wrote.
        #[serde(default)]
        depth: u32,
        /// All events that led to it, where they are several; missing in what older builds wrote.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        heard: Vec<Hash16>,
    },
    /// An event for one of the instance's bookmarks.
    Event {
        /// In CloudEvents' JSON format.
        event: Box<RawValue>,
    },
    /// The child of this slot has ended, or could not be started.
    Child {
        /// The slot in the parent.
        slot: i64,
        /// How.
        end: ChildEnd,
    },
    /// Ends the instance.
    Cancel,
    /// Holds it.
    Suspend,
    /// Lets it go on.
    Continue,
    /// Lets it go on where it faulted.
    Retry,
    /// Runs it again, as a new instance.
    Rerun {
        /// Of whoever asks for it.
        source: String,
        /// Tells this asking from others.
        id: String,
    },
    /// The last transition ended by its budget (PROTOCOL D18): a letter to itself, so that no crash stops it.
    Proceed,
}

/// How a child ended, in the form in which it is stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChildEnd {
    /// With this output, JSON text.
    Completed(Box<RawValue>),
    /// By this error, JSON text.
    Faulted(Box<RawValue>),
    /// Somebody cancelled it.
    Cancelled,
    /// Why there is none.
    Missing(String),
}

impl ChildEnd {
    /// Of a child that has ended.
    pub(crate) fn of(child: &Instance) -> Self {
        match (child.phase(), child.error()) {
            (Phase::Cancelled, _) => Self::Cancelled,
            (_, Some(problem)) => Self::Faulted(raw(value::to_json(&problem.to_value()))),
            _ => Self::Completed(raw(child.output().map_or_else(|| "null".to_owned(), value::to_json))),
        }
    }

    pub(crate) fn outcome(self, limits: &Limits) -> Result<ChildOutcome, Unreadable> {
        Ok(match self {
            Self::Completed(output) => ChildOutcome::Completed(stored_value(&output, limits)?),
            Self::Faulted(problem) => {
                let problem = Problem::from_value(&stored_value(&problem, limits)?, "");
                ChildOutcome::Faulted(problem.map_err(|why| Unreadable { what: "error of a child", why })?)
            }
            Self::Cancelled => ChildOutcome::Cancelled,
            Self::Missing(reason) => ChildOutcome::NotStarted { reason },
        })
    }
}

/// A value that one of our own writers stored: whatever its size.
pub(crate) fn stored_value(text: &RawValue, limits: &Limits) -> Result<Value, Unreadable> {
    let stored = Limits { payload_bytes_max: usize::MAX, ..limits.clone() };
    value::parse_json(text.get().as_bytes(), &stored).map_err(|why| Unreadable { what: "value", why: why.to_string() })
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
        let cause = Some(("id".into(), "/s".into()));
        let heard = vec![Hash16::of("event", &[b"1"])];
        let start = Mail::Start { input: raw("[{\"n\":1.50}]".into()), cause, depth: 3, heard };
        let event = Mail::Event { event: raw("{\"id\":\"1\"}".into()) };
        let child = Mail::Child { slot: 65_537, end: ChildEnd::Completed(raw("[18446744073709551615]".into())) };
        let none = Mail::Child { slot: 1, end: ChildEnd::Missing("no such definition".into()) };
        let simple = [Mail::Cancel, Mail::Suspend, Mail::Continue, Mail::Retry, Mail::Proceed];
        for mail in [start, event, child, none].into_iter().chain(simple) {
            let bytes = mail.encode();
            let read = Mail::decode(&bytes).expect("what was written can be read");
            assert_eq!(format!("{read:?}"), format!("{mail:?}"));
        }
    }

    #[test]
    fn a_start_that_an_older_build_wrote_stands_at_the_top() {
        let read = Mail::decode(br#"{"start":{"input":null,"cause":null}}"#).expect("it can be read");
        assert!(matches!(read, Mail::Start { depth: 0, .. }));
    }

    #[test]
    fn a_childs_output_of_any_size_survives_its_stored_form() {
        let limits = Limits::default();
        let output = format!("\"{}\"", "x".repeat(2 * limits.payload_bytes_max));
        let outcome = ChildEnd::Completed(raw(output.clone())).outcome(&limits).expect("it can be read");
        let ChildOutcome::Completed(read) = outcome else { panic!("{outcome:?}") };
        assert_eq!(value::to_json(&read), output);
    }
}
