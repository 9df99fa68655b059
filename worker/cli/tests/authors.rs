//! The commands by which an author meets Flagstop: what they print, and how they exit.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

#[path = "authors/run.rs"]
mod run;
#[path = "authors/test.rs"]
mod test;
#[path = "authors/validate.rs"]
mod validate;

/// A definition with this rest.
fn definition(name: &str, rest: &str) -> String {
    format!("document: {{ dsl: '1.0.3', namespace: test, name: {name}, version: '1.0.0' }}\n{rest}")
}

/// Compares with tests/golden/NAME.txt; `FLAGSTOP_GOLDEN=write` writes it instead.
#[track_caller]
fn golden(name: &str, found: &str) {
    let path = support::root().join("worker/cli/tests/golden").join(format!("{name}.txt"));
    if std::env::var("FLAGSTOP_GOLDEN").is_ok_and(|how| how == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        return std::fs::write(&path, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{} is not what is printed; FLAGSTOP_GOLDEN=write takes it over", path.display());
}
