//! What is wrong gets a code, the place, and how to mend it; and the exit code says what kind of trouble it is.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "bad_input/hostile.rs"]
mod hostile;
mod support;

use support::{Folder, example};

const MISTAKES: &str = "document:
  dsl: '1.0.3'
  namespace: test
  name: mistakes
  version: '1.0.0'
do:
  - first:
      sett: { a: 1 }
  - second:
      set: { a: 1 }
      then: nowhere
";

#[test]
fn arguments_that_do_not_exist_are_refused() {
    let folder = Folder::new();
    folder.flagstop(&["wroker"]).exits(2).says(&["wroker", "worker"]);
    folder.flagstop(&["publish"]).exits(2).says(&["--type"]);
    folder.flagstop(&["instances", "list", "--limit", "many"]).exits(2).says(&["many"]);
    let help = folder.flagstop(&["--help"]).exits(0);
    assert!(help.stdout.contains("Exit codes: 0 done"), "{}", help.stdout);
}

#[test]
fn a_url_of_no_store_or_bus_names_the_allowed_forms() {
    let folder = Folder::new();
    for url in ["http://localhost", "mysql://h/d", "store.db"] {
        folder.flagstop(&["migrate", "--store", url]).exits(2).says(&["error[FS-STORE-URL]", "sqlite:", "postgres://"]);
    }
    for url in ["http://localhost", "kafka://nohost", "localhost:5672"] {
        let publish = ["publish", "--bus", url, "--type", "a.b"];
        folder.flagstop(&publish).exits(2).says(&["error[FS-BUS-URL]", "kafka://"]);
    }
    folder.flagstop(&["migrate"]).exits(2).says(&["error[FS-STORE-URL]: no store is configured", "--store"]);
    folder.flagstop(&["publish", "--type", "a.b"]).exits(2).says(&["error[FS-BUS-URL]: no bus is configured", "--bus"]);
}

#[test]
fn what_is_not_there_is_not_reachable() {
    let folder = Folder::new();
    // Port 1 of the loopback address refuses at once.
    let store = "postgres://flagstop:hidden@127.0.0.1:1/flagstop";
    let refused =
        folder.flagstop(&["migrate", "--store", store]).exits(5).says(&["error[FS-STORE-UNREACHABLE]", "hint:"]);
    assert!(!refused.stderr.contains("hidden"), "a password is shown: {}", refused.stderr);
    let bus = "amqp://flagstop:hidden@127.0.0.1:1";
    let refused =
        folder.flagstop(&["publish", "--bus", bus, "--type", "a.b"]).exits(5).says(&["error[FS-BUS-UNREACHABLE]"]);
    assert!(!refused.stderr.contains("hidden"), "a password is shown: {}", refused.stderr);
    let http = ["publish", "--http", "http://127.0.0.1:1", "--type", "a.b"];
    folder.flagstop(&http).exits(5).says(&["FS-HTTP-UNREACHABLE"]);
}

#[test]
fn a_schema_that_is_not_migrated_is_told_with_the_command_that_mends_it() {
    let folder = Folder::new();
    let store = folder.store();
    folder.flagstop(&["instances", "list", "--store", &store]).exits(2).says(&["error[FS-STORE-SCHEMA]", "no file"]);
    assert!(!std::path::Path::new(&folder.file("store.db")).exists(), "looking at a store made one");
    let found = folder.flagstop(&["migrate", "--check", "--store", &store, "--output", "json"]).exits(1);
    assert_eq!(found.json("migrate")["state"], "behind");
    for command in [vec!["instances", "list"], vec!["worker", "--bus", "embedded:"]] {
        let mut arguments = command.clone();
        arguments.extend(["--store", &store]);
        let hint = format!("flagstop migrate --store {store}");
        folder.flagstop(&arguments).exits(2).says(&["error[FS-STORE-SCHEMA]", &hint]);
    }
    let done = folder.flagstop(&["migrate", "--store", &store, "--output", "json"]).exits(0).json("migrate");
    assert_eq!(done["state"], "current");
    assert_ne!(done["steps"].as_array().unwrap().len(), 0);
    let again = folder.flagstop(&["migrate", "--store", &store, "--output", "json"]).exits(0).json("migrate");
    assert_eq!(again["steps"].as_array().unwrap().len(), 0);
    folder.flagstop(&["migrate", "--check", "--store", &store]).exits(0);
}

