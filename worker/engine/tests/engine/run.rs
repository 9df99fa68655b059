//! `run`: workflows as children, command lines and scripts.

use flagstop_engine::api::{ChildOutcome, EffectOutcome, Phase, ProcessKind, ProcessRequest, Request, Stimulus};
use flagstop_engine::problem::{Problem, ProblemKind};
use serde_json::json;

use crate::driver::{World, assert_has, both_ways, compile, compile_with, from_json, problem};

fn ended(code: i32, stdout: &str, stderr: &str) -> EffectOutcome {
    EffectOutcome::Process { code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
}

fn process(world: &World, index: usize) -> &ProcessRequest {
    match &world.requests[index].request {
        Request::Process(request) => request,
        other => panic!("this is no program: {other:?}"),
    }
}

fn one(task: &str) -> String {
    format!("do:\n  - a:\n      run: {task}\n")
}

const CHILD: &str = "
do:
  - a:
      run:
        workflow: { namespace: hr, name: child, version: '1.2.0', input: { id: '${ .employee }' } }
      output: { as: '{ child: . }' }
";

#[test]
fn a_child_gets_its_input_and_its_output_is_the_tasks() {
    both_ways(|kill| {
        let mut world = World::new(CHILD).killed(kill);
        world.start(json!({ "employee": 7 }));
        let child = world.children[0].clone();
        assert_eq!((child.namespace.as_str(), child.name.as_str(), child.depth), ("hr", "child", 1));
        assert_eq!(
            (child.version.unwrap().to_string(), child.input),
            ("1.2.0".to_owned(), from_json(&json!({ "id": 7 })))
        );
        let slot = child.slot.unwrap();
        world.apply(Stimulus::Child { slot, outcome: ChildOutcome::Completed(from_json(&json!([1]))) }).unwrap();
        assert_eq!(world.output(), json!({ "child": [1] }));
    });
}

#[test]
fn a_child_that_faults_is_cancelled_or_can_not_start_faults_the_task() {
    both_ways(|kill| {
        let own = Problem {
            type_uri: "https://example.com/e".to_owned(),
            status: 418,
            title: Some("t".to_owned()),
            detail: Some("d".to_owned()),
            instance: Some("/do/3/x".to_owned()),
        };
        let raised = json!({ "type": "https://example.com/e", "status": 418, "title": "t", "detail": "d", "instance": "/do/0/a" });
        for (outcome, error) in [
            (ChildOutcome::Faulted(own), raised),
            (ChildOutcome::Cancelled, problem("runtime", 500, "/do/0/a")),
            (ChildOutcome::NotStarted { reason: "nobody knows it".into() }, problem("configuration", 400, "/do/0/a")),
        ] {
            let mut world = World::new(CHILD).killed(kill);
            world.start(json!({ "employee": 7 }));
            let slot = world.children[0].slot.unwrap();
            world.apply(Stimulus::Child { slot, outcome }).unwrap();
            assert_has(&world.error(), &error);
        }
    });
}

#[test]
fn cancelling_the_parent_cancels_awaited_children_only() {
    let rest = "
do:
  - free: { run: { workflow: { namespace: hr, name: other, version: latest }, await: false } }
  - bound: { run: { workflow: { namespace: hr, name: child, version: latest } } }
";
    both_ways(|kill| {
        let mut world = World::new(rest).killed(kill);
        world.start(json!({ "n": 1 }));
        assert_eq!(world.completed(), ["/do/0/free"]);
        assert_eq!(world.children.iter().map(|child| child.slot.is_some()).collect::<Vec<_>>(), [false, true]);
        assert!(
            world.children.iter().all(|child| child.version.is_none() && child.input == from_json(&json!({ "n": 1 })))
        );
        world.apply(Stimulus::Cancel).unwrap();
        assert_eq!(world.cancelled_children, [world.children[1].id]);
    });
}

#[test]
fn a_workflows_return_is_its_output_or_none() {
    let rest = |more: &str| {
        format!("do: [ {{ a: {{ run: {{ workflow: {{ namespace: a, name: b, version: latest }}, {more} }} }} }} ]")
    };
    both_ways(|kill| {
        let mut world = World::new(&rest("return: none")).killed(kill);
        world.start(json!({}));
        let slot = world.children[0].slot.unwrap();
        world.apply(Stimulus::Child { slot, outcome: ChildOutcome::Completed(from_json(&json!(1))) }).unwrap();
        assert_eq!(world.output(), json!(null));
    });
    let plan = compile(&rest("return: code")).unwrap();
    assert_eq!(plan.warnings()[0].code, "FS-NO-EFFECT");
}

#[test]
fn a_command_line_gets_its_texts_and_the_definitions_own_dollars_stay() {
    both_ways(|kill| {
        let world = World::new(
            "
do:
  - a:
      run:
        shell:
          command: 'echo \"${HOME}\" ${ .name } \"hi ${ .name }\"'
          arguments: [ plain, '${ .n }', '${ .list }', '${ null }' ]
          environment: { NAME: '${ .name }', COUNT: 3, ON: true }
          stdin: '${ .list }'
",
        );
        let world = world.killed(kill).answers(ended(0, "out\n", "err"));
        let world = world.run(json!({ "name": "it's $(me)", "n": 2, "list": [1, "x"] }));
        assert_eq!(world.output(), json!("out\n"));
        let request = process(&world, 0);
        assert_eq!(request.kind, ProcessKind::Shell);
        assert_eq!(request.code, "echo \"${HOME}\" 'it'\\''s $(me)' \"hi it's \\$(me)\"");
        assert_eq!(request.arguments, ["plain", "2", "[1,\"x\"]", ""]);
        assert_eq!(request.stdin.as_deref(), Some("[1,\"x\"]"));
        let environment: Vec<_> =
            request.environment.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(environment[..3], [("NAME", "it's $(me)"), ("COUNT", "3"), ("ON", "true")]);
        assert_eq!(environment[3], ("IDEMPOTENCY_KEY", world.requests[0].idempotency_key.as_str()));
    });
}

#[test]
fn arguments_may_be_options_by_name() {
    both_ways(|kill| {
        let task = "{ script: { language: python, code: 'x = \"${ .not }\"', arguments: { message: '${ .m }', level: null, timestamp: true, quiet: false, '-v': 1, more: { a: 1 } } } }";
        let world = World::new(&one(task)).killed(kill).answers(ended(0, "", "")).run(json!({ "m": "hi" }));
        let request = process(&world, 0);
        assert_eq!(request.kind, ProcessKind::Script { language: "python".to_owned() });
        assert_eq!(request.code, "x = \"${ .not }\"");
        assert_eq!(request.arguments, ["--message=hi", "--timestamp", "-v=1", "--more={\"a\":1}"]);
        assert_eq!(request.stdin, None);
    });
}

#[test]
fn return_chooses_what_of_the_end_is_the_output() {
    for (returns, code, wanted) in [
        ("stdout", 0, Some(json!(" out\n"))),
        ("stderr", 0, Some(json!("err"))),
        ("code", 3, Some(json!(3))),
        ("all", 3, Some(json!({ "code": 3, "stdout": " out\n", "stderr": "err" }))),
        ("none", 0, Some(json!(null))),
        ("stdout", 3, None),
        ("stderr", 1, None),
        ("none", -1, None),
    ] {
        both_ways(|kill| {
            let world = World::new(&one(&format!("{{ shell: {{ command: ls }}, return: {returns} }}")));
            let world = world.killed(kill).answers(ended(code, " out\n", "err")).run(json!({}));
            match &wanted {
                Some(wanted) => assert_eq!(world.output(), *wanted),
                None => {
                    assert_has(&world.error(), &problem("runtime", 500, "/do/0/a"));
                    let detail = world.error()["detail"].as_str().unwrap().to_owned();
                    assert!(detail.contains(&format!("code {code}: err")), "{detail}");
                }
            }
        });
    }
}

#[test]
fn a_program_without_an_end_faults_and_a_retry_has_the_same_key_until_an_answer_came() {
    let rest = "
do:
  - t:
      try: [ { a: { run: { shell: { command: ls } } } } ]
      catch: { retry: { limit: { attempt: { count: 2 } } } }
";
    both_ways(|kill| {
        let lost = EffectOutcome::NoAnswer { reason: "killed".to_owned() };
        let world = World::new(rest).killed(kill).answers(lost).answers(ended(1, "", "")).answers(ended(0, "x", ""));
        let world = world.run(json!({}));
        assert_eq!(world.output(), json!("x"));
        let keys: Vec<_> = world.requests.iter().map(|effect| effect.idempotency_key.as_str()).collect();
        assert!(keys[0] == keys[1] && keys[1] != keys[2], "{keys:?}");
    });
}

#[test]
fn a_program_that_is_not_awaited_holds_nothing_up_and_stays_asked_for_until_it_has_ended() {
    let rest = "
use: { secrets: [s] }
do:
  - loop:
      for: { each: name, in: '.names' }
      do:
        - a:
            run:
              shell: { command: 'echo ${ $name } ${ $context } ${ $secrets.s }' }
              await: false
              return: code
            output: { as: '$name' }
            export: { as: '$name' }
  - b: { wait: PT1H }
";
    for outcome in [ended(0, "out", ""), ended(3, "", "bad"), EffectOutcome::NoAnswer { reason: "lost".to_owned() }] {
        both_ways(|kill| {
            let mut world = World::new(rest).killed(kill).secret("s", json!("x"));
            world.start(json!({ "names": ["one", "two"] }));
            assert_eq!((world.instance.phase(), world.context()), (Phase::Waiting, json!("two")));
            assert_eq!(
                (process(&world, 0).code.as_str(), process(&world, 1).code.as_str()),
                ("echo 'one'  'x'", "echo 'two' 'one' 'x'")
            );
            let slots: Vec<_> = world.requests.iter().map(|effect| effect.slot).collect();
            world.apply(Stimulus::Effect { slot: slots[1], outcome: outcome.clone() }).unwrap();
            let timer = world.instance.projection(&world.plan).timers[0].clone();
            world.now_us = timer.due_us;
            world.apply(Stimulus::Timer { slot: timer.slot }).unwrap();
            assert_eq!(world.output(), json!("two"));
            let effects = |world: &World| world.instance.projection(&world.plan).effects.len();
            assert_eq!(effects(&world), 1);
            let told = world.entries.len();
            world.apply(Stimulus::Effect { slot: slots[0], outcome: outcome.clone() }).unwrap();
            assert_eq!((effects(&world), world.entries.len(), world.instance.phase()), (0, told, Phase::Completed));
        });
    }
}

#[test]
fn a_program_that_is_not_awaited_outlives_a_cancelled_and_a_faulted_instance() {
    let rest =
        |end: &str| format!("do: [ {{ a: {{ run: {{ shell: {{ command: ls }}, await: false }} }} }}, {{ b: {end} }} ]");
    both_ways(|kill| {
        let mut world = World::new(&rest("{ wait: PT1H }")).killed(kill);
        world.start(json!({}));
        world.apply(Stimulus::Cancel).unwrap();
        assert_eq!((world.in_flight.len(), world.instance.phase()), (1, Phase::Cancelled));
        let mut world =
            World::new(&rest("{ raise: { error: { type: 'https://e.example/', status: 500 } } }")).killed(kill);
        world.start(json!({}));
        assert_eq!((world.in_flight.len(), world.instance.phase()), (1, Phase::Faulted));
        let slot = world.in_flight[0].slot;
        world.apply(Stimulus::Effect { slot, outcome: ended(0, "", "") }).unwrap();
        world.apply(Stimulus::Effect { slot, outcome: ended(0, "", "") }).unwrap_err();
    });
}

#[test]
fn a_script_may_lie_elsewhere() {
    let task = one("{ script: { language: js, source: { name: s, endpoint: scripts/s.js } } }");
    both_ways(|kill| {
        let world = World::with_documents(&task, &[("scripts/s.js", "console.log(`${1}`)")]);
        let world = world.killed(kill).answers(ended(0, "1", "")).run(json!({}));
        assert_eq!(process(&world, 0).code, "console.log(`${1}`)");
        let world = World::new(&task).killed(kill).run(json!({}));
        assert_has(&world.error(), &problem("configuration", 400, "/do/0/a"));
    });
    assert_eq!(compile_with(&task, &[]).unwrap().missing()[0].url, "scripts/s.js");
}

#[test]
fn what_can_not_be_run_is_told_at_its_place() {
    for (task, codes) in [
        ("{}", vec!["FS-TASK-TYPE"]),
        ("{ await: true }", vec!["FS-TASK-TYPE"]),
        ("{ shell: { command: ls }, script: { language: js, code: x } }", vec!["FS-TASK-TYPE"]),
        ("{ shell: { command: ls }, awiat: false }", vec!["FS-UNKNOWN-KEY"]),
        ("{ shell: { command: ls }, await: 1, return: nothing }", vec!["FS-WRONG-TYPE", "FS-VALUE"]),
        ("{ shell: {} }", vec!["FS-MISSING-KEY"]),
        ("{ shell: { command: 5 } }", vec!["FS-WRONG-TYPE"]),
        ("{ shell: { command: ls, arguments: x, environment: [], stdin: 1 } }", vec!["FS-WRONG-TYPE"; 3]),
        ("{ shell: { command: ls, arguments: [1] } }", vec!["FS-WRONG-TYPE"]),
        ("{ script: { language: cobol, code: x } }", vec!["FS-VALUE"]),
        ("{ script: { code: x } }", vec!["FS-MISSING-KEY"]),
        ("{ script: { language: js } }", vec!["FS-MISSING-KEY"]),
        ("{ script: { language: js, code: x, source: { endpoint: s } } }", vec!["FS-VALUE"]),
        ("{ workflow: { name: b } }", vec!["FS-MISSING-KEY"; 2]),
        ("{ workflow: { namespace: a_b, name: b, version: newest } }", vec!["FS-NAME"; 2]),
        ("{ workflow: { namespace: a, name: b, version: 1.0.0, inputs: {} } }", vec!["FS-UNKNOWN-KEY"]),
    ] {
        let found = compile(&one(task)).map(|_| ()).expect_err(task);
        assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), codes, "{task}");
    }
}

