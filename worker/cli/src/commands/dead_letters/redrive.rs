//! `flagstop dead-letters redrive`

use std::sync::Arc;

use clap::{ArgGroup, Args};
use flagstop_store::port::{LetterFilter, Store};
use flagstop_store::rows::DeadLetter;
use serde_json::json;

use super::read;
use crate::args::Output;
use crate::config::Config;
use crate::confirm::Consent;
use crate::exit::{Exit, Failure};

/// Letters that one transaction takes.
const CHUNK: usize = 500;

/// `redrive ID… | --code CODE | --all`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "code", "all"]))]
pub struct Redrive {
    /// The letters' ids, or their beginnings (of recent ones)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All letters with this code that were not redriven yet
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
    /// All letters that were not redriven yet
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    consent: Consent,
}

impl Redrive {
    /// Writes down that they are to be published again; a worker's relay does it.
    pub async fn run(&self, store: &Arc<dyn Store>, config: &Config, output: Output) -> Result<String, Failure> {
        let letters = self.letters(store).await?;
        let (mut given, mut refused) = (Vec::new(), Vec::new());
        for letter in &letters {
            match flagstop_runtime::redrive(letter, &config.worker.codec, &config.bus) {
                Ok(redrive) => given.push(redrive),
                Err(why) => refused.push((letter.id.0.to_string(), why)),
            }
        }
        if given.len() > 1 {
            self.consent.to(&format!("give {} messages to the workers again", given.len()))?;
        }
        let mut redriven = 0;
        for chunk in given.chunks(CHUNK) {
            redriven += store.redrive(chunk).await?;
        }
        for (id, why) in &refused {
            eprintln!("{id}: {why}");
        }
        // One that was named and can't be sent is a mistake; among many it is only told.
        if redriven == 0 && !refused.is_empty() {
            let what = "no letter holds a message that can be sent again";
            return Err(Failure::new(Exit::Failed, "FS-LETTER-INNER", what, "do what stands above instead"));
        }
        Ok(match output {
            Output::Json => {
                let refused: Vec<_> = refused.iter().map(|(id, why)| json!({ "id": id, "reason": why })).collect();
                json!({ "redriven": redriven, "refused": refused }).to_string()
            }
            Output::Table => format!("{redriven} redriven, {} refused", refused.len()),
        })
    }

    async fn letters(&self, store: &Arc<dyn Store>) -> Result<Vec<DeadLetter>, Failure> {
        let mut letters: Vec<DeadLetter> = Vec::new();
        if self.ids.is_empty() {
            let filter = LetterFilter { code: self.code.clone(), ..LetterFilter::default() };
            letters = store.list_dead_letters(&filter).await?;
            letters.retain(|letter| letter.redriven_us.is_none());
            // In the order in which they came.
            letters.reverse();
        }
        for id in &self.ids {
            let letter = read::find(store, id).await?;
            if !letters.contains(&letter) {
                letters.push(letter);
            }
        }
        Ok(letters)
    }
}
