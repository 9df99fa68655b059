//! `flagstop healthcheck`: is a worker ready? For containers without a shell.

use clap::Args;

use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::http::client;
use crate::term::{print_line, tame};

/// Asks a worker's port whether it could take a message right now. Exits 0 when it could, 1 when it could not, 5 when nobody
/// answers.
#[derive(Debug, Args)]
pub struct Healthcheck {
    /// The worker's address, such as http://127.0.0.1:9090
    #[arg(long, value_name = "URL")]
    http: String,
    /// How the result is shown
    #[arg(long, value_enum, default_value_t = Output::Table)]
    output: Output,
}

impl Healthcheck {
    /// Runs it.
    pub async fn run(self) -> Result<(), Failure> {
        let report = client::ready(&self.http).await?;
        match self.output {
            Output::Json => print_line(&report.to_string()),
            Output::Table => {
                for check in report["checks"].as_array().into_iter().flatten() {
                    let fault = check["fault"].as_str().unwrap_or("ok");
                    print_line(&tame(&format!("{:<10} {fault}", check["name"].as_str().unwrap_or_default())));
                }
            }
        }
        if report["ready"] == true { Ok(()) } else { Err(Failure::shown(Exit::Failed)) }
    }
}
