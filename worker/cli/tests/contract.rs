//! What others build on: the schema files, the AsyncAPI document, the configuration reference.
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use std::process::Command;

use serde_json::{Value, json};
use support::{Folder, example, root};

/// Hears and emits in every way that there is.
const TALKATIVE: &str = r"
document: { dsl: '1.0.3', namespace: shop, name: talkative, version: '2.1.0' }
schedule:
  on:
    any:
      - with: { type: com.example.order.placed, source: /shop }
      - with: { type: 'com.example.order/odd name' }
do:
  - hear:
      listen:
        to:
          any:
            - with: { type: com.example.payment.received, data: '${ .amount > 3 }' }
              correlate: { order: { from: .data.order, expect: '${ .order }' } }
            - with: { type: com.example.payment.reminded }
          until: { one: { with: { type: com.example.order.closed } } }
  - hearAll: { listen: { to: { any: [] } } }
  - side:
      fork:
        branches:
          - tell: { emit: { event: { with: { type: com.example.order.shipped, data: { n: 1 } } } } }
          - tellSomething: { emit: { event: { with: { type: '${ .type }' } } } }
";

fn parsed(folder: &Folder, document: &str) -> Value {
    let file = folder.write("asyncapi.yaml", document);
    let output = Command::new(root().join("tests/asyncapi/check")).arg(&file).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "AsyncAPI's parser refuses the document:\n{out}\n{err}");
    serde_json::from_str(&out).unwrap()
}

fn operation<'a>(parsed: &'a Value, id: &str) -> &'a Value {
    let found = parsed["operations"].as_array().unwrap().iter().find(|operation| operation["id"] == id);
    found.unwrap_or_else(|| panic!("{id} is missing in {parsed:#}"))
}

#[test]
fn the_asyncapi_document_is_taken_by_asyncapi_s_own_parser() {
    let folder = Folder::new();
    let file = folder.write("talkative.yaml", TALKATIVE);
    let described = folder.flagstop(&["asyncapi", &file, &example()]).exits(0).stdout;
    let parsed = parsed(&folder, &described);
    assert_eq!(parsed["version"], "3.0.0");
    let errors: Vec<&Value> =
        parsed["complaints"].as_array().unwrap().iter().filter(|complaint| complaint["severity"] == 0).collect();
    assert_eq!(errors, [&Value::Null; 0]);

    let protocols = |id: &str| operation(&parsed, id)["servers"].clone();
    assert_eq!(protocols("flagstop.tells.rabbitmq"), json!(["amqp"]));
    assert_eq!(protocols("flagstop.tells.kafka"), json!(["kafka"]));
    let tells = operation(&parsed, "flagstop.tells.rabbitmq");
    assert_eq!(tells["channels"], json!(["{namespace}.{name}.{scope}.{what}"]));
    for ty in ["workflow.started", "workflow.correlation-completed", "task.retried", "task.faulted"] {
        let ty = format!("io.serverlessworkflow.{ty}.v1");
        assert!(tells["messages"].as_array().unwrap().contains(&json!(ty)), "{ty} is missing in {tells:#}");
    }
    let obeys = operation(&parsed, "flagstop.obeys.kafka");
    assert_eq!((&obeys["action"], &obeys["channels"]), (&json!("receive"), &json!(["flagstop.in"])));
    for command in ["start", "resume", "cancel", "suspend", "continue", "retry"] {
        let ty = format!("io.flagstop.command.{command}.v1");
        assert!(obeys["messages"].as_array().unwrap().contains(&json!(ty)), "{ty} is missing in {obeys:#}");
    }

    for broker in ["rabbitmq", "kafka"] {
        let messages = |what: &str| operation(&parsed, &format!("{what}.{broker}"))["messages"].clone();
        let starts = json!(["com.example.order.placed", "com.example.order/odd name"]);
        assert_eq!(messages("shop.talkative.2.1.0.starts-on"), starts);
        let hears = json!([
            "any event",
            "com.example.order.closed",
            "com.example.payment.received",
            "com.example.payment.reminded"
        ]);
        assert_eq!(messages("shop.talkative.2.1.0.listens-to"), hears);
        assert_eq!(messages("shop.talkative.2.1.0.emits"), json!(["any event", "com.example.order.shipped"]));
        assert_eq!(messages("hr.onboarding.1.0.0.starts-on"), json!(["com.example.employee.hired"]));
        let emits = json!(["com.example.employee.onboarded", "com.example.employee.turned-down"]);
        assert_eq!(messages("hr.onboarding.1.0.0.emits"), emits);
    }
    // The filters stand there as their author wrote them.
    let json = folder.flagstop(&["asyncapi", &file, "--output", "json", "--bus", "kafka"]).exits(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        json["operations"]["shop.talkative.2.1.0.listens-to.kafka"]["x-flagstop-filters"][0],
        json!({
            "at": "/do/0/hear/listen/to/any/0",
            "with": { "type": "com.example.payment.received", "data": "${ .amount > 3 }" },
            "correlate": { "order": { "from": ".data.order", "expect": "${ .order }" } },
        })
    );
    assert!(json["servers"]["rabbitmq"].is_null(), "only the brokers that are asked for");
}

