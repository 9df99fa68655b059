//! Whatever an expression does, it ends with a result or an error: it never hangs, aborts or exhausts memory.

use super::*;

fn hit(text: &str) -> LimitHit {
    match run(text, "null") {
        Err(ExprError::Limit(limit)) => limit,
        other => panic!("{text}: {:?}", other.map(|result| result.len())),
    }
}

#[test]
fn endless_filters_are_stopped() {
    for text in [
        "def f: f; f",
        "def f: f, f; [f]",
        "[range(1e9)]",
        "last(range(1e18))",
        "[repeat(1)]",
        "last(repeat(1))",
        "[limit(1e9; repeat(1))]",
        "until(false; .)",
        "[while(true; .)]",
        "[recurse(.)]",
        "last(recurse(1))",
        "reduce range(1e9) as $i (0; . + 1)",
        "[foreach range(1e9) as $i (0; . + 1)]",
        "first(range(1e9) | select(. < 0))",
        "isempty(range(1e9) | select(. < 0))",
        "label $f | range(1e9) | select(. < 0) | break $f",
        "try [range(1e9)] catch 1",
        "[range(1e9)]? // 1",
        "[skip(1e18; repeat(1))]",
        "\"x\" | [limit(1e9; repeat(.))] | join(\",\")",
        "[.[]?, range(1e9)] | sort",
        "def f: def g: f; g; f",
        "any(range(1e9); . < 0)",
    ] {
        assert_eq!(hit(text), LimitHit::Steps, "{text}");
    }
}

#[test]
fn deep_recursion_is_stopped_while_there_is_room_to_unwind() {
    // Half of what a thread of the runtime has.
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(deep_recursion_is_stopped);
    small.unwrap().join().unwrap();
}

fn deep_recursion_is_stopped() {
    for text in [
        "def f: 1 + f; f",
        "def f: [f]; f",
        "def f: f | f; f",
        "def f: f | .; f",
        "def f(g): f(1 + g) | .; f(1)",
        "def f: {a: f}; f",
        "[range(3000)] | combinations(1000)",
        "def f(g): f(g); f(.)",
        "def f(g): f(g | g); f(.)",
        "def f: try f catch .; f",
        "def f: reduce f as $x (0; 1); f",
        "def f: .a = f; f",
        "def f: .a |= f; f",
        "def f: first(f); f",
        "def f: [limit(1; f)]; f",
        "def f: if f then 1 else 2 end; f",
        "def f: \"\\(f)\"; f",
        "def f: -f; f",
        "def f: f as $x | 1; f",
        "def f: label $a | f; f",
        "def f: f // 1; f",
        "def f: .[f]; f",
        "def f($x): 1 + f($x); f(1)",
        "def f: [[.], [.]] | sort_by(f); f",
        "[recurse([.])] | length",
        "reduce range(100000) as $i (.; [.])",
        "reduce range(100000) as $i (.; {a: .})",
        "reduce range(100000) as $i (.; .a = .)",
        "def f: .a | f; path(f)",
        "def f: .[0:] | f; [1] | path(f)",
        "def f(g): if . > 300000 then g else (. + 1 | f(g)) end; 0 | f(.)",
        "def f(g; n): if n then 1 else f(g + 1; false) end; f(1; false)",
        "[limit(100000; recurse([.]))] | length",
        "last(range(100000) | [.]) | reduce range(100000) as $i (.; [., .])",
    ] {
        let limit = hit(text);
        assert!(matches!(limit, LimitHit::Stack | LimitHit::Depth | LimitHit::Steps), "{text}: {limit:?}");
    }
}

