//! Commands: what a message of type `io.flagstop.command.*` asks for. Reads only; `decide/commands.rs` carries out.

use std::sync::Arc;

use flagstop_bus::CodecLimits;
use flagstop_engine::api::Stimulus;
use flagstop_engine::{Event, Limits};
use flagstop_schemas::{Answer, COMMAND_PREFIX as PREFIX, CloudEvent, Data, InstanceId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::codec::decode_event;

/// Commands that this build knows, for messages.
const KNOWN: &str = "start, resume, cancel, suspend, continue, retry";

/// A command.
#[derive(Debug, Clone)]
pub(crate) enum Command {
    /// To start a workflow.
    Start(Arc<StartCommand>),
    /// To one instance.
    Order(Arc<Order>),
}

/// `data` of `io.flagstop.command.start.v1`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StartCommand {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The newest, if it is missing.
    pub(crate) version: Option<String>,
    /// `null`, if it is missing.
    pub(crate) input: Option<Box<RawValue>>,
    /// `id` and `source` of the command.
    #[serde(skip)]
    pub(crate) cause: (String, String),
}

/// A command to one instance.
#[derive(Debug)]
pub(crate) struct Order {
    /// To whom: the command's `subject`.
    pub(crate) instance: InstanceId,
    pub(crate) verb: Verb,
    /// As it came.
    pub(crate) envelope: CloudEvent,
}

/// What an instance is told.
#[derive(Debug, Clone)]
pub(crate) enum Verb {
    /// To take this event, which is for it alone.
    Resume(Arc<Event>),
    Cancel,
    Suspend,
    Continue,
    Retry,
}

/// Why a message is no command that can be carried out: a stable code, and what to do.
pub(crate) type NoCommand = (&'static str, String);

/// `data` of the commands that say all by their type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remark {
    /// Why, for people.
    #[allow(dead_code, reason = "checked, and kept with the message")]
    reason: Option<String>,
}

/// `data` of `io.flagstop.command.resume.v1`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeData {
    /// A CloudEvent in JSON format.
    event: Box<RawValue>,
}

/// Is it a command at all?
pub(crate) fn is_command(ty: &str) -> bool {
    ty.starts_with(PREFIX)
}

/// Is it an answer to a command? One that comes back in is no command, or answers would be answered for ever.
pub(crate) fn is_answer(ty: &str) -> bool {
    Answer::routing_key(ty).is_some()
}

/// Reads a command.
///
/// # Errors
/// Says what is wrong with it and how to mend it.
pub(crate) fn read(event: CloudEvent, codec: &CodecLimits, limits: &Limits) -> Result<Command, NoCommand> {
    let verb = event.ty.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(".v1")).unwrap_or_default();
    let verb = match verb {
        "start" => {
            let mut command: StartCommand = data(&event, "{namespace, name, version?, input?}")?;
            command.cause = (event.id.clone(), event.source.clone());
            return Ok(Command::Start(Arc::new(command)));
        }
        "resume" => {
            let resume: ResumeData = data(&event, "{event}, where `event` is a CloudEvent in JSON format")?;
            let invalid = |why: String| ("FS-COMMAND-INVALID", format!("`data.event` of the resume command: {why}"));
            let inner = decode_event(resume.event.get().as_bytes(), codec).map_err(|why| invalid(why.to_string()))?;
            Verb::Resume(Arc::new(Event::parse(inner, limits).map_err(|why| invalid(why.to_string()))?))
        }
        "cancel" => bare(&event, Verb::Cancel)?,
        "suspend" => bare(&event, Verb::Suspend)?,
        "continue" => bare(&event, Verb::Continue)?,
        "retry" => bare(&event, Verb::Retry)?,
        _ => {
            let what = format!(
                "this build does not know the command `{}`; it knows {KNOWN}, each as `{PREFIX}NAME.v1`",
                event.ty
            );
            return Err(("FS-COMMAND-UNKNOWN", what));
        }
    };
    let subject = event.subject.as_deref().unwrap_or_default();
    let instance = uuid::Uuid::parse_str(subject).map_err(|_| {
        let what = "the command must name its instance: `subject` is the id, as `flagstop instances list` shows it";
        ("FS-COMMAND-INVALID", format!("{what}; here it is `{subject}`"))
    })?;
    Ok(Command::Order(Arc::new(Order { instance: InstanceId(instance), verb, envelope: event })))
}

