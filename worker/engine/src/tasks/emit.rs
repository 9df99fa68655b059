//! `emit`: publishes the author's own event. No effect: it goes into the journal together with the state.

use std::collections::BTreeMap;

use flagstop_schemas::{CloudEvent, Data, Hash16};

use super::{Outcome, TaskType};
use crate::api::Value;
use crate::content::{self, Form};
use crate::event;
use crate::expr::Template;
use crate::limits::Limits;
use crate::machine::cx::Cx;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::{Problem, ProblemKind};
use crate::source::Node;
use crate::time;
use crate::value;

/// The event's attributes and data, with expressions in them.
#[derive(Debug)]
pub(crate) struct Emit {
    event: Template,
}

const EMIT: Keys = Keys { of: "`emit`", known: &["event"], not_yet: &[] };
const EVENT: Keys = Keys { of: "`emit.event`", known: &["with"], not_yet: &[] };

impl TaskType for Emit {
    const KEY: &'static str = "emit";
    const TAG: u8 = 7;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let node = task.own(Self::KEY);
        compiler.mapping(node, EMIT)?;
        let event = compiler.required(node, "event", EMIT.of)?;
        compiler.mapping(event, EVENT)?;
        let with = compiler.required(event, "with", EVENT.of)?;
        check_attributes(with, compiler)?;
        compiler.required(with, "type", "an event")?;
        Some(Self { event: compiler.template(with, At::Definition)? })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        let properties = cx.vars().eval(&self.event, cx.input())?;
        let (event, data) = build(&properties, cx)
            .map_err(|why| Problem::new(ProblemKind::Expression, format!("this can't be emitted: {why}"), ""))?;
        let output = event::whole(&event, &data);
        cx.emit(event);
        Ok(((), Outcome::Done(output)))
    }
}

/// Attribute names can't be expressions, so they are checked early.
fn check_attributes(node: &Node, compiler: &mut Compiler<'_>) -> Option<()> {
    let Some(entries) = node.as_map() else {
        compiler.wrong_type(node, "`with`", "a mapping");
        return None;
    };
    for (key, field) in entries {
        compiler.attribute(key, field);
    }
    Some(())
}

fn build(properties: &Value, cx: &Cx<'_, '_>) -> Result<(CloudEvent, Value), String> {
    let text = |name: &str| match value::get(properties, name) {
        None | Some(Value::Null) => Ok(None),
        Some(found) => match value::as_str(found) {
            Some(text) => Ok(Some(text.to_owned())),
            None => Err(format!("`{name}` must be a string, not {}", value::type_name(found))),
        },
    };
    let media_type = text("datacontenttype")?;
    let data = value::get(properties, "data").cloned().unwrap_or_default();
    let envelope = CloudEvent {
        id: text("id")?.unwrap_or_else(|| derived_id(cx)),
        source: text("source")?.unwrap_or_else(|| {
            let reference = cx.plan().reference();
            format!("/{}/{}/{}", reference.namespace, reference.name, reference.version)
        }),
        ty: text("type")?.ok_or("it has no `type`")?,
        subject: text("subject")?,
        time: Some(text("time")?.unwrap_or_else(|| time::rfc3339(cx.now_us()))),
        data: payload(media_type.as_deref(), &data)?,
        datacontenttype: media_type.or_else(|| (!value::is_null(&data)).then(|| "application/json".to_owned())),
        dataschema: text("dataschema")?,
        extensions: extensions(properties)?,
    };
    envelope.validate().map_err(|why| why.to_string())?;
    check_size(&envelope, cx.limits())?;
    Ok((envelope, data))
}

/// What a binding puts before an attribute's name, at the longest (`cloudEvents_`).
const PREFIX_BYTES: usize = 12;
/// AMQP's longest name of a header.
const HEADER_NAME_BYTES_MAX: usize = 255;