#[test]
fn big_data_is_stopped() {
    for text in [
        "\"x\" * 1e9",
        "reduce range(60) as $i (\"xxxxxxxx\"; . + .)",
        "reduce range(60) as $i ([1,2,3,4]; . + .)",
        "reduce range(40) as $i ([1]; [., .]) | tojson",
        "reduce range(40) as $i ([1]; [., .])",
        "reduce range(40) as $i ([1]; [., .]) | flatten | length",
        "reduce range(40) as $i ([1]; [., .]) | [..] | length",
        "reduce range(40) as $i ([1]; [., .]) | . == (reduce range(40) as $i ([1]; [., .]))",
        "reduce range(40) as $i ([1]; [., .]) | contains(reduce range(40) as $i ([2]; [.]))",
        "reduce range(40) as $i ([1]; [., .]) | [tostream] | length",
        "reduce range(40) as $i ([1]; [., .]) | [paths] | length",
        "reduce range(40) as $i ([1]; [., .]) | walk(.)",
        "reduce range(40) as $i ([1]; [., .]) | [leaf_paths] | length",
        "reduce range(40) as $i ({}; {a: ., b: .}) | .. |= .",
        ".[1e8] = 1",
        ".[500000000] = 1",
        "[range(500000)] | map(tostring * 100) | length",
        "\"x\" * 5000000",
        "[limit(5000000; repeat(0))]",
        "reduce range(100000) as $i (2; . * .) | tostring | length | . * 0 | error(\"fine\")",
    ] {
        match run(text, "null") {
            Err(ExprError::Limit(_)) => {}
            Err(ExprError::Failed(message)) if message == "fine" => {}
            other => panic!("{text}: {:?}", other.map(|text| text.len())),
        }
    }
}

#[test]
fn regular_expressions_pay_for_their_work() {
    for text in [
        "\"a\" * 900000 | test(\"(a|aa|aaa)+(b|c|d|e|f|g)\")",
        "\"a\" * 20000 | test(\"(a{1000}){1000}b\")",
        "\"a\" * 900000 | gsub(\"(a+|aa?)*?b{20}\"; \"x\")",
        "\"a\" * 900000 | [splits(\"(a?){100}b\")]",
    ] {
        assert_eq!(hit(text), LimitHit::Steps, "{text}");
    }
    for text in [
        "\"a\" | test(\"(\" * 10000)",
        "\"a\" | test(\"(\" * 10000 + \")\" * 10000)",
        "\"a\" | test(\"(a{1000}){1000}\")",
    ] {
        assert!(matches!(run(text, "null"), Err(ExprError::Failed(_))), "{text}");
    }
    all(&[("\"ab \" * 20000 | [scan(\"a\")] | length", "null", "20000")]);
}

#[test]
fn honest_work_stays_within_the_limits() {
    all(&[
        ("[range(100000)] | map(. * 2) | add", "null", "9999900000"),
        ("reduce range(50000) as $i ([]; . + [$i]) | length", "null", "50000"),
        ("reduce range(20000) as $i ({}; .[\"k\\($i)\"] = $i) | length", "null", "20000"),
        ("reduce range(20000) as $i (\"\"; . + \"ab\") | length", "null", "40000"),
        ("[range(20000)] | map({id: ., name: \"n\\(.)\"}) | group_by(.id % 10) | map(length) | add", "null", "20000"),
        ("reduce range(1000) as $i ({a: [], b: {}}; {a: (.a + [$i]), b: {c: .a}}) | .a | length", "null", "1000"),
        ("reduce range(400) as $i (null; [.]) | flatten", "null", "[null]"),
        ("def f($n): if $n == 0 then 0 else $n + f($n - 1) end; f(100)", "null", "5050"),
        ("def fac: if . <= 1 then 1 else . * (. - 1 | fac) end; 20 | fac", "null", "2432902008176640000"),
        ("def loop($n): if . >= $n then . else . + 1 | loop($n) end; 0 | loop(50000)", "null", "50000"),
        ("[limit(1000; repeat(1))] | length", "null", "1000"),
    ]);
}