#[test]
fn an_instance_that_runs_a_program_tells_so() {
    let mut world = World::new(&one("{ shell: { command: 'echo ${ $secrets.s }' } }\nuse: { secrets: [s] }"))
        .secret("s", json!("x"));
    world.start(json!({}));
    assert_eq!(world.instance.phase(), Phase::Running);
    let reasons = world.instance.waiting(&world.plan);
    assert_eq!((reasons[0].kind, reasons[0].what.as_str()), ("effect", "the shell command"));
    assert!(!Problem::new(ProblemKind::Runtime, "", "").detail.unwrap().contains('x'));
}

#[test]
fn a_container_is_checked_and_faults_when_it_is_to_run() {
    both_ways(|kill| {
        let task = "{ container: { image: alpine, command: 'echo ${HOME}', arguments: [a], lifetime: { cleanup: eventually, after: PT1M }, pullPolicy: always }, return: code }";
        assert_eq!(compile(&one(task)).unwrap().warnings()[0].code, "FS-NOT-RUNNABLE");
        let world = World::new(&one(task)).killed(kill).run(json!({}));
        assert_has(&world.error(), &problem("configuration", 400, "/do/0/a"));
    });
    for (task, code) in [
        ("{ container: {} }", "FS-MISSING-KEY"),
        ("{ container: { image: a, lifetime: { cleanup: eventually } } }", "FS-MISSING-KEY"),
        ("{ container: { image: a, lifetime: { cleanup: always, after: PT1S } } }", "FS-VALUE"),
        ("{ container: { image: a, pull: always } }", "FS-UNKNOWN-KEY"),
    ] {
        let found = compile(&one(task)).map(|_| ()).expect_err(task);
        let found = found.iter().find(|found| found.code != "FS-NOT-RUNNABLE");
        assert_eq!(found.map(|found| found.code), Some(code), "{task}");
    }
}
