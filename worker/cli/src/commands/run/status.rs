//! The status events of a run, as JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use flagstop_schemas::{Entry, Header, render};

use crate::exit::{Exit, Failure};

/// Where status events go.
pub enum Sink {
    /// Nowhere.
    None,
    /// To standard error.
    Stderr,
    /// Into a file.
    File(BufWriter<File>, String),
}

impl Sink {
    /// Makes the file, or empties it.
    pub fn open(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::None) };
        if path.as_os_str() == "-" {
            return Ok(Self::Stderr);
        }
        let shown = path.display().to_string();
        let file = File::create(path).map_err(|error| failed(&shown, &error))?;
        Ok(Self::File(BufWriter::new(file), shown))
    }

    /// Writes the status events of one transition.
    pub fn write(&mut self, header: &Header, entries: &[Entry]) -> Result<(), Failure> {
        if matches!(self, Self::None) {
            return Ok(());
        }
        for entry in entries {
            let Entry::Status(event) = entry else { continue };
            let line = render(header, event).to_json();
            match self {
                Self::None => {}
                Self::Stderr => eprintln!("{line}"),
                Self::File(file, shown) => writeln!(file, "{line}").map_err(|error| failed(shown, &error))?,
            }
        }
        Ok(())
    }

    /// What is written so far can be read by others.
    pub fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Self::File(file, shown) => file.flush().map_err(|error| failed(shown, &error)),
            Self::None | Self::Stderr => Ok(()),
        }
    }
}

fn failed(shown: &str, error: &std::io::Error) -> Failure {
    Failure::new(
        Exit::Invalid,
        "FS-FILE",
        format!("{shown}: {error}"),
        "`--status` must name a file that can be written",
    )
}