#[test]
fn results_must_be_json_that_others_can_read() {
    assert_eq!(run("reduce range(200) as $i (1; [.])", "null"), Err(ExprError::Limit(LimitHit::Depth)));
    assert!(run("reduce range(120) as $i (1; [.])", "null").is_ok());
    let big = Limits { expression_output_bytes_max: 100, ..limits() };
    let eval = |text: &str| compile(text).eval(&Value::Null, &NoVars, &big).map(|value| value::to_json(&value).len());
    assert_eq!(eval("\"x\" * 98"), Ok(100));
    assert_eq!(eval("\"x\" * 99"), Err(ExprError::Limit(LimitHit::Output)));
    assert_eq!(eval("[range(1000)]"), Err(ExprError::Limit(LimitHit::Output)));
    assert_eq!(eval("[range(1000)] | .[0]"), Ok(1));
    assert_eq!(eval("[range(1000)] | {a: .} | .a[0:2]"), Ok(5));
}

#[test]
fn texts_that_would_overflow_the_compiler_are_refused() {
    let n = 20_000;
    for text in [
        "(".repeat(n) + "." + &")".repeat(n),
        "[".repeat(n) + &"]".repeat(n),
        "{a:".repeat(n) + "1" + &"}".repeat(n),
        "-".repeat(n) + "1",
        "try ".repeat(n) + "1",
        "1".to_owned() + &"+1".repeat(n),
        "1".to_owned() + &"|1".repeat(n),
        "1".to_owned() + &",1".repeat(n),
        ".a".repeat(n),
        ".".to_owned() + &"[0]".repeat(n),
        "if 1 then 2 elif ".repeat(3_000),
        "\"\\(".repeat(n),
        "def f: ".repeat(9_000),
        "1 as $x | ".repeat(6_000) + "1",
        "x".repeat(1 << 20),
    ] {
        let found = Expression::compile(&text, &Scope::none(), Span::start(), &limits()).expect_err("refused");
        assert!(found.has_errors());
    }
}

#[test]
fn texts_at_the_limit_compile_and_run_on_a_small_stack() {
    let n = limits().expression_tokens_max / 2 - 10;
    let texts = [
        "-".repeat(2 * n) + "1",
        "try ".repeat(2 * n) + "1",
        "1".to_owned() + &"+1".repeat(n),
        "1".to_owned() + &"|1".repeat(n),
        "[1".to_owned() + &",1".repeat(n) + "] | length",
        ".a".repeat(n),
        ".".to_owned() + &"[0]?".repeat(n / 3),
        ".".to_owned() + &"?".repeat(n),
        "if 1 then 2 elif ".repeat(n / 4) + "3 then 4 else 5 end",
        "1 as $x | ".repeat(n / 3) + "1",
        "def f: ".repeat(n / 4) + "1" + &"; f".repeat(n / 4),
        "\"".to_owned() + &"\\(1)".repeat(n / 3) + "\"",
        "{".to_owned() + &"a:1,".repeat(n / 3) + "b:2}",
        "1 // ".repeat(n / 2) + "1",
        ".a = ".repeat(n / 3) + "1",
        "reduce 1 as $x (0; ".repeat(60) + "1" + &")".repeat(60),
    ];
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        for text in texts {
            match Expression::compile(&text, &Scope::none(), Span::start(), &limits()) {
                Ok(expression) => match expression.eval(&Value::Null, &NoVars, &limits()) {
                    Ok(_) | Err(ExprError::Limit(LimitHit::Stack | LimitHit::Depth) | ExprError::Failed(_)) => {}
                    other => panic!("{}: {other:?}", &text[..20]),
                },
                Err(found) => assert!(found.iter().all(|d| d.code == "FS-EXPR-SYNTAX"), "{}: {found:?}", &text[..20]),
            }
        }
    });
    small.unwrap().join().unwrap();
}

#[test]
fn an_expression_is_shared_by_threads_and_each_has_its_own_meter() {
    let expression = compile("[range(.)] | length");
    let endless = compile("[range(1e9)]");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for n in 0..200 {
                    assert_eq!(expression.eval(&value::int(n), &NoVars, &limits()), Ok(value::int(n)));
                }
                assert_eq!(endless.eval(&Value::Null, &NoVars, &limits()), Err(ExprError::Limit(LimitHit::Steps)));
                assert_eq!(expression.eval(&value::int(5), &NoVars, &limits()), Ok(value::int(5)));
            });
        }
    });
}
