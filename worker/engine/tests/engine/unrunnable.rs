//! What this build checks and cannot run: accepted with a warning, all mistakes found, a clear error when it runs.

use serde_json::json;

use crate::driver::{World, assert_has, both_ways, compile, problem};

fn call(kind: &str, with: &str) -> String {
    format!("do: [ {{ it: {{ call: {kind}, with: {with} }} }} ]")
}

const GRPC: &str = "proto: { endpoint: 'file://app/greet.proto' }, method: SayHello";
const SERVICE: &str = "service: { name: Greeter, host: localhost, port: 5011 }";
const ASYNC: &str = "document: { endpoint: 'https://a.example/api.json' }, operation: greet";
const STDIO: &str = "transport: { stdio: { command: npx, arguments: [ x ], environment: { A: '${ .a }' } } }";

#[test]
fn whole_calls_are_accepted_with_a_warning_and_fault_when_they_run() {
    for (kind, with, cannot) in [
        ("grpc", format!("{GRPC}, {SERVICE}, arguments: {{ name: '${{ .name }}' }}"), "call gRPC services"),
        ("asyncapi", format!("{ASYNC}, server: {{ name: s, variables: {{ e: dev }} }}, message: {{ payload: {{ a: 1 }}, headers: {{ b: c }} }}"), "call AsyncAPI operations"),
        (
            "asyncapi",
            format!("{ASYNC}, protocol: kafka, subscription: {{ filter: .a == 1, consume: {{ amount: 5, for: {{ seconds: 10 }} }},
              foreach: {{ item: message, do: [ {{ keep: {{ set: {{ it: '${{ $message }}' }} }} }} ], output: {{ as: .it }} }} }}"),
            "call AsyncAPI operations",
        ),
        ("mcp", format!("method: tools/call, parameters: {{ name: x }}, timeout: PT5S, client: {{ name: c, version: '1' }}, {STDIO}"), "call MCP servers"),
        ("mcp", "method: tools/list, transport: { http: { endpoint: 'https://a.example', headers: { a: b } }, options: { c: d } }".into(), "call MCP servers"),
        ("a2a", "method: message/send, agentCard: { endpoint: 'https://a.example/card.json' }, parameters: '${ .p }'".into(), "call agents"),
        ("a2a", "method: tasks/get, server: 'https://a.example', parameters: { id: 1 }".into(), "call agents"),
    ] {
        both_ways(|kill| {
            let world = World::new(&call(kind, &format!("{{ {with} }}"))).killed(kill);
            assert_eq!(world.plan.warnings().iter().map(|found| found.code).collect::<Vec<_>>(), ["FS-NOT-RUNNABLE"]);
            assert!(world.plan.missing().is_empty(), "nothing is fetched for what is not run");
            let world = world.run(json!({}));
            assert_has(&world.error(), &problem("configuration", 400, "/do/0/it"));
            assert_eq!(world.error()["detail"], json!(format!("this build cannot {cannot}")));
        });
    }
}

#[test]
fn their_mistakes_are_found_like_all_others() {
    let consume = |consume: &str| format!("{ASYNC}, subscription: {{ consume: {{ {consume} }} }}");
    for (kind, with, code) in [
        ("grpc", GRPC.to_owned(), "FS-MISSING-KEY"),
        ("grpc", format!("{GRPC}, service: {{ name: x, host: 'http://h' }}"), "FS-VALUE"),
        ("grpc", format!("{GRPC}, service: {{ name: x, host: h, port: 70000 }}"), "FS-WRONG-TYPE"),
        (
            "grpc",
            format!("{GRPC}, service: {{ name: x, host: h, authentication: {{ use: nobody }} }}"),
            "FS-UNKNOWN-NAME",
        ),
        ("grpc", format!("{GRPC}, {SERVICE}, argument: {{}}"), "FS-UNKNOWN-KEY"),
        ("asyncapi", ASYNC.to_owned(), "FS-MISSING-KEY"),
        ("asyncapi", format!("{ASYNC}, channel: c, message: {{}}"), "FS-VALUE"),
        ("asyncapi", format!("{ASYNC}, message: {{}}, protocol: pigeon"), "FS-VALUE"),
        ("asyncapi", format!("{ASYNC}, message: {{ payload: 7 }}"), "FS-WRONG-TYPE"),
        ("asyncapi", consume("for: PT1S"), "FS-MISSING-KEY"),
        ("asyncapi", consume("amount: 1, until: .x"), "FS-VALUE"),
        ("asyncapi", consume("amount: many"), "FS-WRONG-TYPE"),
        ("asyncapi", consume("while: '.x ='"), "FS-EXPR-SYNTAX"),
        (
            "asyncapi",
            format!(
                "{ASYNC}, subscription: {{ consume: {{ amount: 1 }}, foreach: {{ do: [ {{ a: {{ sett: {{}} }} }} ] }} }}"
            ),
            "FS-TASK-TYPE",
        ),
        ("mcp", "method: tools/list".into(), "FS-MISSING-KEY"),
        ("mcp", "method: tools/list, transport: {}".into(), "FS-MISSING-KEY"),
        ("mcp", format!("method: tools/lst, {STDIO}"), "FS-VALUE"),
        ("mcp", format!("method: tools/list, client: {{ name: c }}, {STDIO}"), "FS-MISSING-KEY"),
        ("mcp", "method: tools/list, transport: { stdio: { command: x, arguments: y } }".into(), "FS-WRONG-TYPE"),
        ("a2a", "method: tasks/get".into(), "FS-MISSING-KEY"),
        ("a2a", "method: tasks/steal, server: 'https://a.example'".into(), "FS-VALUE"),
    ] {
        let found = compile(&call(kind, &format!("{{ {with} }}"))).expect_err(&with);
        let errors = found.iter().map(|found| found.code).filter(|found| *found != "FS-NOT-RUNNABLE");
        assert_eq!(errors.collect::<Vec<_>>(), [code], "{kind} {with}");
    }
}