#[test]
fn the_asyncapi_document_shows_what_is_deployed_and_how_it_is_configured() {
    let folder = Folder::new();
    let store = folder.store();
    folder.flagstop(&["migrate", "--store", &store]).exits(0);
    folder.flagstop(&["deploy", "--store", &store, &example()]).exits(0);
    let config = folder.write(
        "flagstop.toml",
        "[bus]\nurl = 'amqp://flag:s3cret@mq.example.com:5673/prod'\nprefix = 'hr.'\nnames.status = 'steps'\n",
    );
    let arguments = ["asyncapi", "--store", &store, "--config", &config, "--output", "json"];
    let text = folder.flagstop(&arguments).exits(0).stdout;
    assert!(!text.contains("s3cret"));
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["servers"]["rabbitmq"]["host"], "mq.example.com:5673");
    let exchange = &json["channels"]["rabbitmq.status"]["bindings"]["amqp"]["exchange"]["name"];
    assert_eq!((exchange, &json["channels"]["kafka.in"]["address"]), (&json!("hr.steps"), &json!("hr.flagstop.in")));
    let hears = "hr.onboarding.1.0.0.starts-on.kafka";
    assert_eq!(json["operations"][hears]["action"], "receive");
    // What is disabled takes nothing new.
    let change = |verb: &str| folder.flagstop(&["definitions", verb, "hr/onboarding", "--store", &store]).exits(0);
    change("disable");
    let without: Value = serde_json::from_str(&folder.flagstop(&arguments).exits(0).stdout).unwrap();
    assert_eq!(without["operations"][hears], Value::Null);
    change("enable");
    // Only what leaves is described, and commands where they are taken.
    let narrow = folder.write(
        "narrow.toml",
        "[status]\nevents = ['workflow.*']\n[bus]\ncommands = 'refuse'\nnames.commands = 'orders'\n",
    );
    let text = folder.flagstop(&["asyncapi", "--config", &narrow]).exits(0).stdout;
    let parsed = parsed(&folder, &text);
    let tells = operation(&parsed, "flagstop.tells.kafka")["messages"].as_array().unwrap().clone();
    assert!(tells.len() >= 8 && tells.iter().all(|ty| ty.as_str().unwrap().contains(".workflow.")), "{tells:?}");
    let obeys = operation(&parsed, "flagstop.obeys-alone.kafka");
    assert_eq!(obeys["channels"], json!(["orders"]));
    let answers = json!(["io.flagstop.command.accepted.v1", "io.flagstop.command.rejected.v1"]);
    assert_eq!(obeys["reply"], answers);
    assert!(!text.contains("flagstop.obeys.kafka") && !text.contains("workflow.status-changed.v1"));
    // Without a workflow, what all share.
    let bare: Value =
        serde_json::from_str(&folder.flagstop(&["asyncapi", "--output", "json"]).exits(0).stdout).unwrap();
    assert!(bare["operations"]["flagstop.tells.kafka"].is_object());
    let wrong = folder.write("wrong.yaml", "document: { dsl: '1.0.3' }\n");
    folder.flagstop(&["asyncapi", &wrong]).exits(2).says(&["wrong.yaml:1:"]);
}

