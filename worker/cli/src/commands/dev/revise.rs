//! What `dev` deploys of a file that was saved again under its old version: a revision of its own, `1.0.0+dev.1`, `+dev.2` …
//!
//! A deployed version never changes, because instances run on it. An author at work should not have to count versions, so
//! `dev` does: the newest revision takes new events, running instances stay on the one that they began with. `deploy` never
//! does this.

use std::sync::Arc;

use flagstop_engine::{Limits, Plan, source};
use flagstop_store::port::Store;
use flagstop_store::rows::DefinitionRow;

use crate::definitions::Checked;
use crate::exit::{Exit, Failure};

/// What the version of a revision says.
const MARK: &str = "dev.";

/// Deploys what is new among the files that compile, and tells what it was.
pub async fn deploy(store: &Arc<dyn Store>, checked: &[Checked]) -> Result<Vec<DefinitionRow>, Failure> {
    let (_, mut deployed) = store.definitions(0).await?;
    let mut new = Vec::new();
    for file in checked {
        let row = revision(file, &deployed).map_err(|why| {
            let what = format!("{}: {why}", file.path.display());
            let hint = "raise `document.version`: running instances stay on the old one";
            Failure::new(Exit::Invalid, "FS-DEPLOY-CONFLICT", what, hint)
        })?;
        // Two files may hold the same definition.
        deployed.extend(row.clone());
        new.extend(row);
    }
    Ok(if new.is_empty() { new } else { store.deploy(&new).await? })
}

/// The row to deploy; `None` when the newest revision has this content already.
fn revision(file: &Checked, deployed: &[DefinitionRow]) -> Result<Option<DefinitionRow>, String> {
    let Some(plan) = &file.plan else { return Ok(None) };
    let it = plan.reference();
    let version = it.version.to_string();
    let same_name = deployed.iter().filter(|row| row.namespace == it.namespace && row.name == it.name);
    let family = same_name.filter_map(|row| Some((number(&version, &row.version)?, row)));
    let Some((last, newest)) = family.max_by_key(|(number, _)| *number) else {
        return Ok(Some(flagstop_runtime::bundled_row(plan, &file.source, &file.bundle)));
    };
    if row(file, &version, last)?.content == newest.content {
        return Ok(None);
    }
    row(file, &version, last + 1).map(Some)
}

/// Which revision of a version another one is; 0 is the version itself.
pub fn number(version: &str, other: &str) -> Option<u64> {
    if version == other {
        return Some(0);
    }
    other.strip_prefix(version)?.strip_prefix(separator(version))?.strip_prefix(MARK)?.parse().ok()
}

/// Build metadata begins with `+`, its further parts with `.`.
fn separator(version: &str) -> char {
    if version.contains('+') { '.' } else { '+' }
}

/// The row of the file's content as this revision.
fn row(file: &Checked, version: &str, number: u64) -> Result<DefinitionRow, String> {
    let named = match number {
        0 => version.to_owned(),
        number => format!("{version}{}{MARK}{number}", separator(version)),
    };
    let source = with_version(&file.source, version, &named)?;
    let plan = Plan::compile_with(&source, &file.bundle, &Limits::default())
        .map_err(|_| format!("it can't be deployed again as {version}"))?;
    Ok(flagstop_runtime::bundled_row(&plan, &source, &file.bundle))
}

/// The text with another `document.version`.
fn with_version(text: &[u8], version: &str, named: &str) -> Result<Vec<u8>, String> {
    if version == named {
        return Ok(text.to_vec());
    }
    let lost =
        || format!("version {version} is deployed with other content, and `document.version` can't be replaced here");
    let node = source::read(text, &Limits::default()).map_err(|_| lost())?;
    let span = node.get("document").and_then(|document| document.get("version")).ok_or_else(lost)?.span;
    let start = span.offset as usize;
    let found = text.get(start..start + span.length as usize).ok_or_else(lost)?;
    let at = found.windows(version.len()).position(|part| part == version.as_bytes()).ok_or_else(lost)?;
    let mut out = text[..start + at].to_vec();
    out.extend_from_slice(named.as_bytes());
    out.extend_from_slice(&text[start + at + version.len()..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use flagstop_engine::{Bundle, Diagnostics};

    use super::*;

    fn file(version: &str, value: u8) -> Checked {
        let text = format!(
            "document: {{ dsl: '1.0.3', namespace: t, name: x, version: {version} }} # 1.0.0\ndo:\n  - a: {{ set: {{ b: {value} }} }}\n"
        );
        let source = text.into_bytes();
        Checked {
            path: PathBuf::from("x.yaml"),
            plan: Some(Plan::compile(&source, &Limits::default()).expect("it compiles")),
            source,
            bundle: Bundle::default(),
            lacks: Vec::new(),
            diagnostics: Diagnostics::default(),
        }
    }

    #[test]
    fn each_saved_change_is_the_next_revision_and_nothing_changes_for_what_is_there() {
        let mut deployed = Vec::new();
        let mut save = |version: &str, value: u8| {
            let row = revision(&file(version, value), &deployed).expect("it can be revised");
            deployed.extend(row.clone());
            row.map(|row| row.version)
        };
        assert_eq!(save("'1.0.0'", 1).as_deref(), Some("1.0.0"));
        assert_eq!(save("'1.0.0'", 1), None);
        assert_eq!(save("'1.0.0'", 2).as_deref(), Some("1.0.0+dev.1"));
        assert_eq!(save("'1.0.0'", 2), None);
        // Going back is going on.
        assert_eq!(save("\"1.0.0\"", 1).as_deref(), Some("1.0.0+dev.2"));
        assert_eq!(save("1.1.0", 1).as_deref(), Some("1.1.0"));
        assert_eq!(save("1.1.0", 2).as_deref(), Some("1.1.0+dev.1"));
        assert_eq!(save("1.1.0+b", 2).as_deref(), Some("1.1.0+b"));
        assert_eq!(save("1.1.0+b", 3).as_deref(), Some("1.1.0+b.dev.1"));
    }

    #[test]
    fn a_later_revision_is_the_newer_version() {
        let parse = |text| flagstop_engine::api::Reference::parse("t", "x", text).expect("a version").version;
        let rising = ["1.0.0", "1.0.0+dev.1", "1.0.0+dev.2", "1.0.0+dev.10", "1.0.1-rc", "1.0.1"];
        assert!(rising.windows(2).all(|pair| parse(pair[0]) < parse(pair[1])));
    }
}
