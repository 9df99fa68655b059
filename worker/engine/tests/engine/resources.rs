//! Documents outside of a definition: named, missing, there, wrong.

use flagstop_engine::{Instance, Limits, Plan};
use flagstop_schemas::InstanceId;
use serde_json::json;

use crate::driver::{World, assert_has, both_ways, bundle, compile_with, definition, problem};

const SCHEMAS_EVERYWHERE: &str = "
input: { schema: { resource: { endpoint: schemas/workflow-in.json } } }
output: { schema: { resource: { endpoint: { uri: 'https://schemas.example/out.yaml' } } } }
do:
  - a:
      input: { schema: { format: 'json:2020-12', resource: { name: in, endpoint: ./schemas/task-in.json } } }
      set: { n: '${ .n + 1 }' }
      output: { schema: { resource: { endpoint: 'file:///srv/task-out.json' } } }
      export: { as: '.', schema: { resource: { endpoint: ../shared/context.json } } }
";

#[test]
fn a_plan_lists_every_document_that_it_lacks_once_and_relative_ones_stay_relative() {
    let plan = compile_with(SCHEMAS_EVERYWHERE, &[]).unwrap();
    let missing: Vec<_> = plan.missing().iter().map(|missing| missing.url.as_str()).collect();
    assert_eq!(
        missing,
        [
            "schemas/workflow-in.json",
            "https://schemas.example/out.yaml",
            "schemas/task-in.json",
            "file:///srv/task-out.json",
            "../shared/context.json",
        ]
    );
    let there: Vec<_> = missing.iter().map(|url| (*url, "type: object")).collect();
    assert!(compile_with(SCHEMAS_EVERYWHERE, &there).unwrap().missing().is_empty());
    let twice = "input: { schema: { resource: { endpoint: a.json } } }\noutput: { schema: { resource: { endpoint: ./a.json } } }\ndo: []";
    assert_eq!(compile_with(twice, &[]).unwrap().missing().len(), 1);
}

#[test]
fn external_schemas_are_checked_at_every_point() {
    let fine = "type: object";
    let wrong = r#"{ "required": ["nothing"] }"#;
    let places = [
        ("schemas/workflow-in.json", "/input/schema"),
        ("https://schemas.example/out.yaml", "/output/schema"),
        ("schemas/task-in.json", "/do/0/a"),
        ("file:///srv/task-out.json", "/do/0/a"),
        ("../shared/context.json", "/do/0/a"),
    ];
    both_ways(|kill| {
        let documents = places.map(|(url, _)| (url, fine));
        let world = World::with_documents(SCHEMAS_EVERYWHERE, &documents).killed(kill).run(json!({ "n": 1 }));
        assert_eq!(world.output(), json!({ "n": 2 }));
        for (bad, instance) in places {
            let documents = places.map(|(url, _)| (url, if url == bad { wrong } else { fine }));
            let world = World::with_documents(SCHEMAS_EVERYWHERE, &documents).killed(kill).run(json!({ "n": 1 }));
            assert_has(&world.error(), &problem("validation", 400, instance));
        }
    });
}

#[test]
fn a_task_that_needs_a_missing_document_faults_and_names_it() {
    both_ways(|kill| {
        let world = World::new(SCHEMAS_EVERYWHERE).killed(kill).run(json!({ "n": 1 }));
        assert_has(&world.error(), &problem("configuration", 400, "/input/schema"));
        assert!(world.error()["detail"].as_str().unwrap().contains("schemas/workflow-in.json"));
    });
}

#[test]
fn a_mistake_in_a_document_is_shown_where_the_definition_names_it() {
    let of = |text: &str| {
        let rest = "input:\n  schema: { resource: { endpoint: s.json } }\ndo: []";
        let found = compile_with(rest, &[("s.json", text)]).unwrap_err();
        let found: Vec<_> = found.iter().map(|found| (found.code, found.span.line, found.message.clone())).collect();
        found
    };
    for (text, code, inside) in [
        ("type: object\n$ref: 'https://h/other.json'", "FS-SCHEMA-REFERENCE", "in `s.json`, line 2"),
        ("{ \"type\": ", "FS-YAML-SYNTAX", "in `s.json`, line"),
        ("type: nonsense", "FS-SCHEMA", "in `s.json`"),
    ] {
        let found = of(text);
        assert_eq!((found[0].0, found[0].1, found.len()), (code, 3, 1), "{found:?}");
        assert!(found[0].2.contains(inside), "{found:?}");
    }
}

#[test]
fn the_documents_are_part_of_what_a_snapshot_belongs_to() {
    let text = definition("input: { schema: { resource: { endpoint: s.json } } }\ndo: []");
    let plan =
        |schema: &str| Plan::compile_with(text.as_bytes(), &bundle(&[("s.json", schema)]), &Limits::default()).unwrap();
    let instance = Instance::new(InstanceId::of_trigger("/test", "1", "test", "flow"), &plan("type: object"));
    assert!(Instance::decode(&plan("type: object"), &instance.encode()).is_ok());
    assert!(Instance::decode(&plan("type: array"), &instance.encode()).is_err());
}
