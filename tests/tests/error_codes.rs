//! `docs/errors.md` has every code that the sources can produce, and no other.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const PAGE: &str = "docs/errors.md";
/// Where codes are made.
const SOURCES: [&str; 3] = ["schemas/src", "bus-adapters/src", "worker"];
/// Folders of code that only tests run.
const TESTS: [&str; 3] = ["tests", "conformance", "target"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Rust files that are part of the product.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() {
            if !TESTS.contains(&name) {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" && !name.ends_with("_tests.rs") {
            found.push(path);
        }
    }
}

/// The codes of a file's own code: comments and its tests, which stand at its end, aside.
fn codes(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.flat_map(in_line).collect()
}

fn in_line(line: &str) -> Vec<String> {
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
    let starts = line.match_indices("FS-").map(|(at, _)| at);
    let words = starts.map(|at| line[at..].split(|c| !is_part(c)).next().unwrap().trim_end_matches('-').to_owned());
    words.filter(|word| word.len() > "FS-".len()).collect()
}

/// The rows of the page: code, and its cells.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let cells = |line: &str| -> Vec<String> {
        line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let rows = page.lines().filter(|line| line.starts_with("| `FS-")).map(cells);
    rows.map(|cells| (cells[0].trim_matches('`').to_owned(), cells)).collect()
}

#[test]
fn the_page_has_every_code_of_the_sources_and_no_other() {
    let mut files = Vec::new();
    SOURCES.iter().for_each(|folder| sources(&root().join(folder), &mut files));
    let mut made: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        made.extend(codes(&text).into_iter().map(|code| (code, file.strip_prefix(root()).unwrap().to_owned())));
    }
    assert!(made.len() > 100, "the sources were not found");
    let rows = rows(&std::fs::read_to_string(root().join(PAGE)).unwrap());
    let listed: BTreeSet<&str> = rows.iter().map(|(code, _)| code.as_str()).collect();
    let missing: Vec<_> = made.iter().filter(|(code, _)| !listed.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "add a row to {PAGE} for each of {missing:#?}");
    let stale: Vec<_> = listed.iter().filter(|code| !made.contains_key(**code)).collect();
    assert!(stale.is_empty(), "no source has these codes any more, remove their rows from {PAGE}: {stale:#?}");
}

#[test]
fn each_code_has_one_row_with_its_meaning_and_a_way_out() {
    let mut seen = BTreeSet::new();
    for (code, cells) in rows(&std::fs::read_to_string(root().join(PAGE)).unwrap()) {
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{code}: {cells:?}");
        assert!(cells[1].ends_with('.') && cells[2].ends_with('.'), "{code}: {cells:?}");
        assert!(seen.insert(code.clone()), "{code} has two rows");
    }
}

#[test]
fn a_code_counts_in_code_and_not_in_comments_or_tests() {
    let text =
        "// FS-COMMENT\nfn f() { error(\"FS-MADE-HERE: {why}\", \"FS-\") }\n#[cfg(test)]\nmod tests { \"FS-TEST\" }";
    assert_eq!(codes(text), BTreeSet::from(["FS-MADE-HERE".to_owned()]));
}
