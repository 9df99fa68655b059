//! The files in `deploy/`, checked without a container engine or a cluster: against the schemas of their formats, and against
//! the binary, so that every command, flag, variable and configuration key in them exists. `tests/run` installs what the
//! checks need.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::path::Path;
use std::process::Command;

use flagstop_tests::process::flagstop;

#[test]
fn images_hold_what_the_binary_needs_and_run_it_as_a_plain_user() {
    check("images");
}

#[test]
fn compose_files_obey_their_schema_and_name_only_what_exists() {
    check("compose");
}

#[test]
fn kubernetes_manifests_obey_its_schemas_and_name_only_what_exists() {
    check("kubernetes");
}

#[test]
fn the_systemd_unit_is_what_systemd_takes() {
    check("systemd");
}

fn check(part: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/check");
    let output = Command::new(script).arg(part).arg(flagstop()).output().unwrap();
    let (wrong, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{part}:\n{wrong}{said}");
}
