//! Reads the conformance kit's `*.feature` files and makes documents of the test kit of their scenarios.
//!
//! A step that is not known is a failure, never passed over.

use serde_json::{Value, json};

use crate::scenario::{Scenario, yaml};

/// Names of the tasks in the order in which they started, from the task log.
const RAN: &str = r#"[$result.lifecycle[] | select(.type == "io.serverlessworkflow.task.started.v1") | .data.task | split("/") | last] as $ran | "#;

/// A step and the text below it.
struct Step {
    text: String,
    argument: String,
}

/// The scenarios of a feature. `hosts` are the rules of the services that they call.
pub fn scenarios(version: &str, text: &str, hosts: &Value) -> Vec<Scenario> {
    let mut found: Vec<(String, Vec<Step>)> = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("Scenario:") {
            found.push((name.trim().to_owned(), Vec::new()));
        } else if line.starts_with("\"\"\"") {
            let step = found.last_mut().and_then(|(_, steps)| steps.last_mut()).expect("a text belongs to a step");
            for line in lines.by_ref().take_while(|line| !line.trim().starts_with("\"\"\"")) {
                step.argument.push_str(line);
                step.argument.push('\n');
            }
        } else if let Some(text) = ["Given ", "When ", "Then ", "And "].iter().find_map(|word| line.strip_prefix(word))
        {
            let text = text.strip_prefix("given ").unwrap_or(text).to_owned();
            let (_, steps) = found.last_mut().expect("a step belongs to a scenario");
            steps.push(Step { text, argument: String::new() });
        } else {
            // What a feature is for, in prose, stands before its first scenario.
            assert!(line.is_empty() || line.starts_with('#') || found.is_empty(), "unknown line: {line}");
        }
    }
    found.into_iter().map(|(name, steps)| translate(format!("{version}: {name}"), &steps, hosts)).collect()
}

fn translate(name: String, steps: &[Step], hosts: &Value) -> Scenario {
    let mut workflow = None;
    let mut case = json!({ "name": name, "http": hosts, "expect": {} });
    let mut conditions = Vec::new();
    let mut executed = false;
    for step in steps {
        let document = || yaml(&name, &step.argument);
        match step.text.as_str() {
            "a workflow with definition:" => workflow = Some(step.argument.clone()),
            "the workflow input is:" => case["input"] = document(),
            "the workflow is executed" => executed = true,
            "the workflow should complete" => case["expect"]["status"] = "completed".into(),
            "the workflow should complete with output:" => {
                case["expect"]["status"] = "completed".into();
                case["expect"]["output"] = document();
            }
            "the workflow should fault" => case["expect"]["status"] = "faulted".into(),
            "the workflow should fault with error:" => {
                case["expect"]["status"] = "faulted".into();
                case["expect"]["error"] = document();
            }
            text => conditions.extend(condition(text, &step.argument).unwrap_or_else(|| panic!("{name}: {text}"))),
        }
    }
    assert!(executed, "{name} is never executed");
    if !conditions.is_empty() {
        case["expect"]["where"] = conditions.into();
    }
    let workflow = workflow.unwrap_or_else(|| panic!("{name} has no workflow"));
    Scenario { name, workflows: vec![("workflow.yaml".into(), workflow)], cases: json!([case]) }
}

/// What a step says of the output or of the order, as conditions in jq.
fn condition(text: &str, argument: &str) -> Option<Vec<String>> {
    let quoted = |text: &str| text.split('\'').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    if let Some(names) = text.strip_prefix("the workflow output should have properties ") {
        return Some(quoted(names).iter().map(|name| format!("any(paths; . == {})", path(name))).collect());
    }
    if let Some(rest) = text.strip_prefix("the workflow output should have a ") {
        let found = format!("getpath({})", path(quoted(rest).first()?));
        if rest.ends_with("property with value:") {
            return Some(vec![format!("{found} == {}", yaml("value", argument))]);
        }
        let count = rest.split("containing ").nth(1)?.strip_suffix(" items")?;
        return Some(vec![format!("({found} | length) == {}", count.parse::<u32>().ok()?)]);
    }
    let (task, order) = text.split_once(" should run ")?;
    let place = |name: &str| format!("($ran | index({}))", Value::from(name));
    let ordered = |earlier: &str, later: &str| {
        let (earlier, later) = (place(earlier), place(later));
        format!("{RAN}{earlier} != null and {later} != null and {earlier} < {later}")
    };
    let condition = match order.split_once(' ') {
        None if order == "first" => format!("{RAN}$ran[0] == {}", Value::from(task)),
        None if order == "last" => format!("{RAN}$ran[-1] == {}", Value::from(task)),
        Some(("after", other)) => ordered(other, task),
        Some(("before", other)) => ordered(task, other),
        _ => return None,
    };
    Some(vec![condition])
}

fn path(name: &str) -> String {
    Value::from(name.split('.').collect::<Vec<_>>()).to_string()
}
