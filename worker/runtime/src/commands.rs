//! Commands: what a message of type `io.flagstop.command.*` asks for. Reads only; `decide/commands.rs` carries out.

use std::sync::Arc;

use flagstop_bus::CodecLimits;
use flagstop_engine::api::{Phase, Stimulus};
use flagstop_engine::{Event, Limits};
use flagstop_schemas::{Answer, COMMAND_PREFIX as PREFIX, CloudEvent, Data, Hash16, InstanceId};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::codec::decode_event;

/// Commands that this build knows, for messages.
const KNOWN: &str = "start, resume, cancel, suspend, continue, retry, rerun";

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
    pub(crate) to: Addressee,
    pub(crate) verb: Verb,
    /// As it came.
    pub(crate) envelope: CloudEvent,
}

/// To whom a command goes.
#[derive(Debug, Clone)]
pub(crate) enum Addressee {
    /// The command's `subject`.
    Instance(InstanceId),
    /// The one live instance of a definition that has a business key.
    Business(BusinessKey),
}

/// A business key within the versions of one definition.
#[derive(Debug, Clone)]
pub(crate) struct BusinessKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Any, if it is missing.
    pub(crate) version: Option<String>,
    pub(crate) key: String,
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
    /// To begin anew, as another instance.
    Rerun,
}

/// Why a message is no command that can be carried out: a stable code, and what to do.
pub(crate) type NoCommand = (&'static str, String);

/// `data` of the commands to one instance: all that any of them may say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct OrderData {
    /// Why, for people.
    #[allow(dead_code, reason = "checked, and kept with the message")]
    reason: Option<String>,
    /// Of `resume`: a CloudEvent in JSON format.
    event: Option<Box<RawValue>>,
    business_key: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    version: Option<String>,
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
    if verb == "start" {
        let mut command: StartCommand = data(&event, "{namespace, name, version?, input?}")?;
        command.cause = (event.id.clone(), event.source.clone());
        return Ok(Command::Start(Arc::new(command)));
    }
    if !["resume", "cancel", "suspend", "continue", "retry", "rerun"].contains(&verb) {
        let what =
            format!("this build does not know the command `{}`; it knows {KNOWN}, each as `{PREFIX}NAME.v1`", event.ty);
        return Err(("FS-COMMAND-UNKNOWN", what));
    }
    let mut said = order_data(&event, verb)?;
    let inner = said.event.take();
    let verb = match (verb, inner) {
        ("resume", Some(inner)) => {
            let invalid = |why: String| invalid(format!("`data.event` of the resume command: {why}"));
            let inner = decode_event(inner.get().as_bytes(), codec).map_err(|why| invalid(why.to_string()))?;
            Verb::Resume(Arc::new(Event::parse(inner, limits).map_err(|why| invalid(why.to_string()))?))
        }
        ("resume", None) => return Err(invalid("`data.event` of the resume command is missing".to_owned())),
        (_, Some(_)) => return Err(invalid(format!("only `resume` has `data.event`, `{verb}` has none"))),
        ("cancel", None) => Verb::Cancel,
        ("suspend", None) => Verb::Suspend,
        ("continue", None) => Verb::Continue,
        ("retry", None) => Verb::Retry,
        (_, None) => Verb::Rerun,
    };
    let to = addressee(event.subject.as_deref().unwrap_or_default(), said, &verb)?;
    Ok(Command::Order(Arc::new(Order { to, verb, envelope: event })))
}

fn order_data(event: &CloudEvent, verb: &str) -> Result<OrderData, NoCommand> {
    let says_nothing = match &event.data {
        Data::Absent => true,
        Data::Json(text) => text.trim_ascii() == b"null",
        Data::Binary(_) => false,
    };
    match verb {
        "resume" => data(event, "{event, …}, where `event` is a CloudEvent in JSON format"),
        _ if says_nothing => Ok(OrderData::default()),
        _ => data(event, "{reason?}, with {businessKey, namespace, name, version?} if it has no `subject`"),
    }
}

/// Either by `subject`, or by the business key with the definition.
fn addressee(subject: &str, said: OrderData, verb: &Verb) -> Result<Addressee, NoCommand> {
    const HOW: &str = "a command names its instance by `subject`, the id as `flagstop instances list` shows it, or by \
                       `data.businessKey` with `data.namespace` and `data.name` of the definition";
    match (subject, said.business_key, said.namespace, said.name) {
        ("", Some(key), Some(namespace), Some(name)) if !matches!(verb, Verb::Rerun) => {
            Ok(Addressee::Business(BusinessKey { namespace, name, version: said.version, key }))
        }
        ("", Some(_), Some(_), Some(_)) => Err(invalid(
            "a rerun names the ended instance by `subject`: several may have had its business key".to_owned(),
        )),
        ("", Some(_), ..) => Err(invalid(format!("{HOW}; here the definition is missing"))),
        ("", None, ..) => Err(invalid(format!("{HOW}; here there is neither"))),
        (_, None, None, None) if said.version.is_none() => uuid::Uuid::parse_str(subject)
            .map(|id| Addressee::Instance(InstanceId(id)))
            .map_err(|_| invalid(format!("{HOW}; here `subject` is `{subject}`"))),
        _ => Err(invalid(format!("{HOW}; here it is both"))),
    }
}

