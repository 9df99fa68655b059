//! `flagstop bench`: that each scenario runs, and that its figures have the published form. No figure is judged.

mod support;

use support::Folder;

#[test]
fn the_engine_is_measured_part_by_part() {
    let folder = Folder::new();
    let parts = ["--only", "fork", "--only", "start-to-wait", "--rounds", "1"];
    let json = folder.flagstop(&[&["bench", "engine", "--output", "json"][..], &parts].concat()).exits(0).json("bench");
    let measures = json["measures"].as_array().expect("a list");
    let names: Vec<_> = measures.iter().map(|measure| measure["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["fork", "start-to-wait"]);
    assert!(measures[0]["snapshotBytes"].is_null());
    let bytes = |name: &str| measures[1][name].as_u64().expect("a number");
    assert!(
        bytes("snapshotBytes") <= bytes("dataBytes") + 1_024,
        "a waiting snapshot holds little beside its data: {json}"
    );
    let shown = folder.flagstop(&["bench", "engine", "--only", "jq", "--rounds", "1"]).exits(0).stdout;
    assert!(shown.contains("ns each"), "{shown}");
}

#[test]
fn the_whole_way_is_measured_on_the_embedded_bus() {
    let folder = Folder::new();
    let load = ["--workflows", "50", "--open", "20", "--rate", "20", "--seconds", "1", "--output", "json"];
    let ground = ["bench", "endtoend", "--store", "sqlite:bench.db", "--bus", "embedded:"];
    let json = folder.flagstop(&[&ground[..], &load].concat()).exits(0).json("bench");
    assert_eq!((&json["bus"], &json["workflows"]), (&"embedded".into(), &50.into()));
}