#[test]
fn a_definition_s_mistakes_are_all_shown_with_place_and_hint() {
    let folder = Folder::new();
    let wrong = folder.write("wrong.yaml", MISTAKES);
    let text = folder.flagstop(&["validate", &wrong]).exits(2);
    let text = text.says(&["wrong.yaml:8:7: error[FS-", "did you mean `set`?", "wrong.yaml:11:", "nowhere"]);
    assert_eq!(text.stdout, "");
    let json = folder.flagstop(&["validate", &wrong, &example(), "--output", "json"]).exits(2).json("validate");
    assert_eq!(json["files"][0]["valid"], false);
    assert_eq!(json["files"][0]["diagnostics"][0]["line"], 8);
    assert_eq!(json["files"][1]["valid"], true);
    folder.flagstop(&["validate", &example(), "--deny-warnings"]).exits(0);
    folder.flagstop(&["validate", "nowhere.yaml"]).exits(2).says(&["error[FS-FILE]: nowhere.yaml"]);
}

#[test]
fn one_wrong_definition_keeps_all_from_being_deployed() {
    let folder = Folder::new();
    let store = folder.store();
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    let wrong = folder.write("wrong.yaml", MISTAKES);
    let good = folder.write(
        "good.yaml",
        "document: { dsl: '1.0.3', namespace: t, name: good, version: '1.0.0' }\ndo:\n  - a: { set: { b: 1 } }\n",
    );
    let deploy = ["deploy", "--store", &store, "--output", "json", &good, &wrong];
    let refused = folder.flagstop(&deploy).exits(2).says(&["wrong.yaml:8:", "nothing was deployed"]);
    assert_eq!(refused.json("deploy")["definitions"].as_array().unwrap().len(), 0);
    for _ in 0..2 {
        let done = folder.flagstop(&["deploy", "--store", &store, "--output", "json", &good]).exits(0).json("deploy");
        assert_eq!(done["definitions"][0]["name"], "good");
    }
    let changed = folder.write(
        "good.yaml",
        "document: { dsl: '1.0.3', namespace: t, name: good, version: '1.0.0' }\ndo:\n  - a: { set: { b: 2 } }\n",
    );
    let refused = folder.flagstop(&["deploy", "--store", &store, &changed]).exits(2);
    refused.says(&["error[FS-DEPLOY-CONFLICT]", "t/good 1.0.0", "document.version"]);
}

