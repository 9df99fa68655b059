//! `dead-letters` and `parked`: what nobody could use, and what nobody has used yet.

use serde_json::{Value, json};

use crate::support::Folder;
use crate::{eventually, publish};

const COMPLETED: &str = "io.serverlessworkflow.workflow.completed.v1";
const START: &str = "io.flagstop.command.start.v1";

const WAITER: &str = "document: { dsl: '1.0.3', namespace: t, name: waiter, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.start } } }, read: data }
input: { from: '.[0]' }
do:
  - hear: { listen: { to: { one: { with: { type: t.word }, correlate: { k: { from: .data.k, expect: '${ .k }' } } } } } }
  - say: { set: { heard: '${ .[0].word }' } }
";

const LATE: &str = "document: { dsl: '1.0.3', namespace: t, name: late, version: '1.0.0' }
do:
  - say: { set: { n: '${ .n }' } }
";

fn is_one(list: &Value) -> bool {
    list.as_array().is_some_and(|rows| rows.len() == 1)
}

#[test]
fn a_letter_is_redriven_once_what_was_wrong_is_mended() {
    let folder = Folder::new();
    folder.write("flows/waiter.yaml", WAITER);
    let mut served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let arguments = |more: &[&'static str]| -> Vec<String> {
        let mut all: Vec<String> = vec!["dead-letters".into()];
        all.extend(more.iter().map(|it| (*it).to_owned()));
        all.extend(["--store".into(), store.clone(), "--output".into(), "json".into()]);
        all
    };
    let list = arguments(&["list"]);
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    assert_eq!(folder.flagstop(&list).exits(0).json("dead-letters-list"), json!([]));

    // A command for a definition that nobody has deployed yet.
    publish(&folder, &served.address, START, "c-1", r#"{"namespace":"t","name":"late","input":{"n":7}}"#);
    let letters = eventually(&folder, &list, "dead-letters-list", is_one);
    let letter = &letters[0];
    assert_eq!((&letter["code"], &letter["redrivenAt"]), (&json!("FS-DEFINITION-UNKNOWN"), &Value::Null));
    let id = letter["id"].as_str().unwrap().to_owned();
    let show = ["dead-letters", "show", &id[..8], "--store", &store];
    let shown = folder.flagstop(&[&show[..], &["--output", "json"]].concat()).exits(0).json("dead-letters-show");
    let headers = shown["headers"].as_array().unwrap();
    let header = |name: &str| headers.iter().find(|header| header["name"].as_str().unwrap().ends_with(name));
    let is_whole = header("type").map_or_else(
        || shown["body"].as_str().is_some_and(|body| body.contains(START)),
        |header| header["value"] == START,
    );
    assert!(is_whole, "{shown:#}");
    let text = folder.flagstop(&show).exits(0).stdout;
    assert!(text.contains("FS-DEFINITION-UNKNOWN") && text.contains(r#""name":"late""#), "{text}");
    let other = ["dead-letters", "list", "--code", "FS-OTHER", "--store", &store, "--output", "json"];
    assert_eq!(folder.flagstop(&other).exits(0).json("dead-letters-list"), json!([]));

    // Once it is there, the same message works, although the inbox has seen it.
    folder.write("flows/late.yaml", LATE);
    let definitions = ["definitions", "list", "--store", &store, "--output", "json"];
    eventually(&folder, &definitions, "definitions-list", |rows| rows.as_array().is_some_and(|rows| rows.len() == 2));
    let redrive = ["dead-letters", "redrive", &id, "--store", &store, "--output", "json"];
    let redriven = folder.flagstop(&redrive).exits(0).json("dead-letters-redrive");
    assert_eq!(redriven, json!({ "redriven": 1, "refused": [] }));
    let completed = served.until(COMPLETED).pop().unwrap();
    assert_eq!(completed["data"]["output"], json!({ "n": 7 }));
    assert!(folder.flagstop(&list).exits(0).json("dead-letters-list")[0]["redrivenAt"].is_string());

    // Many need consent, and one that is redriven already is not meant by `--all`.
    for id in ["c-2", "c-3"] {
        publish(&folder, &served.address, START, id, r#"{"namespace":"t","name":"never"}"#);
    }
    eventually(&folder, &list, "dead-letters-list", |rows| rows.as_array().is_some_and(|rows| rows.len() == 3));
    let all = ["dead-letters", "redrive", "--all", "--store", &store, "--output", "json"];
    folder.flagstop(&all).exits(2).says(&["error[FS-CONFIRM]", "give 2 messages to the workers again", "--yes"]);
    let all = [&all[..], &["--yes"]].concat();
    assert_eq!(folder.flagstop(&all).exits(0).json("dead-letters-redrive")["redriven"], 2);
    // They fail again, and that is shown again.
    let open = |rows: &Value| rows.as_array().unwrap().iter().filter(|row| row["redrivenAt"].is_null()).count() == 2;
    eventually(&folder, &list, "dead-letters-list", open);

    let unknown = ["dead-letters", "show", "00000000-0000-0000-0000-000000000000", "--store", &store];
    folder.flagstop(&unknown).exits(6).says(&["error[FS-LETTER-UNKNOWN]", "dead-letters list"]);
    folder.flagstop(&["dead-letters", "redrive", "--store", &store]).exits(2);
    served.stop();
}

#[test]
fn an_early_event_is_listed_until_somebody_hears_it() {
    let folder = Folder::new();
    folder.write("flows/waiter.yaml", WAITER);
    let mut served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    publish(&folder, &served.address, "t.word", "w-1", r#"{"k":1,"word":"hello"}"#);
    let list = ["parked", "list", "--store", &store, "--output", "json"];
    let parked = eventually(&folder, &list, "parked-list", is_one);
    assert_eq!((&parked[0]["type"], &parked[0]["eventId"]), (&json!("t.word"), &json!("w-1")));
    let id = parked[0]["id"].as_str().unwrap();
    let show = ["parked", "show", id, "--store", &store];
    let shown = folder.flagstop(&[&show[..], &["--output", "json"]].concat()).exits(0).json("parked-show");
    assert_eq!(shown["event"]["data"], json!({ "k": 1, "word": "hello" }));
    let text = folder.flagstop(&show).exits(0).stdout;
    assert!(text.contains("t.word") && text.contains("kept since 2"), "{text}");
    let other = ["parked", "list", "--type", "t.other", "--store", &store, "--output", "json"];
    assert_eq!(folder.flagstop(&other).exits(0).json("parked-list"), json!([]));

    publish(&folder, &served.address, "t.start", "s-1", r#"{"k":1}"#);
    assert_eq!(served.until(COMPLETED).pop().unwrap()["data"]["output"], json!({ "heard": "hello" }));
    assert_eq!(folder.flagstop(&list).exits(0).json("parked-list"), json!([]));
    folder.flagstop(&show).exits(6).says(&["error[FS-PARKED-UNKNOWN]"]);
    served.stop();
}
