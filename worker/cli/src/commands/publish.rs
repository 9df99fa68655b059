//! `flagstop publish`: CloudEvents from the command line, all checked before the first is sent.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;
use flagstop_bus::port::{Channel, Outgoing, PublishError};
use flagstop_schemas::{CloudEvent, Data};
use serde_json::json;

use crate::args::{BusFlag, Output};
use crate::config::{Config, Flags};
use crate::events;
use crate::exit::{Exit, Failure};
use crate::http::client;
use crate::node;
use crate::term::print_line;

/// Events that are sent before their confirmations are awaited.
const CHUNK_EVENTS: usize = 500;

/// Invalid lines of a file that are shown.
const SHOWN_LINES_MAX: usize = 20;

/// Publishes one event made from the flags, or many from a file. With `--file` nothing is sent when any line is invalid.
#[derive(Debug, Args)]
pub struct Publish {
    #[command(flatten)]
    bus: BusFlag,
    /// Send to a `flagstop dev` instead: the address that it prints, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", conflicts_with = "bus")]
    http: Option<String>,
    /// A file with one CloudEvent in JSON format per line; `-` is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["ty", "source", "subject", "data", "id"])]
    file: Option<PathBuf>,
    /// The event's type
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    ty: Option<String>,
    /// The event's source
    #[arg(long, value_name = "URI", default_value = "/flagstop/publish")]
    source: String,
    /// The event's subject
    #[arg(long)]
    subject: Option<String>,
    /// The event's data: JSON, or `@FILE`
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// The event's id; a random one by default. Two events with the same source and id are the same event
    #[arg(long)]
    id: Option<String>,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

/// An event with its line, or its place in the input.
type Numbered = (usize, CloudEvent);

/// An event that was not published.
struct Refused {
    line: usize,
    exit: Exit,
    code: String,
    message: String,
}

impl Publish {
    /// Runs it.
    pub async fn run(self, file: Option<&Path>) -> Result<(), Failure> {
        let (events, mut refused) = match &self.file {
            Some(path) => from_file(path)?,
            None => (vec![(1, self.event()?)], Vec::new()),
        };
        // One invalid line, and nothing is sent: a half-sent file is hard to mend.
        let sent = refused.is_empty();
        if sent {
            refused = match &self.http {
                Some(url) => to_http(url, &events).await,
                None => {
                    let config = Config::load(&Flags { file, bus: self.bus.bus.as_deref(), ..Flags::default() })?;
                    to_bus(&config, &events).await?
                }
            };
        }
        let published = if sent { events.len() - refused.len() } else { 0 };
        self.print(published, &events, &refused);
        match refused.first() {
            None => Ok(()),
            Some(first) => Err(Failure::shown(first.exit)),
        }
    }

    fn print(&self, published: usize, events: &[Numbered], refused: &[Refused]) {
        let shown = self.file.as_ref().map_or_else(|| "event ".to_owned(), |path| format!("{}:", path.display()));
        for Refused { line, code, message, .. } in refused.iter().take(SHOWN_LINES_MAX) {
            eprintln!("{shown}{line}: error[{code}]: {message}");
        }
        if let Output::Json = self.output {
            let refused = refused.iter().map(|r| json!({ "line": r.line, "code": r.code, "message": r.message }));
            print_line(&json!({ "published": published, "refused": refused.collect::<Vec<_>>() }).to_string());
        } else if !refused.is_empty() {
            eprintln!("{} refused, {published} published", refused.len());
        } else if let [(_, event)] = events {
            eprintln!("published {} with id {}", event.ty, event.id);
        } else {
            eprintln!("{published} published");
        }
    }

    fn event(&self) -> Result<CloudEvent, Failure> {
        let data = match &self.data {
            None => Data::Absent,
            Some(text) => Data::Json(json_text(text)?),
        };
        let ty = self.ty.clone().unwrap_or_default();
        let event = events::new(&ty, &self.source, self.id.clone(), self.subject.clone(), data);
        // The same reader as for everybody else's events decides whether it is one.
        events::from_line(&event.to_json())
            .map_err(|why| Failure::coded(Exit::Invalid, &why, "mend the flag for the named attribute".to_owned()))
    }
}

fn json_text(text: &str) -> Result<Bytes, Failure> {
    let text = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Exit::Invalid, "FS-FILE", format!("{path}: {error}"), "`--data @FILE` reads a file with JSON")
        })?,
    };
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => Ok(Bytes::from(text)),
        Err(error) => {
            let hint = "put it into single quotes, so that the shell leaves the double ones alone: --data '{\"a\": 1}'";
            Err(Failure::new(Exit::Invalid, "FS-EVENT-DATA", format!("`--data` is not JSON: {error}"), hint))
        }
    }
}

fn from_file(path: &Path) -> Result<(Vec<Numbered>, Vec<Refused>), Failure> {
    let bytes = match path.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes).map(|_| bytes)
        }
        false => std::fs::read(path),
    };
    let shown = path.display();
    let hint = "`--file` reads one CloudEvent in JSON format per line";
    let bytes = bytes.map_err(|error| Failure::new(Exit::Invalid, "FS-FILE", format!("{shown}: {error}"), hint))?;
    let text = events::utf8(bytes)
        .map_err(|line| Failure::new(Exit::Invalid, "FS-EVENT", format!("{shown}:{line}: it is not UTF-8"), hint))?;
    let (mut events, mut refused) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match events::from_line(line) {
            Ok(event) => events.push((index + 1, event)),
            Err(error) => refused.push(Refused::new(index + 1, Exit::Invalid, &error)),
        }
    }
    Ok((events, refused))
}

/// One after the other; the first that fails ends it, because the others would fail too.
async fn to_http(url: &str, events: &[Numbered]) -> Vec<Refused> {
    for (place, (line, event)) in events.iter().enumerate() {
        if let Err(failure) = client::post(url, event).await {
            let text = failure.one_line();
            return events[place..].iter().map(|(l, _)| Refused::new(*l.max(line), failure.exit, &text)).collect();
        }
    }
    Vec::new()
}

async fn to_bus(config: &Config, events: &[Numbered]) -> Result<Vec<Refused>, Failure> {
    if config.bus_url()?.starts_with("embedded:") {
        let what = "the embedded bus belongs to the process that runs it";
        return Err(Failure::new(Exit::Invalid, "FS-BUS-EMBEDDED", what, "send to that process with `--http URL`"));
    }
    let bus = node::open_bus(config).await?;
    bus.prepare(config.bus.declare).await?;
    let mut refused = Vec::new();
    for chunk in events.chunks(CHUNK_EVENTS) {
        let messages: Vec<Outgoing> = chunk.iter().map(|(_, e)| events::outgoing(e.clone(), Channel::In)).collect();
        for ((line, _), result) in chunk.iter().zip(bus.publish(&messages).await) {
            let Err(error) = result else { continue };
            let exit = match error {
                PublishError::Unavailable(_) | PublishError::Pushback(_) => Exit::Unreachable,
                PublishError::Refused(_) => Exit::Invalid,
            };
            refused.push(Refused::new(*line, exit, &error.to_string()));
        }
    }
    bus.close().await;
    Ok(refused)
}

impl Refused {
    /// From a text that begins with its code.
    fn new(line: usize, exit: Exit, text: &str) -> Self {
        let (code, message) = text.split_once(": ").unwrap_or(("FS-EVENT", text));
        Self { line, exit, code: code.to_owned(), message: message.to_owned() }
    }
}
