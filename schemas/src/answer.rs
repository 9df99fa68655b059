//! Answers to commands: whether each was carried out, and if not, why. They leave beside the status events.

use std::collections::BTreeMap;

use serde_json::json;

use crate::render::{attribute, time_text};
use crate::{CloudEvent, Data, Hash16, InstanceId, message_key};

/// The types under which commands come in, and their answers leave.
pub const COMMAND_PREFIX: &str = "io.flagstop.command.";

/// Longest reason, in characters: it may quote what a sender wrote.
const REASON_CHARS_MAX: usize = 2_000;

/// A command, as far as its sender must recognise it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The command's `id`.
    pub id: String,
    /// The command's `source`.
    pub source: String,
    /// The command's `type`.
    pub ty: String,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Carried out.
    Accepted,
    /// Not carried out.
    Rejected {
        /// Stable code, `FS-…`.
        code: String,
        /// What is wrong and how to mend it.
        reason: String,
    },
}

/// What is fixed about the two types of answers.
struct Facts {
    wire_type: &'static str,
    routing_key: &'static str,
    schema_id: &'static str,
    schema_text: &'static str,
}

/// Spells out one row, so that the type, the `$id` and the file can't drift apart.
macro_rules! facts {
    ($word:literal) => {
        Facts {
            wire_type: concat!("io.flagstop.command.", $word, ".v1"),
            routing_key: concat!("command.", $word),
            schema_id: concat!("https://flagstop.io/schemas/command/", $word, ".v1.schema.json"),
            schema_text: include_str!(concat!("../command/", $word, ".v1.schema.json")),
        }
    };
}

const ACCEPTED: Facts = facts!("accepted");
const REJECTED: Facts = facts!("rejected");

impl Asked {
    /// Of a command as it came.
    #[must_use]
    pub fn of(command: &CloudEvent) -> Self {
        Self { id: command.id.clone(), source: command.source.clone(), ty: command.ty.clone() }
    }

    /// The answer as it leaves, the same whenever it is given again. `instance`: which one it was about, if that is known.
    #[must_use]
    pub fn answer(&self, answer: &Answer, instance: Option<InstanceId>, at_us: i64) -> CloudEvent {
        let facts = answer.facts();
        let key = message_key(&self.source, &self.id);
        let id = Hash16::of("flagstop/answer", &[key.0.as_bytes(), facts.wire_type.as_bytes()]);
        let mut data = json!({ "commandId": self.id, "commandSource": self.source, "commandType": self.ty });
        if let Some(instance) = instance {
            data["instance"] = instance.to_string().into();
        }
        if let Answer::Rejected { code, reason } = answer {
            data["code"] = code.as_str().into();
            data["reason"] = reason.chars().take(REASON_CHARS_MAX).collect::<String>().into();
        }
        let mut extensions = BTreeMap::from([
            ("causationid".to_owned(), attribute(self.id.as_str().into())),
            ("causationsource".to_owned(), attribute(self.source.as_str().into())),
        ]);
        extensions.extend(instance.map(|instance| ("partitionkey".to_owned(), instance.to_string().into())));
        CloudEvent {
            id: id.0.to_string(),
            source: "/flagstop".to_owned(),
            ty: facts.wire_type.to_owned(),
            subject: instance.map(|instance| instance.to_string()),
            time: Some(time_text(at_us)),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: Some(facts.schema_id.to_owned()),
            extensions,
            data: Data::Json(data.to_string().into()),
        }
    }
}

impl Answer {
    fn facts(&self) -> Facts {
        match self {
            Self::Accepted => ACCEPTED,
            Self::Rejected { .. } => REJECTED,
        }
    }

    /// The routing key of an answer of this type; `None`: no answer has it.
    #[must_use]
    pub fn routing_key(wire_type: &str) -> Option<&'static str> {
        [ACCEPTED, REJECTED].into_iter().find(|facts| facts.wire_type == wire_type).map(|facts| facts.routing_key)
    }

    /// `type`, `$id` and JSON Schema of both.
    pub(crate) fn schemas() -> [(&'static str, &'static str, &'static str); 2] {
        [ACCEPTED, REJECTED].map(|facts| (facts.wire_type, facts.schema_id, facts.schema_text))
    }
}