fn invalid(why: String) -> NoCommand {
    ("FS-COMMAND-INVALID", why)
}

fn data<T: DeserializeOwned>(event: &CloudEvent, form: &str) -> Result<T, NoCommand> {
    let Data::Json(text) = &event.data else {
        return Err(invalid(format!("the command `{}` needs JSON data: {form}", event.ty)));
    };
    serde_json::from_slice(text)
        .map_err(|why| invalid(format!("the data of the command `{}` is invalid: {why}; it needs {form}", event.ty)))
}

impl BusinessKey {
    /// Under which such an instance is found, and such a command waits.
    pub(crate) fn hash(&self) -> Hash16 {
        business_hash(&self.namespace, &self.name, &self.key)
    }
}

/// The key of the bookmark under which an instance with this business key is found as long as it lives or has faulted, whatever
/// the version of its definition.
#[must_use]
pub fn business_hash(namespace: &str, name: &str, key: &str) -> Hash16 {
    Hash16::of("flagstop/business-key", &[namespace, name, key].map(str::as_bytes))
}

impl Verb {
    /// Can it be for an instance in this phase? Who is named by a business key is looked for among these alone.
    pub(crate) fn fits(&self, phase: Phase) -> bool {
        match self {
            Self::Retry => phase == Phase::Faulted,
            Self::Rerun => phase.has_ended(),
            Self::Resume(_) | Self::Cancel | Self::Suspend | Self::Continue => !phase.has_ended(),
        }
    }

    /// The stimulus of the verbs that say all by themselves.
    pub(crate) fn stimulus(&self) -> Option<Stimulus> {
        match self {
            Self::Resume(_) | Self::Rerun => None,
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
        for name in ["cancel", "suspend", "continue", "retry", "rerun"] {
            for data in [None, Some("null"), Some("{}"), Some(r#"{"reason":"a test"}"#)] {
                let Ok(Command::Order(order)) = command(name, Some(ID), data) else { panic!("{name} {data:?}") };
                let Addressee::Instance(id) = &order.to else { panic!("{name} {data:?}") };
                assert_eq!(id.to_string(), ID);
            }
        }
        let resume = r#"{"event":{"specversion":"1.0","id":"e","source":"/s","type":"t","data":{"n":1}}}"#;
        let Ok(Command::Order(order)) = command("resume", Some(ID), Some(resume)) else { panic!("resume") };
        let Verb::Resume(event) = &order.verb else { panic!("{:?}", order.verb) };
        assert_eq!(event.envelope().id, "e");
    }

    #[test]
    fn an_order_may_name_the_business_object_and_its_definition_instead() {
        let event = r#""event":{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;
        let whom = r#""businessKey":"e-1","namespace":"hr","name":"onboarding""#;
        for (verb, data) in [
            ("cancel", format!("{{{whom}}}")),
            ("retry", format!(r#"{{{whom},"version":"1.0.0","reason":"a test"}}"#)),
            ("resume", format!("{{{whom},{event}}}")),
        ] {
            let Ok(Command::Order(order)) = command(verb, None, Some(&data)) else { panic!("{verb} {data}") };
            let Addressee::Business(to) = &order.to else { panic!("{verb} {data}") };
            assert_eq!(to.hash(), business_hash("hr", "onboarding", "e-1"));
            assert_eq!(to.version.is_some(), verb == "retry");
        }
    }

    #[test]
    fn what_is_wrong_with_a_command_is_said() {
        let refused = |name: &str, subject, data| command(name, subject, data).expect_err("it is refused");
        for (name, subject, data, code, says) in [
            ("fly", Some(ID), None, "FS-COMMAND-UNKNOWN", "it knows start, resume"),
            ("cancel", None, None, "FS-COMMAND-INVALID", "here there is neither"),
            ("cancel", Some("42"), None, "FS-COMMAND-INVALID", "here `subject` is `42`"),
            ("cancel", Some(ID), Some(r#"{"businessKey":"e"}"#), "FS-COMMAND-INVALID", "here it is both"),
            ("cancel", None, Some(r#"{"businessKey":"e"}"#), "FS-COMMAND-INVALID", "the definition is missing"),
            ("cancel", Some(ID), Some(r#"{"event":{}}"#), "FS-COMMAND-INVALID", "only `resume`"),
            (
                "rerun",
                None,
                Some(r#"{"businessKey":"e","namespace":"n","name":"m"}"#),
                "FS-COMMAND-INVALID",
                "by `subject`",
            ),
            ("retry", Some(ID), Some(r#"{"from":"/do/0"}"#), "FS-COMMAND-INVALID", "unknown field `from`"),
            ("suspend", Some(ID), Some("3"), "FS-COMMAND-INVALID", "{reason?}"),
            ("resume", Some(ID), None, "FS-COMMAND-INVALID", "needs JSON data: {event"),
            ("resume", Some(ID), Some(r#"{"event":{"id":"x"}}"#), "FS-COMMAND-INVALID", "`data.event`"),
            ("start", None, Some("{}"), "FS-COMMAND-INVALID", "missing field `namespace`"),
        ] {
            let (found, why) = refused(name, subject, data);
            assert_eq!(found, code, "{name}: {why}");
            assert!(why.contains(says), "{name}: {why}");
        }
    }
}