fn bare(event: &CloudEvent, verb: Verb) -> Result<Verb, NoCommand> {
    let says_nothing = match &event.data {
        Data::Absent => true,
        Data::Json(text) => text.trim_ascii() == b"null",
        Data::Binary(_) => false,
    };
    if !says_nothing {
        let _remark: Remark = data(event, "{reason?}, or none at all")?;
    }
    Ok(verb)
}

fn data<T: DeserializeOwned>(event: &CloudEvent, form: &str) -> Result<T, NoCommand> {
    let Data::Json(text) = &event.data else {
        return Err(("FS-COMMAND-INVALID", format!("the command `{}` needs JSON data: {form}", event.ty)));
    };
    serde_json::from_slice(text).map_err(|why| {
        let what = format!("the data of the command `{}` is invalid: {why}; it needs {form}", event.ty);
        ("FS-COMMAND-INVALID", what)
    })
}

impl Verb {
    /// The stimulus of the verbs that say all by themselves.
    pub(crate) fn stimulus(&self) -> Option<Stimulus> {
        match self {
            Self::Resume(_) => None,
            Self::Cancel => Some(Stimulus::Cancel),
            Self::Suspend => Some(Stimulus::Suspend),
            Self::Continue => Some(Stimulus::Continue),
            Self::Retry => Some(Stimulus::Retry),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;

    fn command(name: &str, subject: Option<&str>, data: Option<&str>) -> Result<Command, NoCommand> {
        let event = CloudEvent {
            id: "c-1".into(),
            source: "/tests".into(),
            ty: format!("io.flagstop.command.{name}.v1"),
            subject: subject.map(str::to_owned),
            time: None,
            datacontenttype: None,
            dataschema: None,
            extensions: BTreeMap::new(),
            data: data.map_or(Data::Absent, |text| Data::Json(Bytes::copy_from_slice(text.as_bytes()))),
        };
        read(event, &CodecLimits::default(), &Limits::default())
    }

    const ID: &str = "00000000-0000-0000-0000-00000000002a";

    #[test]
    fn an_order_names_its_instance_and_may_say_why() {
        for name in ["cancel", "suspend", "continue", "retry"] {
            for data in [None, Some("null"), Some("{}"), Some(r#"{"reason":"a test"}"#)] {
                let Ok(Command::Order(order)) = command(name, Some(ID), data) else { panic!("{name} {data:?}") };
                assert_eq!(order.instance.to_string(), ID);
            }
        }
        let resume = r#"{"event":{"specversion":"1.0","id":"e","source":"/s","type":"t","data":{"n":1}}}"#;
        let Ok(Command::Order(order)) = command("resume", Some(ID), Some(resume)) else { panic!("resume") };
        let Verb::Resume(event) = &order.verb else { panic!("{:?}", order.verb) };
        assert_eq!(event.envelope().id, "e");
    }

    #[test]
    fn what_is_wrong_with_a_command_is_said() {
        let refused = |name: &str, subject, data| command(name, subject, data).expect_err("it is refused");
        for (name, subject, data, code, says) in [
            ("fly", Some(ID), None, "FS-COMMAND-UNKNOWN", "it knows start, resume"),
            ("cancel", None, None, "FS-COMMAND-INVALID", "`subject` is the id"),
            ("cancel", Some("42"), None, "FS-COMMAND-INVALID", "here it is `42`"),
            ("retry", Some(ID), Some(r#"{"from":"/do/0"}"#), "FS-COMMAND-INVALID", "unknown field `from`"),
            ("suspend", Some(ID), Some("3"), "FS-COMMAND-INVALID", "{reason?}"),
            ("resume", Some(ID), None, "FS-COMMAND-INVALID", "needs JSON data: {event}"),
            ("resume", Some(ID), Some(r#"{"event":{"id":"x"}}"#), "FS-COMMAND-INVALID", "`data.event`"),
            ("start", None, Some("{}"), "FS-COMMAND-INVALID", "missing field `namespace`"),
        ] {
            let (found, why) = refused(name, subject, data);
            assert_eq!(found, code, "{name}: {why}");
            assert!(why.contains(says), "{name}: {why}");
        }
    }
}
