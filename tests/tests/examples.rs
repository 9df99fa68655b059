//! The examples' demonstrations on the real brokers and Postgres, as `dev` plays them there; on the embedded bus and SQLite
//! the command line's own tests play them.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::path::Path;

use flagstop_tests::process::run;
use flagstop_tests::services::{postgres, unique, url};

/// Each is played in a schema and under names of its own, with all that it keeps in a folder of its own.
fn played(bus: &str) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (example, ends) in [("onboarding", 1), ("order", 2), ("approval", 2), ("batch-import", 1)] {
        let name = unique("examples");
        let dir = std::env::temp_dir().join(&name);
        std::fs::create_dir_all(&dir).unwrap();
        let (config, data) = (dir.join("flagstop.toml"), dir.join("data"));
        std::fs::write(&config, format!("[store]\nschema = \"{name}\"\n\n[bus]\nprefix = \"{name}.\"\n")).unwrap();
        let folder = root.join("examples").join(example).display().to_string();
        let (config, data, store) = (config.display().to_string(), data.display().to_string(), postgres());
        let shown = run(&["--config", &config, "dev", &folder, "--data", &data, "--store", &store, "--bus", bus]);
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let completed = shown.lines().filter(|line| words(line).contains("workflow completed")).count();
        assert!(completed >= ends, "{example} on {bus}:\n{shown}");
        assert!(!shown.lines().any(|line| words(line).contains("workflow faulted")), "{example} on {bus}:\n{shown}");
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn the_four_examples_play_on_rabbitmq_and_postgres() {
    played(&url("FLAGSTOP_TEST_RABBITMQ"));
}

#[test]
fn the_four_examples_play_on_kafka_and_postgres() {
    played(&url("FLAGSTOP_TEST_KAFKA"));
}
