//! The specification's conformance kit and its examples, run as they are. Both are read from `FLAGSTOP_CONFORMANCE` or from
//! beside the project; where they are not there, that is said and nothing of it counts as shown.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::{BTreeMap, BTreeSet};

use flagstop_engine::{Limits, Plan};
use flagstop_tests::scenario::{self, Scenario, assert_all_pass};
use flagstop_tests::specification::{self, VERSIONS, keys};
use flagstop_tests::{feature, language};
use serde_json::{Value, json};

/// What the kit says of itself: so many scenarios in each version.
const SCENARIOS: usize = 21;

/// The services that the kit's scenarios call.
fn hosts() -> Value {
    let pet = |id: u32| json!({ "id": id, "name": "milou", "status": "available" });
    let at = |path: &str| format!("https://petstore.swagger.io/v2/{path}");
    let parameter = |name: &str, place: &str| json!({ "name": name, "in": place, "required": true, "type": "string" });
    json!([
        { "match": { "url": at("swagger.json") }, "reply": { "body": {
            "swagger": "2.0", "host": "petstore.swagger.io", "basePath": "/v2", "schemes": ["https"],
            "info": { "title": "pets", "version": "1" },
            "paths": {
                "/pet/findByStatus": { "get": { "operationId": "findPetsByStatus", "parameters": [parameter("status", "query")] } },
                "/pet/{petId}": { "get": { "operationId": "getPetById", "parameters": [parameter("petId", "path")] } },
            },
        } } },
        { "match": { "url": at("pet/findByStatus"), "query": { "status": "available" } }, "reply": { "body": [pet(1), pet(2)] } },
        { "match": { "url": at("pet/1") }, "reply": { "body": pet(1) } },
        { "match": { "url": at("pet/2") }, "reply": { "body": pet(2) } },
        { "match": { "url": at("pet/getPetByName/{name}") }, "reply": { "status": 404, "body": { "message": "no such pet" } } },
        {
            // serverless-workflow:conformance-test
            "match": {
                "url": "https://httpbin.org/basic-auth/serverless-workflow/conformance-test",
                "headers": { "authorization": "Basic c2VydmVybGVzcy13b3JrZmxvdzpjb25mb3JtYW5jZS10ZXN0" },
            },
            "reply": { "body": { "authenticated": true } },
        },
    ])
}

/// An example of the specification, as our table has it.
struct Example {
    file: String,
    /// Warnings that it deserves.
    warnings: BTreeSet<String>,
    /// Why it warns, or why its end is no success.
    has_reason: bool,
    more: Vec<(String, String)>,
    /// None: its task is checked and can't be run.
    cases: Option<Value>,
}

fn examples() -> Vec<Example> {
    let path = language::root().join("tests/specification/examples.yaml");
    let table = scenario::yaml("examples.yaml", &std::fs::read_to_string(path).unwrap());
    let texts =
        |value: &Value| value.as_array().into_iter().flatten().map(|v| v.as_str().unwrap().to_owned()).collect();
    let example = |entry: &Value| {
        let can_run = entry["cannot"] != "run";
        let mut warnings: BTreeSet<String> = texts(&entry["warnings"]);
        warnings.extend((!can_run).then(|| "FS-NOT-RUNNABLE".to_owned()));
        let more = entry["more"].as_object().into_iter().flatten();
        Example {
            file: entry["file"].as_str().unwrap().to_owned(),
            warnings,
            has_reason: !can_run || entry["why"].is_string(),
            more: more.map(|(file, text)| (file.clone(), text.as_str().unwrap().to_owned())).collect(),
            cases: can_run.then(|| entry["cases"].clone()),
        }
    };
    table.as_array().unwrap().iter().map(example).collect()
}

#[test]
fn every_scenario_of_the_conformance_kit_passes_with_and_without_kills() {
    let Some(kit) = specification::folder("the conformance kit's scenarios") else { return };
    let hosts = hosts();
    for version in VERSIONS {
        let mut found: Vec<Scenario> = Vec::new();
        for path in language::files(&kit.join(version).join("ctk/features"), ".feature") {
            found.extend(feature::scenarios(version, &std::fs::read_to_string(path).unwrap(), &hosts));
        }
        assert_eq!(found.len(), SCENARIOS, "scenarios of {version}");
        assert_all_pass(version, &found);
        eprintln!("{version}: {} scenarios of the conformance kit pass", found.len());
    }
}

