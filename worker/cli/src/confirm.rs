//! Asks before something is done to many at once. Must never take silence for consent.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;

use crate::exit::{Exit, Failure};

/// What counts as consent.
const WORD: &str = "yes";

/// `--yes`
#[derive(Debug, Clone, Copy, Args)]
pub struct Consent {
    /// Do it to many without asking
    #[arg(long)]
    yes: bool,
}

impl Consent {
    /// Goes on when the flag was given or a person agrees; `what` is the sentence's end: `disable 3 definitions`.
    pub fn to(self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !std::io::stdin().is_terminal() {
            let hint = "look at what that is (the `list` command), then repeat it with `--yes`";
            return Err(Failure::new(Exit::Invalid, "FS-CONFIRM", format!("this would {what}"), hint));
        }
        eprint!("This will {what}. Type `{WORD}` to go on: ");
        let _ = std::io::stderr().flush();
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        if read.is_ok() && answer.trim() == WORD {
            return Ok(());
        }
        eprintln!("nothing was done");
        Err(Failure::shown(Exit::Stopped))
    }
}
