//! What happens to the instance from outside: events and commands.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flagstop_engine::api::Value;
use flagstop_engine::source::Node;
use flagstop_engine::value;
use flagstop_schemas::{CloudEvent, Data};

use super::model::{ScriptCommand, ScriptEvent, When};
use super::reader::Reader;
use crate::world::Command;

const EVENT: &[&str] = &["at", "after", "event"];
const COMMANDS: [(&str, Command); 4] = [
    ("cancel", Command::Cancel),
    ("suspend", Command::Suspend),
    ("continue", Command::Continue),
    ("retry", Command::Retry),
];

impl Reader<'_> {
    pub(super) fn script_event(&mut self, node: &Node, at: usize) -> Option<ScriptEvent> {
        self.mapping(node, "an entry of `events`", EVENT)?;
        let when = match (node.get("at"), node.get("after")) {
            (Some(_), Some(after)) => {
                self.error("FS-VALUE", after.span, "an event has both `at` and `after`", "keep one of them");
                None
            }
            (Some(at), None) => self.duration(at, "`at`").map(When::At),
            (None, Some(after)) => self.one_of(after, "`after`", &["waiting"]).map(|_| When::Waiting),
            (None, None) => Some(When::At(0)),
        };
        let event = self.required(node, "event", "an entry of `events`").and_then(|event| self.cloud_event(event, at));
        Some(ScriptEvent { when: when?, event: event? })
    }

    pub(super) fn script_command(&mut self, node: &Node) -> Option<ScriptCommand> {
        self.mapping(node, "an entry of `commands`", &["at", "cancel", "suspend", "continue", "retry"])?;
        let at_us = self.required(node, "at", "a command").and_then(|at| self.duration(at, "`at`"));
        let given: Vec<_> = COMMANDS.iter().filter_map(|(key, command)| Some((node.get(key)?, command))).collect();
        let [(truth, command)] = given.as_slice() else {
            let hint = "write `{ at: PT1H, cancel: true }`, or `suspend`, `continue`, `retry`";
            self.error("FS-VALUE", node.span, "an entry of `commands` must hold exactly one command", hint);
            return None;
        };
        if truth.as_bool() != Some(true) {
            self.wrong_type(truth, "a command", "`true`");
            return None;
        }
        Some(ScriptCommand { at_us: at_us?, command: **command })
    }

    /// A CloudEvent with the kit's defaults; its time is filled in when it is delivered.
    fn cloud_event(&mut self, node: &Node, at: usize) -> Option<CloudEvent> {
        let entries = self.entries(node, "`event`")?;
        let mut event = CloudEvent {
            id: format!("test-{}", at + 1),
            source: "/test".to_owned(),
            ty: String::new(),
            subject: None,
            time: None,
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: BTreeMap::new(),
            data: Data::Absent,
        };
        let mut data = None;
        for (key, item) in entries {
            let what = format!("`{}` of an event", key.text);
            match &*key.text {
                "specversion" => {
                    self.scalar(item, &what).filter(|version| version != "1.0").inspect(|version| {
                        let message = format!("`specversion` is `{version}`");
                        self.error("FS-VALUE", item.span, message, "leave it out: events are CloudEvents 1.0");
                    });
                }
                "id" => event.id = self.scalar(item, &what)?,
                "source" => event.source = self.text(item, &what)?.to_owned(),
                "type" => event.ty = self.text(item, &what)?.to_owned(),
                "subject" => event.subject = Some(self.scalar(item, &what)?),
                "time" => event.time = Some(self.text(item, &what)?.to_owned()),
                "datacontenttype" => event.datacontenttype = Some(self.text(item, &what)?.to_owned()),
                "dataschema" => event.dataschema = Some(self.text(item, &what)?.to_owned()),
                "data" => data = Some(value::from_node(item)),
                "data_base64" => match STANDARD.decode(self.text(item, &what)?) {
                    Ok(bytes) => event.data = Data::Binary(bytes.into()),
                    Err(why) => {
                        self.error(
                            "FS-VALUE",
                            item.span,
                            format!("{what} is no base64: {why}"),
                            "encode the bytes as base64",
                        );
                    }
                },
                name => {
                    event.extensions.insert(name.to_owned(), value::to_serde(&value::from_node(item)));
                }
            }
        }
        if let Some(data) = data {
            event.data = content(&event, &data);
        }
        if event.ty.is_empty() {
            self.error(
                "FS-MISSING-KEY",
                node.span,
                "an event needs a `type`",
                "write `type: com.example.what.happened`",
            );
            return None;
        }
        if let Err(why) = event.validate() {
            self.error("FS-VALUE", node.span, format!("this is no CloudEvent: {why}"), "mend the named attribute");
            return None;
        }
        Some(event)
    }
}

/// Text of another type than JSON travels as it is.
fn content(event: &CloudEvent, data: &Value) -> Data {
    let is_json = event.datacontenttype.as_deref().is_none_or(|ty| {
        let ty = ty.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        ty.ends_with("/json") || ty.ends_with("+json")
    });
    match value::as_str(data) {
        Some(text) if !is_json => Data::Binary(text.to_owned().into()),
        _ => Data::Json(value::to_json(data).into()),
    }
}
