//! The rules of the language about expressions.

use super::*;

#[test]
fn an_expression_has_one_result_and_none_is_null() {
    all(&[
        (".a.b", r#"{"a":{"b":[1]}}"#, "[1]"),
        ("${ .a }", r#"{"a":1}"#, "1"),
        (".", "5", "5"),
        ("empty", "5", "null"),
        (".[] | select(. > 5)", "[1,2]", "null"),
        (".a.b.c", "{}", "null"),
        ("$x", "null", "7"),
        ("$context.c", "null", "1"),
        ("$y[1]", "null", "2"),
    ]);
    assert_eq!(run(".[]", "[1,2]"), Err(ExprError::Many));
    assert_eq!(run("1, error", "null"), Err(ExprError::Failed("null (not a string)".into())));
}

#[test]
fn only_null_false_and_nothing_are_false_as_a_condition() {
    for (text, truth) in
        [("false", false), ("null", false), ("empty", false), ("0", true), ("\"\"", true), ("[]", true)]
    {
        assert_eq!(compile(text).test(&Value::Null, &NoVars, &limits()), Ok(truth), "{text}");
    }
}

#[test]
fn numbers_are_normalised_and_exact_to_64_bits() {
    all(&[
        ("3.0", "null", "3"),
        ("6 / 2", "null", "3"),
        ("1 / 3 * 3", "null", "1"),
        (". + 1", "9007199254740992", "9007199254740993"),
        (".", "9223372036854775807", "9223372036854775807"),
        (".", "18446744073709551615", "18446744073709551615"),
        (". + 0", "18446744073709551615", "18446744073709551615"),
        (". + 1", "18446744073709551615", "1.8446744073709552e19"),
        ("-. | -.", "-9223372036854775808", "-9223372036854775808"),
        ("[1.0, {\"a\": 2.0}]", "null", r#"[1,{"a":2}]"#),
        ("1.0 | tostring", "null", "\"1\""),
        (". == 3.0", "3", "true"),
        ("[3] == [3.0]", "null", "true"),
        (".[1.0]", "[4,5]", "5"),
        ("[limit(3; range(10))]", "null", "[0,1,2]"),
        ("reduce range(64) as $i (1; . * 2)", "null", "1.8446744073709552e19"),
    ]);
}

#[test]
fn nan_and_infinity_may_occur_inside_but_not_in_a_result() {
    for text in ["nan", "infinite", "-infinite", "[1, {a: nan}]", "1e999", "[infinite] | .[0]"] {
        assert_eq!(run(text, "null"), Err(ExprError::NotFinite), "{text}");
    }
    all(&[
        ("nan | isnan", "null", "true"),
        ("[infinite, 1] | min", "null", "1"),
        ("[nan, nan, 1, nan] | sort | length", "null", "4"),
        ("[nan] | .[0] = 1", "null", "[1]"),
        ("[nan, 1] | .[1]", "null", "1"),
        ("[nan, [1]] | .[1]", "null", "[1]"),
        ("nan < nan", "null", "true"),
        ("nan == nan", "null", "false"),
    ]);
}

#[test]
fn results_are_data_and_never_evaluated_again() {
    all(&[(".a", r#"{"a":"${ .b }","b":1}"#, r#""${ .b }""#), ("\"${ .b }\"", "{}", r#""${ .b }""#)]);
}

#[test]
fn a_variable_that_the_place_does_not_give_is_a_mistake_at_load_time() {
    let (code, message, hint) = mistakes("$output.x", &Scope::task_input()).remove(0);
    assert_eq!(code, "FS-EXPR-VARIABLE");
    assert_eq!(message, "`$output` is not given in `input.from`");
    assert!(hint.starts_with("given here: $context, "), "{hint}");
    assert_eq!(mistakes("$contxt", &Scope::task_if())[0].2, "did you mean `$context`?");
    assert_eq!(mistakes("$a + $b + $a", &Scope::none()).len(), 2);
    assert_eq!(mistakes("{$nope}", &Scope::none())[0].0, "FS-EXPR-VARIABLE");
    for text in ["$ENV.PATH", "env.PATH"] {
        assert!(!mistakes(text, &Scope::none()).is_empty());
    }
}

#[test]
fn the_table_of_variables_is_the_specifications() {
    let all = ["context", "input", "output", "secrets", "task", "workflow", "runtime", "authorization"];
    for (scope, given) in [
        (Scope::workflow_input(), "00010110"),
        (Scope::task_if(), "10011110"),
        (Scope::task_input(), "10011110"),
        (Scope::task_definition(), "11011111"),
        (Scope::task_output(), "11011111"),
        (Scope::task_export(), "11111111"),
        (Scope::workflow_output(), "10010110"),
    ] {
        let found: String = all.iter().map(|name| if scope.has(name) { '1' } else { '0' }).collect();
        assert_eq!(found, given, "{}", scope.place());
        assert_eq!(scope.has("secret"), scope.has("secrets"));
    }
    let inner = Scope::task_definition().with_local("item").locals_into(Scope::task_if());
    assert!(inner.has("item") && !inner.has("input"));
}

#[test]
fn variables_bound_in_the_text_need_no_place() {
    all(&[
        (". as $a | $a + 1", "1", "2"),
        (". as [$a, {b: $c}] | $a + $c", r#"[1,{"b":2}]"#, "3"),
        ("reduce .[] as $i (0; . + $i)", "[1,2]", "3"),
        ("def f($n): $n * 2; f(4)", "null", "8"),
        ("{$x}", "null", r#"{"x":7}"#),
        ("label $out | 1, break $out", "null", "1"),
        ("\"\\($x)-\\(.)\"", "1", "\"7-1\""),
        ("@json \"v=\\($y)\"", "null", "\"v=[1,2]\""),
        ("[.[] | . as $x | $x]", "[1]", "[1]"),
    ]);
    // A name is bound only where it is bound.
    assert_eq!(mistakes("(. as $a | $a) + $a", &Scope::none()).len(), 1);
    assert_eq!(mistakes("def f($n): $n; f(1) + $n", &Scope::none()).len(), 1);
}

#[test]
fn only_variables_that_the_text_uses_are_asked_for() {
    let expression = compile("$x + ($context.c) + (1 as $y | $y)");
    assert_eq!(expression.variables().collect::<Vec<_>>(), ["x", "context"]);
    assert_eq!(run("$x + ($context.c) + (1 as $y | $y)", "null"), Ok("9".into()));
    let refused = |_: &str| Err(Problem::new(ProblemKind::Authorization, "denied", ""));
    let error = compile("$secrets.token").eval(&Value::Null, &refused, &limits()).unwrap_err();
    let problem = error.into_problem("/do/0/a");
    assert!(problem.is(ProblemKind::Authorization));
    assert_eq!(problem.instance.as_deref(), Some("/do/0/a"));
}

#[test]
fn secrets_are_known_by_name_and_secret_is_their_alias() {
    let used = |text: &str| compile(text).secrets().clone();
    let names = |names: &[&str], whole| SecretUse { names: names.iter().map(|n| (*n).to_owned()).collect(), whole };
    assert_eq!(used("$secrets.token"), names(&["token"], false));
    assert_eq!(
        used("$secret.token + $secrets.\"other one\".x + $secret[\"token\"]"),
        names(&["token", "other one"], false)
    );
    assert_eq!(used("$secrets | .token"), names(&[], true));
    assert_eq!(used("$secrets[.name]"), names(&[], true));
    assert_eq!(used(".secrets.token"), SecretUse::default());
    all(&[("$secret.token", "null", "\"t\""), ("{$secret}", "null", r#"{"secret":{"token":"t"}}"#)]);
}

#[test]
fn an_error_says_what_failed_and_is_an_expression_problem() {
    for (text, input, message) in [
        (".a.b", r#"{"a":5}"#, "Cannot index number with string \"b\""),
        (".[\"a\"] + 1", "[1]", "Cannot index array with string \"a\""),
        (".[]", "5", "Cannot iterate over number (5)"),
        (".[]", "null", "Cannot iterate over null (null)"),
        (".a + 1", r#"{"a":"x"}"#, "string (\"x\") and number (1) cannot be added"),
        ("1 / 0", "null", "number (1) and number (0) cannot be divided because the divisor is zero"),
        ("5 % 0", "null", "number (5) and number (0) cannot be divided (remainder) because the divisor is zero"),
        ("{(.): 1}", "5", "Cannot use number (5) as object key"),
        ("error(\"mine\")", "null", "mine"),
        ("error({a: 1})", "null", "{\"a\":1} (not a string)"),
        (
            "\"a long text here\" | tonumber",
            "null",
            "Invalid numeric literal at line 1, column 2 (while parsing 'a long text here')",
        ),
    ] {
        assert_eq!(run(text, input), Err(ExprError::Failed(message.into())), "{text}");
    }
    let problem = ExprError::Many.into_problem("/do/1/b");
    assert!(problem.is(ProblemKind::Expression));
    assert_eq!((problem.status, problem.instance.as_deref()), (400, Some("/do/1/b")));
}

#[test]
fn what_is_not_jq_is_refused_with_a_hint() {
    for (text, code, hint) in [
        ("", "FS-EXPR-SIZE", "write `.`"),
        (".a |", "FS-EXPR-SYNTAX", "manual"),
        (".a && .b", "FS-EXPR-SYNTAX", "`and`"),
        ("'a'", "FS-EXPR-SYNTAX", "double quotes"),
        ("{a: 1", "FS-EXPR-SYNTAX", "in `{a: 1`"),
        (".a = = 1", "FS-EXPR-SYNTAX", "`==`"),
        ("lenght", "FS-EXPR-FILTER", "did you mean `length`?"),
        ("name", "FS-EXPR-FILTER", "`.name`"),
        ("map", "FS-EXPR-FILTER", "`;`"),
        ("now", "FS-EXPR-FILTER", "clock"),
        ("input", "FS-EXPR-FILTER", "one input"),
        ("halt", "FS-EXPR-FILTER", "raise"),
        ("debug", "FS-EXPR-FILTER", "output.as"),
        ("limit(3)", "FS-EXPR-FILTER", "`;`"),
        ("import \"a\" as a; 1", "FS-EXPR-SYNTAX", ""),
        ("break $x", "FS-EXPR-SYNTAX", ""),
        ("a::b", "FS-EXPR-FILTER", ""),
    ] {
        let found = mistakes(text, &Scope::none());
        assert_eq!(found[0].0, code, "{text}: {found:?}");
        assert!(found[0].2.contains(hint), "{text}: {found:?}");
    }
    assert_eq!(mistakes("foo + bar + $baz", &Scope::none()).len(), 3, "all mistakes at once");
}

#[test]
fn names_of_variables_are_identifiers_and_not_taken() {
    for good in ["item", "_x", "a1", "Error"] {
        assert!(scope::check_name(good).is_ok(), "{good}");
    }
    for bad in ["", "1a", "a-b", "ä", "$a", "context", "secret", "authorization", "__loc__"] {
        assert!(scope::check_name(bad).is_err(), "{bad}");
    }
}

fn template(yaml: &str, mode: Mode) -> Result<Template, Vec<(&'static str, u32, String)>> {
    let node = crate::source::read(yaml.as_bytes(), &limits()).unwrap();
    let mut found = Diagnostics::new();
    let scope = Scope::task_export().with_local("x");
    let template = Transform { scope: &scope, mode, limits: &limits() }.template(&node, &mut found);
    if !found.has_errors() {
        return Ok(template);
    }
    Err(found.iter().map(|d| (d.code, d.span.line, d.hint.clone().unwrap_or_default())).collect())
}

fn filled(yaml: &str, mode: Mode, input: &str) -> String {
    value::to_json(&template(yaml, mode).unwrap().eval(&json(input), &vars, &limits()).unwrap())
}

#[test]
fn a_string_is_an_expression_only_as_a_whole() {
    let yaml = "a: ${ .n + 1 }\nb: ['${ $x }', plain, $5, 1]\nc: {d: {e: \"${ .o }\"}}\nf: |\n  ${\n    .n\n    | . * 2\n  }\ng: .n\n";
    assert_eq!(
        filled(yaml, Mode::Strict, r#"{"n":1,"o":{"k":[]}}"#),
        r#"{"a":2,"b":[7,"plain","$5",1],"c":{"d":{"e":{"k":[]}}},"f":2,"g":".n"}"#
    );
}

#[test]
fn an_expression_inside_a_longer_text_is_a_mistake_in_strict_mode() {
    let found =
        template("a: 1\nb: Hello ${ .name }!\nc: [\"${ .a } ${ .b }\"]\nd: ${ nope }\n", Mode::Strict).unwrap_err();
    assert_eq!(
        found.iter().map(|d| (d.0, d.1)).collect::<Vec<_>>(),
        [("FS-EXPR-MIXED", 2), ("FS-EXPR-MIXED", 3), ("FS-EXPR-FILTER", 4)]
    );
    assert!(found[0].2.contains(r#"${ "Hello \(.name)!" }"#), "{}", found[0].2);
}

#[test]
fn loose_mode_interpolates() {
    let input = r#"{"s":"x","n":null,"o":{"a":[1.0]},"t":true}"#;
    assert_eq!(filled("<${ .s }|${ .n }|${ .o }|${ .t }>", Mode::Loose, input), r#""<x||{\"a\":[1]}|true>""#);
    assert_eq!(filled("${ .o }", Mode::Loose, input), r#"{"a":[1]}"#);
}

#[test]
fn what_is_not_closed_is_said_at_its_place_in_either_mode() {
    for mode in [Mode::Strict, Mode::Loose] {
        for (yaml, column, shown) in [
            ("a: ${ .a", 4, "this `${` is not closed"),
            ("a: 'é ${ .a } ${ .b'", 15, "close it with `}`"),
            ("a: \"x ${ .a | { b\"", 7, "brackets and quotes"),
            ("a: |\n  first\n  ${ .a\n", 3, "not closed"),
        ] {
            let node = crate::source::read(yaml.as_bytes(), &limits()).unwrap();
            let mut found = Diagnostics::new();
            Transform { scope: &Scope::task_definition(), mode, limits: &limits() }.template(&node, &mut found);
            let [it] = &found.into_iter().collect::<Vec<_>>()[..] else { panic!("{yaml}") };
            assert_eq!((it.code, it.span.column), ("FS-EXPR-UNCLOSED", column), "{yaml}");
            assert!(format!("{} {:?}", it.message, it.hint).contains(shown), "{yaml}");
        }
    }
    let always = |text: &str| {
        let found = Expression::compile(text, &Scope::task_definition(), Span::start(), &limits());
        found.map(|_| ()).map_err(|found| found.iter().next().unwrap().code)
    };
    assert_eq!(always("${ .a"), Err("FS-EXPR-UNCLOSED"));
    assert_eq!(always(".a == \"${\""), Ok(()));
}

#[test]
fn a_constant_is_one_shared_value() {
    let whole = template("a: {b: [1, {c: x}]}", Mode::Strict).unwrap();
    let (one, other) = (whole.as_constant().unwrap(), whole.eval(&Value::Null, &NoVars, &limits()).unwrap());
    assert!(matches!((one, &other), (Value::Obj(a), Value::Obj(b)) if Arc::ptr_eq(a, b)));
    let mixed = template("a: {b: [1]}\nc: ${ .x }\nd: ${ $secrets.k }", Mode::Strict).unwrap();
    assert!(mixed.as_constant().is_none() && mixed.uses_secrets() && !mixed.uses("context"));
}

#[test]
fn a_transformation_is_jq_as_a_string_and_a_template_as_a_mapping() {
    let scope = Scope::task_output();
    let transformed = |yaml: &str, input: &str| {
        let node = crate::source::read(yaml.as_bytes(), &limits()).unwrap();
        let mut found = Diagnostics::new();
        let transform = Transform { scope: &scope, mode: Mode::Strict, limits: &limits() };
        let template = transform.transformation(&node, &mut found);
        if found.has_errors() {
            return Err(found.iter().next().unwrap().code);
        }
        Ok(value::to_json(&template.eval(&json(input), &vars, &limits()).unwrap()))
    };
    assert_eq!(transformed(".a", r#"{"a":1}"#), Ok("1".into()));
    assert_eq!(transformed("${ .a }", r#"{"a":1}"#), Ok("1".into()));
    assert_eq!(transformed("{b: '${ .a }', c: .a}", r#"{"a":1}"#), Ok(r#"{"b":1,"c":".a"}"#.into()));
    assert_eq!(transformed("[1]", "{}"), Err("FS-EXPR-TYPE"));
    assert_eq!(transformed("7", "{}"), Err("FS-EXPR-TYPE"));
}
