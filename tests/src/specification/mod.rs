//! What is at hand of the specification: its conformance kit, its examples and its schema. Nothing of it is part of the project.

pub mod keys;
pub mod oracle;

use std::path::PathBuf;

use crate::language::root;

/// The versions that the kit has, one folder each.
pub const VERSIONS: [&str; 2] = ["v1.0.3", "next"];

/// The kit's folder: `FLAGSTOP_CONFORMANCE`, or where it lies beside the project. Says so plainly when it is not there.
pub fn folder(needed_for: &str) -> Option<PathBuf> {
    let named = std::env::var_os("FLAGSTOP_CONFORMANCE").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| root().join("../shared/conformance"));
    let complete = VERSIONS.iter().all(|version| folder.join(version).join("ctk/features").is_dir());
    if complete {
        return Some(folder);
    }
    let shown = folder.display();
    assert!(named.is_none(), "FLAGSTOP_CONFORMANCE names {shown}, and the conformance kit is not there");
    eprintln!(
        "NOT CHECKED: {needed_for}. The specification's conformance kit is not at {shown}; \
         put it there or name its folder with FLAGSTOP_CONFORMANCE."
    );
    None
}