#[test]
fn a_step_that_nobody_knows_fails_its_scenario() {
    let text = "Feature: f\n  Scenario: s\n    Given a workflow with definition:\n    \"\"\"yaml\n    a: 1\n    \"\"\"\n    When the workflow is executed\n    Then the moon should rise\n";
    let read = || feature::scenarios("test", text, &json!([]));
    let message = std::panic::catch_unwind(read).expect_err("the step is unknown");
    assert!(message.downcast_ref::<String>().unwrap().contains("the moon should rise"));
}

#[test]
fn every_example_of_the_specification_validates() {
    let Some(kit) = specification::folder("that the specification's examples validate") else { return };
    let table: BTreeMap<String, Example> =
        examples().into_iter().map(|example| (example.file.clone(), example)).collect();
    let mut wrong = Vec::new();
    let mut count = 0;
    for version in VERSIONS {
        for path in language::files(&kit.join(version).join("examples"), ".yaml") {
            count += 1;
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            let Some(example) = table.get(&file) else {
                wrong.push(format!("{version}/{file} is not in our table"));
                continue;
            };
            match Plan::compile(text.as_bytes(), &Limits::default()) {
                Err(diagnostics) => wrong.push(diagnostics.render(&format!("{version}/{file}"), &text)),
                Ok(plan) => {
                    let found: BTreeSet<String> =
                        plan.warnings().iter().map(|warning| warning.code.to_string()).collect();
                    if found != example.warnings {
                        wrong.push(format!(
                            "{version}/{file} warns of {found:?}, and {:?} are listed",
                            example.warnings
                        ));
                    }
                    if !found.is_empty() && !example.has_reason {
                        wrong.push(format!("{version}/{file} warns, and our table does not say why"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(count, 134);
}

#[test]
fn every_example_of_the_specification_runs_to_its_end() {
    let Some(kit) = specification::folder("that the specification's examples run") else { return };
    let mut scenarios = Vec::new();
    for version in VERSIONS {
        for example in examples() {
            let path = kit.join(version).join("examples").join(&example.file);
            if let Ok(text) = std::fs::read_to_string(&path) {
                scenarios.push(one(version, &example, text));
            }
        }
    }
    assert_eq!(scenarios.len(), 134);
    assert_all_pass("examples", &scenarios);
}

fn one(version: &str, example: &Example, text: String) -> Scenario {
    let refused = json!([{ "name": "a clear fault", "input": { "user": {} }, "expect": { "status": "faulted", "requests": [] } }]);
    let mut workflows = vec![(example.file.clone(), text)];
    workflows.extend(example.more.iter().cloned());
    let cases = example.cases.clone().unwrap_or(refused);
    Scenario { name: format!("{version}/{}", example.file), workflows, cases }
}

#[test]
fn every_key_of_the_specifications_schema_is_in_our_table() {
    let Some(kit) = specification::folder("that our table of keys is complete") else { return };
    let mut known = BTreeSet::new();
    for version in VERSIONS {
        let text = std::fs::read_to_string(kit.join(version).join("schema/workflow.yaml")).unwrap();
        // The reader of definitions bounds sizes for definitions, and a schema is no larger than they may be.
        known.extend(keys::of(&scenario::yaml("workflow.yaml", &text)));
    }
    let page = std::fs::read_to_string(language::root().join(language::PAGE)).unwrap();
    let listed: BTreeSet<String> = language::keys(&page).into_iter().map(|row| row.key).collect();
    let missing: Vec<_> = known.difference(&listed).collect();
    assert!(missing.is_empty(), "missing in {}: {missing:#?}", language::PAGE);
    let unknown: Vec<_> =
        listed.difference(&known).filter(|key| !key.starts_with("event ") && !key.starts_with("data ")).collect();
    assert!(unknown.is_empty(), "in no schema, but in {}: {unknown:#?}", language::PAGE);
}
