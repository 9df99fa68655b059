//! `flagstop validate`.

use crate::support::Folder;
use crate::{definition, golden};

const ODD: &str = "do: [ { hear: { listen: { to: { one: { with: { type: a }, correlate: { id: { from: .id, expect: .id } } } } } } } ]";

#[test]
fn folders_patterns_and_files_are_checked_and_all_mistakes_shown() {
    let folder = Folder::new();
    folder.write("a/good.yaml", &definition("good", "do: [ { a: { set: { a: 1 } } } ]"));
    folder.write("a/good.test.yaml", "workflows: [good.yaml]\ncases: [ { name: a } ]");
    folder.write("a/notes.yaml", "just: notes");
    folder.write(
        "b/c/bad.yaml",
        &definition("bad", "do:\n  - a: { sett: 1 }\n  - a: { set: { a: 1 }, then: nowhere }\n"),
    );
    folder.write("odd.yaml", &definition("odd", ODD));

    let outcome = folder.flagstop(&["validate", "a", "b/**/*.yaml", "odd.yaml"]).exits(2);
    assert_eq!(outcome.stdout, "");
    golden("validate.stderr", &outcome.stderr);
    let json =
        folder.flagstop(&["validate", "a", "b/**/*.yaml", "odd.yaml", "--output", "json"]).exits(2).json("validate");
    let valid: Vec<&serde_json::Value> = json["files"].as_array().unwrap().iter().map(|file| &file["valid"]).collect();
    assert_eq!(valid, [true, false, true]);

    folder.flagstop(&["validate", "odd.yaml"]).exits(0).says(&["FS-CONSTANT-EXPECT", "1 checked, 0 invalid"]);
    folder.flagstop(&["validate", "odd.yaml", "--deny-warnings"]).exits(2);
    folder.flagstop(&["validate", "x*.yaml"]).exits(2).says(&["FS-FILE", "no definition fits x*.yaml"]);
    folder.flagstop(&["validate", "gone.yaml"]).exits(2).says(&["FS-FILE", "gone.yaml"]);
    folder.flagstop(&["validate", "b"]).exits(2).says(&["FS-FILE", "no definition in b"]);
}
