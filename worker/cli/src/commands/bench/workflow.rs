//! The benchmark's workflow and its messages.

use std::collections::BTreeMap;

use bytes::Bytes;
use flagstop_bus::port::{Channel, Content, Outgoing, RawMessage};
use flagstop_schemas::{CloudEvent, Data};

/// Set, durable wait for the event of this very instance, set, emit.
pub(super) const DEFINITION: &str = include_str!("workflow.yaml");

const START: &str = "io.flagstop.bench.start";
const RESUME: &str = "io.flagstop.bench.resume";

/// The messages of one run.
#[derive(Debug)]
pub(super) struct Messages {
    /// Sets this run's messages apart from those of earlier ones.
    run: String,
}

/// What a status event says that the benchmark wants to know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// This workflow waits now.
    Waits(u64),
    /// This workflow has completed.
    Completed(u64),
}

impl Messages {
    pub(super) fn new() -> Self {
        Self { run: uuid::Uuid::new_v4().simple().to_string() }
    }

    pub(super) fn start(&self, n: u64) -> Outgoing {
        self.message("start", START, n)
    }

    pub(super) fn resume(&self, n: u64) -> Outgoing {
        self.message("resume", RESUME, n)
    }

    fn message(&self, what: &str, ty: &str, n: u64) -> Outgoing {
        let event = CloudEvent {
            id: format!("{}-{what}-{n}", self.run),
            source: "/flagstop/bench".to_owned(),
            ty: ty.to_owned(),
            subject: None,
            time: None,
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: BTreeMap::new(),
            data: Data::Json(Bytes::from(format!(r#"{{"n":{n},"text":"some data that a trigger would carry"}}"#))),
        };
        Outgoing {
            channel: Channel::In,
            routing_key: ty.to_owned(),
            order_key: n.to_string(),
            content: Content::Event(Box::new(event)),
        }
    }
}

/// Reads a status event's headers only: the benchmark shares the machine with what it measures.
pub(super) fn progress(message: &RawMessage) -> Option<Progress> {
    let header = |attribute: &str| {
        let ends = |name: &str| name.strip_suffix(attribute).is_some_and(|prefix| prefix.ends_with(['_', ':', '-']));
        message.headers.iter().find(|(name, _)| ends(name)).and_then(|(_, value)| std::str::from_utf8(value).ok())
    };
    let ty = header("type")?;
    let n = header("businesskey")?.parse().ok()?;
    match ty {
        "io.serverlessworkflow.workflow.correlation-started.v1" => Some(Progress::Waits(n)),
        "io.serverlessworkflow.workflow.completed.v1" => Some(Progress::Completed(n)),
        _ => None,
    }
}
