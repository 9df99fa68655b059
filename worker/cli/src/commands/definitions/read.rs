//! Reads deployed definitions: all of them, or those that are meant.

use std::cmp::Ordering;
use std::sync::Arc;

use flagstop_engine::api::Reference;
use flagstop_store::port::Store;
use flagstop_store::rows::DefinitionRow;
use serde_json::{Value, json};

use super::Which;
use crate::args::Output;
use crate::exit::{Exit, Failure};
use crate::term::{Paint, table};
use crate::time::rfc3339;

/// A deployed version, and whether it is the one that takes new triggers.
pub struct Entry {
    /// As it is stored.
    pub row: DefinitionRow,
    /// The highest enabled version of its name.
    pub newest: bool,
}

/// `list`
pub async fn list(store: &Arc<dyn Store>, output: Output) -> Result<String, Failure> {
    let entries = entries(store).await?;
    Ok(match output {
        Output::Json => Value::Array(entries.iter().map(Entry::json).collect()).to_string(),
        Output::Table => {
            let row = |entry: &Entry| {
                let Entry { row, .. } = entry;
                let name = format!("{}/{}", row.namespace, row.name);
                vec![name, row.version.clone(), entry.state().to_owned(), rfc3339(row.deployed_us)]
            };
            let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
            table(&["DEFINITION", "VERSION", "TRIGGERS", "DEPLOYED"], &rows, Paint::stdout())
        }
    })
}

/// All versions, by name, the highest first.
pub async fn entries(store: &Arc<dyn Store>) -> Result<Vec<Entry>, Failure> {
    let (_, mut rows) = store.definitions(0).await?;
    rows.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)).then_with(|| higher_first(a, b)));
    let mut entries: Vec<Entry> = Vec::with_capacity(rows.len());
    for row in rows {
        let same_name = |entry: &Entry| entry.row.namespace == row.namespace && entry.row.name == row.name;
        let newest = row.enabled && !entries.iter().rev().take_while(|e| same_name(e)).any(|entry| entry.newest);
        entries.push(Entry { row, newest });
    }
    Ok(entries)
}

/// As semantic versions, not as texts.
fn higher_first(a: &DefinitionRow, b: &DefinitionRow) -> Ordering {
    let version = |row: &DefinitionRow| Reference::parse(&row.namespace, &row.name, &row.version).map(|it| it.version);
    match (version(a), version(b)) {
        (Ok(a), Ok(b)) => b.cmp(&a),
        _ => b.version.cmp(&a.version),
    }
}

/// Those of a name, and of a version where one is given: at least one.
pub async fn find(store: &Arc<dyn Store>, which: &Which) -> Result<Vec<Entry>, Failure> {
    let Some((namespace, name)) = which.name.split_once('/') else {
        let what = format!("`{}` is no definition", which.name);
        let hint = "give namespace and name, such as `hr/onboarding`, and the version behind it";
        return Err(Failure::new(Exit::Invalid, "FS-DEFINITION-NAME", what, hint));
    };
    let mut found = entries(store).await?;
    found.retain(|Entry { row, .. }| {
        row.namespace == namespace
            && row.name == name
            && which.version.as_ref().is_none_or(|wanted| *wanted == row.version)
    });
    if found.is_empty() {
        let what = format!("there is no definition {} {}", which.name, which.version.as_deref().unwrap_or_default());
        let hint = "`flagstop definitions list` shows what is deployed";
        return Err(Failure::new(Exit::NotFound, "FS-DEFINITION-UNKNOWN", what.trim_end(), hint));
    }
    Ok(found)
}

impl Entry {
    /// `hr/onboarding 1.0.0`
    pub fn name(&self) -> String {
        format!("{}/{} {}", self.row.namespace, self.row.name, self.row.version)
    }

    /// What becomes of new triggers.
    pub fn state(&self) -> &'static str {
        match (self.newest, self.row.enabled) {
            (true, _) => "takes them",
            (false, true) => "older",
            (false, false) => "disabled",
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let Self { row, newest } = self;
        json!({
            "namespace": row.namespace,
            "name": row.name,
            "version": row.version,
            "enabled": row.enabled,
            "newest": newest,
            "deployedAt": rfc3339(row.deployed_us),
        })
    }
}
