//! The model of `demo.yaml`.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::exit::{Exit, Failure};

/// The file's name within its folder.
pub const FILE: &str = "demo.yaml";

/// A whole demonstration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// Stand-ins for services.
    pub services: Vec<Service>,
    /// What is played, in order.
    pub steps: Vec<Step>,
}

/// A stand-in for an HTTP service, on a free loopback port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its name, and the name of the secret that holds its `url`.
    pub name: String,
    /// What that secret holds besides.
    #[serde(default)]
    pub secret: Map<String, Value>,
    /// What it answers; the first that fits and is not used up.
    pub answers: Vec<Answer>,
}

/// One answer of a stand-in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The request's method, in any case.
    pub method: String,
    /// The request's path; `{x}` is one segment.
    pub path: String,
    /// The status code.
    pub status: u16,
    /// The body, sent as JSON.
    #[serde(default)]
    pub body: Option<Value>,
    /// How often it is given; the next that fits follows. Without it there is no end.
    #[serde(default)]
    pub times: Option<u32>,
}

/// One step.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Tells the audience what comes.
    Say(String),
    /// Publishes an event.
    Publish(Event),
    /// Waits until events of all these types have been seen since the last such step.
    Until(Vec<String>),
    /// Ends the process and starts a new one on the same data.
    Restart(Restart),
}

/// How the process ends before it starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Restart {
    /// It finishes what is under way and leaves.
    Stop,
    /// It is killed.
    Kill,
}

/// An event to publish; its id is new each time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// The CloudEvent's type.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its source.
    pub source: String,
    /// Its subject.
    #[serde(default)]
    pub subject: Option<String>,
    /// Its data.
    #[serde(default)]
    pub data: Option<Value>,
}

impl Script {
    /// Reads the folder's script, if it has one.
    pub fn read(folder: &Path) -> Result<Option<Self>, Failure> {
        let path = folder.join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(invalid(&path, &error.to_string())),
        };
        let value = crate::value::yaml(&text, FILE).map_err(|why| invalid(&path, why.trim_end()))?;
        serde_json::from_value(value).map(Some).map_err(|error| invalid(&path, &error.to_string()))
    }

    /// The events that it publishes.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.steps.iter().filter_map(|step| match step {
            Step::Publish(event) => Some(event),
            _ => None,
        })
    }
}

fn invalid(path: &Path, why: &str) -> Failure {
    let what = format!("{}: {why}", path.display());
    Failure::new(Exit::Invalid, "FS-DEMO", what, "mend the script, or leave it out with `--no-demo`")
}