#[test]
fn the_schemas_are_written_as_files_whose_paths_are_their_ids() {
    let folder = Folder::new();
    let out = folder.file("contract/schemas");
    let written = folder.flagstop(&["schemas", "--out", &out, "--output", "json"]).exits(0).json("schemas");
    let files: Vec<&str> = written["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
    for name in ["status/workflow.started.v1", "command/start.v1", "cli/instances-list"] {
        assert!(files.contains(&format!("{name}.schema.json").as_str()), "{name} is missing");
    }
    for file in &files {
        let text = std::fs::read_to_string(folder.file(&format!("contract/schemas/{file}"))).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema["$id"], format!("https://flagstop.io/schemas/{file}"));
    }
    let shown = folder.flagstop(&["schemas", "--out", &out]).exits(0).stdout;
    assert_eq!(shown.lines().collect::<Vec<_>>(), files);
    let blocked = folder.write("a-file", "");
    folder.flagstop(&["schemas", "--out", &blocked]).exits(2).says(&["error[FS-FILE]", "--out DIR"]);
}

#[test]
fn the_configuration_reference_is_the_page_in_docs() {
    let folder = Folder::new();
    let reference = folder.flagstop(&["config", "reference"]).exits(0).stdout;
    let page = root().join("docs/configuration.md");
    if std::env::var("FLAGSTOP_GOLDEN").is_ok_and(|how| how == "write") {
        return std::fs::write(&page, reference).unwrap();
    }
    let shown = std::fs::read_to_string(&page).unwrap_or_default();
    assert_eq!(reference, shown, "docs/configuration.md is out of date; FLAGSTOP_GOLDEN=write writes it");
}

#[test]
fn the_effective_configuration_is_shown_without_its_secrets() {
    let folder = Folder::new();
    let file = folder.write(
        "flagstop.toml",
        "[store]\nurl = 'postgres://flag:s3cret@db/hr'\n[bus.producer]\n'sasl.password' = 's3cret'\n[worker]\nlanes = 2\nbatch_max = 7\n",
    );
    let variables =
        [("FLAGSTOP__WORKER__BATCH_MAX", "9"), ("FLAGSTOP__BUS__URL", "kafka://k:9092/?sasl.password=s3cret")];
    let shown = folder.flagstop_with(&["config", "--config", &file, "--output", "json"], &variables).exits(0);
    assert!(!shown.stdout.contains("s3cret"), "{}", shown.stdout);
    let json = shown.json("config");
    assert_eq!(json["store"]["url"], "postgres://flag:…@db/hr");
    assert_eq!(json["bus"]["url"], "kafka://k:9092/?sasl.password=…");
    assert_eq!((&json["worker"]["batch_max"], &json["worker"]["lanes"]), (&json!(9), &json!(2)));
    // What is printed as TOML is a configuration file again.
    let flags = ["config", "--store", "sqlite:flag.db"];
    let toml = folder.flagstop_with(&flags, &[("FLAGSTOP__WORKER__LANES", "4")]).exits(0).stdout;
    let again = folder.write("again.toml", &toml);
    let json = folder.flagstop(&["config", "--config", &again, "--output", "json"]).exits(0).json("config");
    assert_eq!((&json["store"]["url"], &json["worker"]["lanes"]), (&json!("sqlite:flag.db"), &json!(4)));
    folder
        .flagstop_with(&["config"], &[("FLAGSTOP__WORKER__LANE", "4")])
        .exits(2)
        .says(&["did you mean `worker.lanes`"]);
}
