//! `definitions`: what is deployed, and what takes new triggers.

use serde_json::{Value, json};

use crate::support::{Folder, Served};

const COMPLETED: &str = "io.serverlessworkflow.workflow.completed.v1";

fn greeter(version: &str) -> String {
    format!(
        "document: {{ dsl: '1.0.3', namespace: t, name: greeter, version: '{version}' }}
schedule: {{ on: {{ one: {{ with: {{ type: t.hello }} }} }} }}
do:
  - say: {{ set: {{ version: '{version}' }} }}
"
    )
}

fn other() -> String {
    greeter("1.0.0").replace("name: greeter", "name: other").replace("version: '1.0.0' } }", "version: other } }")
}

/// Publishes until this is said: which versions answer one event.
fn who_answers(folder: &Folder, served: &mut Served, count: usize) -> Vec<Value> {
    folder.flagstop(&["publish", "--http", &served.address, "--type", "t.hello"]).exits(0);
    let mut answers: Vec<Value> =
        (0..count).map(|_| served.until(COMPLETED).pop().unwrap()["data"]["output"]["version"].clone()).collect();
    answers.sort_by_key(ToString::to_string);
    answers
}

#[test]
fn the_highest_enabled_version_takes_new_events() {
    let folder = Folder::new();
    folder.write("flows/a.yaml", &greeter("1.9.0"));
    folder.write("flows/b.yaml", &greeter("1.10.0"));
    folder.write("flows/other.yaml", &other());
    let mut served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let definitions = |arguments: &[&str]| {
        let mut all = vec!["definitions"];
        all.extend(arguments);
        all.extend(["--store", &store, "--output", "json"]);
        folder.flagstop(&all)
    };
    let listed = definitions(&["list"]).exits(0).json("definitions-list");
    let short = |list: &Value| -> Vec<String> {
        let entry = |it: &Value| format!("{} {} {}", it["name"], it["version"], it["newest"]).replace('"', "");
        list.as_array().unwrap().iter().map(entry).collect()
    };
    assert_eq!(short(&listed), ["greeter 1.10.0 true", "greeter 1.9.0 false", "other 1.0.0 true"]);
    assert_eq!(who_answers(&folder, &mut served, 2), ["1.10.0", "other"]);

    let changed = definitions(&["disable", "t/greeter", "1.10.0"]).exits(0).json("definitions-change");
    assert_eq!(
        (&changed["changed"], short(&changed["definitions"])),
        (&json!(1), vec!["greeter 1.10.0 false".to_owned(), "greeter 1.9.0 true".to_owned()])
    );
    assert_eq!(who_answers(&folder, &mut served, 2), ["1.9.0", "other"]);

    // Many at once need consent; with it, nothing of that name begins any more.
    definitions(&["enable", "t/greeter"]).exits(0);
    definitions(&["disable", "t/greeter"]).exits(2).says(&["error[FS-CONFIRM]", "disable 2 versions", "--yes"]);
    assert_eq!(who_answers(&folder, &mut served, 2), ["1.10.0", "other"]);
    definitions(&["disable", "t/greeter", "--yes"]).exits(0);
    assert_eq!(who_answers(&folder, &mut served, 1), ["other"]);
    definitions(&["enable", "t/greeter", "1.9.0"]).exits(0);
    assert_eq!(who_answers(&folder, &mut served, 2), ["1.9.0", "other"]);
    served.stop();
}

#[test]
fn a_definition_is_shown_with_what_it_hears_and_says() {
    let folder = Folder::new();
    let store = folder.store();
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    let text = "document: { dsl: '1.0.3', namespace: t, name: x, version: '1.0.0' }
schedule: { on: { one: { with: { type: t.a } } }, every: { hours: 1 } }
do:
  - hear: { listen: { to: { any: [ { with: { type: t.c } }, { with: { type: t.b } } ] } } }
  - say: { emit: { event: { with: { type: t.d } } } }
";
    let file = folder.write("x.yaml", text);
    folder.flagstop(&["deploy", "--store", &store, &file]).exits(0);
    let show = ["definitions", "show", "t/x", "--store", &store];
    let json = folder.flagstop(&[&show[..], &["--output", "json"]].concat()).exits(0).json("definitions-show");
    assert_eq!(json["startsOn"], json!(["t.a"]));
    assert_eq!(json["clock"], json!(["every"]));
    assert_eq!((&json["listensTo"], &json["emits"]), (&json!(["t.b", "t.c"]), &json!(["t.d"])));
    assert_eq!(json["source"], text);
    let shown = folder.flagstop(&show).exits(0).stdout;
    for line in ["definition  t/x 1.0.0\n", "triggers    takes them\n", "listens to  t.b, t.c\n", "  - say: "] {
        assert!(shown.contains(line), "`{line}` is missing in:\n{shown}");
    }
    let missing = |name: &str| folder.flagstop(&["definitions", "show", name, "--store", &store]);
    missing("t/y").exits(6).says(&["error[FS-DEFINITION-UNKNOWN]", "definitions list"]);
    missing("x").exits(2).says(&["error[FS-DEFINITION-NAME]", "hr/onboarding"]);
    let wrong = ["definitions", "disable", "t/x", "2.0.0", "--store", &store];
    folder.flagstop(&wrong).exits(6).says(&["there is no definition t/x 2.0.0"]);
}

#[test]
fn the_clock_starts_nothing_of_a_disabled_definition_and_goes_on_when_it_is_enabled() {
    let folder = Folder::new();
    let ticking = greeter("1.0.0").replace("on: { one: { with: { type: t.hello } } }", "every: { milliseconds: 50 }");
    folder.write("flows/ticking.yaml", &ticking);
    folder.write("flows/other.yaml", &other());
    let mut served = folder.serve(&folder.file("flows"), &[]);
    let store = format!("sqlite:{}", folder.file("data/store.db"));
    let change = |verb: &str| {
        folder.flagstop(&["definitions", verb, "t/greeter", "--store", &store]).exits(0);
    };
    let started = || {
        let list = ["instances", "list", "--definition", "t/greeter", "--limit", "0", "--store", &store];
        let rows = folder.flagstop(&[&list[..], &["--output", "json"]].concat()).exits(0).json("instances-list");
        rows.as_array().unwrap().len()
    };
    served.until(COMPLETED);
    change("disable");
    // Whoever answers this has seen the new catalogue.
    folder.flagstop(&["publish", "--http", &served.address, "--type", "t.hello"]).exits(0);
    while served.until(COMPLETED).pop().unwrap()["data"]["output"]["version"] != "other" {}
    // One that was on its way may still have begun.
    let pause = || std::thread::sleep(std::time::Duration::from_millis(500));
    pause();
    let before = started();
    pause();
    assert_eq!(started(), before, "nothing begins");
    change("enable");
    served.until(COMPLETED);
    served.stop();
}
