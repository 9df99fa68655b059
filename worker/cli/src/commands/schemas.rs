//! `flagstop schemas`: the JSON Schemas of all that is published, taken and printed, as files.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::term::print_line;

/// Writes the JSON Schemas: status events (`status/`, which `dataschema` names), commands and their answers (`command/`), and
/// every `--output json` (`cli/`). Files of the same name are replaced.
#[derive(Debug, Args)]
pub struct Schemas {
    /// The folder to write them to; it is made if it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Schemas {
    /// Runs it.
    pub fn run(self) -> Result<(), Failure> {
        let mut written = Vec::new();
        for (path, text) in flagstop_schemas::schema_files() {
            write(&self.out.join(&path), text)?;
            written.push(path);
        }
        match self.output {
            Output::Table => written.iter().for_each(|path| print_line(path)),
            Output::Json => {
                print_line(&json!({ "folder": self.out.display().to_string(), "files": written }).to_string())
            }
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    folder.and_then(|()| std::fs::write(path, text)).map_err(|error| {
        let what = format!("{}: {error}", path.display());
        Failure::new(Exit::Invalid, "FS-FILE", what, "name a folder that may be written with `--out DIR`")
    })
}
