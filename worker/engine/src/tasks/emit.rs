//! `emit`: publishes the author's own event. No effect: it goes into the journal together with the state.

use std::collections::BTreeMap;

use flagstop_schemas::{CloudEvent, Data, Hash16};

use super::{Outcome, TaskType};
use crate::api::Value;
use crate::content::{self, Form};
use crate::event;
use crate::expr::Template;
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
    check_size(&envelope.data, cx.limits().payload_bytes_max)?;
    Ok((envelope, data))
}

/// What could not be heard again must not be published: a broker would stop at it, when it is too late to say so.
fn check_size(data: &Data, bytes_max: usize) -> Result<(), String> {
    let bytes = match data {
        Data::Absent => 0,
        Data::Json(bytes) | Data::Binary(bytes) => bytes.len(),
    };
    if bytes > bytes_max {
        Err(format!("its data has {bytes} bytes, at most {bytes_max} are published"))
    } else {
        Ok(())
    }
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
