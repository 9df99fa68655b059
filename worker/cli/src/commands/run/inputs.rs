//! What a run is given: its input, its events, its secrets. Whatever is malformed is told with file and line.

use std::collections::VecDeque;
use std::io::BufRead;
use std::path::Path;
use std::time::Duration;

use flagstop_engine::value::{self, Value};
use flagstop_engine::{Event, Limits};
use flagstop_schemas::CloudEvent;
use tokio::sync::mpsc;

use crate::events;
use crate::exit::{Exit, Failure};

/// Lines of standard input that are read ahead.
const LINES_AHEAD_MAX: usize = 64;

/// Where events come from.
pub enum Events {
    /// A file, read and checked before the run.
    File(VecDeque<CloudEvent>),
    /// Standard input, line by line.
    Pipe(mpsc::Receiver<Result<CloudEvent, Failure>>),
}

impl Events {
    /// Reads a file whole, or begins to read standard input.
    pub fn open(path: Option<&Path>, limits: &Limits) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::File(VecDeque::new())) };
        if path.as_os_str() == "-" {
            let (to, from) = mpsc::channel(LINES_AHEAD_MAX);
            let limits = limits.clone();
            // A thread of its own: reading a pipe can't be given up.
            std::thread::spawn(move || {
                for (index, line) in std::io::stdin().lock().lines().enumerate() {
                    let line = line.map_err(|error| unreadable("standard input", &error));
                    let event = line.and_then(|line| event(&line, "standard input", index + 1, &limits)).transpose();
                    if event.is_some_and(|event| to.blocking_send(event).is_err()) {
                        return;
                    }
                }
            });
            return Ok(Self::Pipe(from));
        }
        let shown = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| unreadable(&shown, &error))?;
        let text = events::utf8(text).map_err(|line| malformed(&shown, line, "FS-EVENT: it is not UTF-8"))?;
        let (mut found, mut wrong) = (VecDeque::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            match event(line, &shown, index + 1, limits) {
                Ok(event) => found.extend(event),
                Err(failure) => wrong.push(failure),
            }
        }
        match wrong.pop() {
            None => Ok(Self::File(found)),
            Some(last) => {
                // All of them at once; the last one is printed by `main`.
                wrong.iter().for_each(Failure::print);
                Err(last)
            }
        }
    }

    /// The next event, if one is there at once.
    pub fn next_at_once(&mut self) -> Option<Result<CloudEvent, Failure>> {
        match self {
            Self::File(events) => events.pop_front().map(Ok),
            Self::Pipe(from) => from.try_recv().ok(),
        }
    }

    /// The next event, as soon as the pipe gives one; `None`: there are no more.
    pub async fn next(&mut self) -> Option<Result<CloudEvent, Failure>> {
        match self {
            Self::File(events) => events.pop_front().map(Ok),
            Self::Pipe(from) => from.recv().await,
        }
    }

    /// Whether no more can come.
    pub fn is_used_up(&self) -> bool {
        match self {
            Self::File(events) => events.is_empty(),
            Self::Pipe(from) => from.is_closed() && from.is_empty(),
        }
    }
}

fn event(line: &str, file: &str, number: usize, limits: &Limits) -> Result<Option<CloudEvent>, Failure> {
    if line.trim().is_empty() {
        return Ok(None);
    }
    let event = events::from_line(line).map_err(|why| malformed(file, number, &why))?;
    Event::parse(event.clone(), limits).map_err(|why| malformed(file, number, &why.to_string()))?;
    Ok(Some(event))
}

fn malformed(file: &str, line: usize, why: &str) -> Failure {
    let (code, what) = why.split_once(": ").filter(|(code, _)| code.starts_with("FS-")).unwrap_or(("FS-EVENT", why));
    let hint = "each line must be one CloudEvent in JSON format: {\"specversion\":\"1.0\",\"id\":…,\"source\":…,\"type\":…,\"data\":…}";
    Failure::new(Exit::Invalid, code, format!("{file}:{line}: {what}"), hint)
}

/// The input: JSON as it stands, `@FILE`, or `-`.
pub fn value(text: &str, limits: &Limits) -> Result<Value, Failure> {
    let (shown, bytes) = match text {
        "-" => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)
                .map_err(|e| unreadable("standard input", &e))?;
            ("standard input".to_owned(), bytes)
        }
        text => match text.strip_prefix('@') {
            Some(path) => (path.to_owned(), std::fs::read(path).map_err(|error| unreadable(path, &error))?),
            None => ("--input".to_owned(), text.as_bytes().to_vec()),
        },
    };
    if shown.ends_with(".yaml") || shown.ends_with(".yml") {
        return flagstop_engine::read_document(&bytes, limits).map_err(|diagnostics| {
            eprint!("{}", diagnostics.render(&shown, &String::from_utf8_lossy(&bytes)));
            Failure::shown(Exit::Invalid)
        });
    }
    value::parse_json(&bytes, limits).map_err(|why| {
        // The reader's text says where by itself, but not as editors like it.
        let place = serde_json::from_slice::<serde_json::Value>(&bytes).err();
        let place =
            place.map(|error| format!(":{}:{}", error.line().max(1), error.column().max(1))).unwrap_or_default();
        let why = why.to_string();
        let (code, what) = why.split_once(": ").unwrap_or(("FS-INPUT", &why));
        let hint = "put JSON into single quotes, so that the shell leaves the double ones alone: --input '{\"a\": 1}'";
        Failure::new(Exit::Invalid, code, format!("{shown}{place}: {what}"), hint)
    })
}

/// `PT30S`, or a number with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
    let short = UNITS.iter().find_map(|(unit, us)| {
        let amount: u64 = text.strip_suffix(unit)?.parse().ok()?;
        amount.checked_mul(*us)
    });
    let us = match short {
        Some(us) => us,
        None => flagstop_engine::duration::parse_iso(text, Limits::default().duration_days_max)
            .map_err(|_| format!("`{text}` is no duration: write `PT30S`, `90s` or `5m`"))?
            .unsigned_abs(),
    };
    Ok(Duration::from_micros(us))
}

fn unreadable(shown: &str, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Invalid, "FS-FILE", format!("{shown}: {error}"), "name a file that can be read")
}