/// What could not be heard again must not be published: a broker would stop at it, when it is too late to say so (PROTOCOL
/// D13).
fn check_size(event: &CloudEvent, limits: &Limits) -> Result<(), String> {
    let at_most = |what: &str, count: usize, unit: &str, max: usize, limit: &str| match count > max {
        true => Err(format!("its {what} {count} {unit}, at most {max} can be published (limit `{limit}`)")),
        false => Ok(()),
    };
    let data_bytes = match &event.data {
        Data::Absent => 0,
        Data::Json(bytes) | Data::Binary(bytes) => bytes.len(),
    };
    at_most("data has", data_bytes, "bytes", limits.payload_bytes_max, "payload_bytes_max")?;
    at_most("`type` has", event.ty.len(), "bytes", limits.event_type_bytes_max, "event_type_bytes_max")?;
    let many = event.extensions.len();
    at_most("extension attributes are", many, "in number", limits.event_extensions_max, "event_extensions_max")?;
    let known = [
        ("id", Some(event.id.len())),
        ("source", Some(event.source.len())),
        ("subject", event.subject.as_ref().map(String::len)),
        ("time", event.time.as_ref().map(String::len)),
        ("datacontenttype", event.datacontenttype.as_ref().map(String::len)),
        ("dataschema", event.dataschema.as_ref().map(String::len)),
    ];
    let known = known.into_iter().filter_map(|(name, bytes)| Some((name, bytes?)));
    let extensions = event.extensions.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string().len(), str::len);
        (name.as_str(), text)
    });
    let mut bytes = 2 * PREFIX_BYTES + "specversion1.0type".len() + event.ty.len();
    for (name, value_bytes) in known.chain(extensions) {
        let (max, limit) = (limits.event_attribute_bytes_max, "event_attribute_bytes_max");
        at_most(&format!("`{}` has", brief(name)), value_bytes, "bytes", max, limit)?;
        if name.len() + PREFIX_BYTES > HEADER_NAME_BYTES_MAX {
            return Err(format!("the name of its attribute `{}` is too long for a header of RabbitMQ", brief(name)));
        }
        bytes += PREFIX_BYTES + name.len() + value_bytes;
    }
    at_most("attributes have", bytes, "bytes", limits.event_attributes_bytes_max, "event_attributes_bytes_max")
}

/// A name, for a message.
fn brief(name: &str) -> &str {
    &name[..name.floor_char_boundary(40)]
}

/// Fixed by where it comes from: the same whenever the transition is repeated (D4).
fn derived_id(cx: &Cx<'_, '_>) -> String {
    let instance = cx.instance_id().0;
    let run = cx.run().to_be_bytes();
    Hash16::of("flagstop/emit", &[instance.as_bytes(), cx.task().pointer.as_bytes(), &run]).0.to_string()
}

/// The counterpart of how events are read: a string under a text type is the content itself, one under any other type
/// that is not JSON is its base64. So what was heard, or fetched, can be passed on as it is.
fn payload(media_type: Option<&str>, data: &Value) -> Result<Data, String> {
    let form = media_type.map_or(Form::Json, |media_type| content::form(Some(media_type)));
    Ok(match (data, value::as_str(data), form) {
        (Value::Null, ..) => Data::Absent,
        (_, Some(text), Form::Text) => Data::Binary(text.to_owned().into()),
        (_, Some(text), Form::Binary) => {
            let bytes = content::from_base64(text);
            Data::Binary(
                bytes.ok_or_else(|| format!("`data` under `{}` must be base64", media_type.unwrap_or_default()))?,
            )
        }
        _ => Data::Json(value::to_json_bytes(data).into()),
    })
}

const ATTRIBUTES: [&str; 9] =
    ["id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data", "specversion"];

fn extensions(properties: &Value) -> Result<BTreeMap<String, serde_json::Value>, String> {
    value::entries(properties)
        .filter(|(name, item)| !ATTRIBUTES.contains(name) && !value::is_null(item))
        .map(|(name, item)| match item {
            Value::Arr(_) | Value::Obj(_) => Err(format!("`{name}` must be a string, a number or a boolean")),
            item => Ok((name.to_owned(), value::to_serde(item))),
        })
        .collect()
}