#[test]
fn nothing_of_a_file_with_an_invalid_line_is_sent() {
    let folder = Folder::new();
    let good = r#"{"specversion":"1.0","type":"a.b","source":"/s","id":"1","data":{}}"#;
    let file =
        folder.write("events.jsonl", &format!("{good}\n\nnot json\n{{\"specversion\":\"1.0\",\"type\":\"a.b\"}}\n"));
    let arguments = ["publish", "--bus", "amqp://127.0.0.1:1", "--output", "json", "--file", &file];
    let refused = folder
        .flagstop(&arguments)
        .exits(2)
        .says(&["events.jsonl:3: error[FS-", "events.jsonl:4: error[FS-EVENT-ATTRIBUTE]"]);
    let json = refused.json("publish");
    assert_eq!(json["published"], 0);
    let lines: Vec<_> = json["refused"].as_array().unwrap().iter().map(|r| r["line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [3, 4]);
    let data = ["publish", "--bus", "amqp://127.0.0.1:1", "--type", "a.b", "--data", "{a: 1}"];
    folder.flagstop(&data).exits(2).says(&["error[FS-EVENT-DATA]: `--data` is not JSON", "single quotes"]);
    let embedded = ["publish", "--bus", "embedded:x", "--type", "a.b"];
    folder.flagstop(&embedded).exits(2).says(&["error[FS-BUS-EMBEDDED]", "--http"]);
}

#[test]
fn configuration_mistakes_name_their_source_and_the_key_that_was_meant() {
    let folder = Folder::new();
    let list = ["instances", "list"];
    folder.write("flagstop.toml", "[store]\nulr = 'sqlite:x'\n");
    folder.flagstop(&list).exits(2).says(&[
        "error[FS-CONFIG-KEY]: flagstop.toml",
        "`store.ulr`",
        "did you mean `store.url`?",
    ]);
    folder.write("flagstop.toml", "[worker]\nlease_ms = 10\n");
    folder
        .flagstop(&list)
        .exits(2)
        .says(&["error[FS-CONFIG-VALUE]: flagstop.toml: `worker.lease_ms`", "worker.beat_ms"]);
    folder.write("flagstop.toml", "[bus]\nbody_bytes_max = 2000\n");
    folder.flagstop(&list).exits(2).says(&[
        "error[FS-CONFIG-VALUE]: `worker.engine.payload_bytes_max` (1048576) is more than `bus.body_bytes_max` (2000)",
        "lower the first, or raise the second",
    ]);
    folder.write("flagstop.toml", "[worker\n");
    folder.flagstop(&list).exits(2).says(&["error[FS-CONFIG-SYNTAX]: flagstop.toml", "line 1"]);
    folder.write("flagstop.toml", "[bus]\nprefetch = 7\nnames.work = 'w'\n[bus.producer]\n'linger.ms' = '5'\n");
    folder.flagstop(&list).exits(2).says(&["error[FS-STORE-URL]: no store is configured"]);
    let typo = [("FLAGSTOP__WORKER__BATCHMAX", "5")];
    folder
        .flagstop_with(&list, &typo)
        .exits(2)
        .says(&["FLAGSTOP__WORKER__BATCHMAX", "did you mean `worker.batch_max`?"]);
    folder
        .flagstop(&["--config", "none.toml", "instances", "list"])
        .exits(2)
        .says(&["error[FS-CONFIG-FILE]: none.toml"]);
}

#[test]
fn the_store_can_be_named_by_file_variable_and_flag() {
    let folder = Folder::new();
    folder.write("flagstop.toml", "[store]\nurl = 'sqlite:a.db'\n");
    folder.write("secret", "sqlite:c.db\n");
    folder.flagstop(&["migrate"]).exits(0);
    folder.flagstop_with(&["migrate"], &[("FLAGSTOP__STORE__URL", "sqlite:b.db")]).exits(0);
    folder.flagstop_with(&["migrate"], &[("FLAGSTOP__STORE__URL_FILE", "secret")]).exits(0);
    folder.flagstop_with(&["migrate", "--store", "sqlite:d.db"], &[("FLAGSTOP__STORE__URL", "sqlite:no.db")]).exits(0);
    let made = |name| folder.path().join(name).exists();
    assert_eq!(["a.db", "b.db", "c.db", "d.db", "no.db"].map(made), [true, true, true, true, false]);
}

#[test]
fn an_instance_that_does_not_exist_has_its_own_exit_code() {
    let folder = Folder::new();
    let store = folder.store();
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    for command in ["show", "history", "why"] {
        for id in ["8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11", "8f14e45f", "nonsense"] {
            let arguments = ["instances", command, id, "--store", &store];
            folder.flagstop(&arguments).exits(6).says(&["error[FS-INSTANCE-UNKNOWN]", id, "instances list"]);
        }
    }
    let list = folder.flagstop(&["instances", "list", "--store", &store, "--output", "json"]).exits(0);
    assert_eq!(list.json("instances-list").as_array().unwrap().len(), 0);
    // Not an empty page: that would say that the list ends there.
    let after = ["instances", "list", "--store", &store, "--after", "8f14e45f-ceea-467f-a1d2-3c5b7e9f0a11"];
    folder.flagstop(&after).exits(6).says(&["error[FS-INSTANCE-UNKNOWN]", "8f14e45f"]);
    let status = ["instances", "list", "--store", &store, "--status", "sleeping"];
    folder.flagstop(&status).exits(2).says(&["error[FS-STATUS]", "waiting"]);
}

#[test]
fn a_folder_without_definitions_is_told_apart_from_one_that_is_missing() {
    let folder = Folder::new();
    folder.flagstop(&["dev", "missing"]).exits(2).says(&["error[FS-DEV-FOLDER]: missing: no such folder"]);
    folder.write("empty/readme.txt", "x");
    folder.flagstop(&["dev", "empty"]).exits(2).says(&["error[FS-DEV-EMPTY]", "examples/onboarding"]);
    folder.write("wrong/wrong.yaml", MISTAKES);
    folder.flagstop(&["dev", "wrong", "--http", "off"]).exits(2).says(&["wrong.yaml:8:7: error[FS-"]);
}
