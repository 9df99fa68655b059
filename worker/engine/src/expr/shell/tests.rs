use super::*;
use crate::expr::{Mode, NoVars, Scope};
use crate::limits::Limits;
use crate::source;

fn compile(command: &str) -> (Template, Diagnostics) {
    let text = value::to_json(&value::object([("command", value::string(command))]));
    let limits = Limits::default();
    let tree = source::read(text.as_bytes(), &limits).unwrap();
    let mut found = Diagnostics::new();
    let transform = Transform { scope: &Scope::none(), mode: Mode::Strict, limits: &limits };
    (transform.shell(tree.get("command").unwrap(), &mut found), found)
}

fn command(text: &str, input: &Value) -> Result<String, ExprError> {
    let (template, found) = compile(text);
    assert!(!found.has_errors(), "{text}: {found}");
    let made = template.eval(input, &NoVars, &Limits::default())?;
    Ok(value::as_str(&made).unwrap().to_owned())
}

fn input(x: Value) -> Value {
    value::object([("x", x)])
}

#[test]
fn what_the_shell_can_mean_stays_the_shells() {
    for text in [
        "echo ${HOME}",
        "${HOME}",
        "echo ${x:-${y}} ${#a} ${1} ${@} ${?} $((1 + 2)) $$ ${$}",
        "length=${length}",
        "awk '{print $1}' # ${ .x }",
        "echo \\${ .x }",
        "echo \"\\${ .x }\"",
        "echo ${ .x",
        "printf '%s' '${ }'",
    ] {
        let (template, found) = compile(text);
        assert_eq!(template.as_constant(), Some(&value::string(text)), "{text}");
        assert!(found.is_empty(), "{text}: {found}");
    }
}

#[test]
fn values_are_quoted_for_their_place() {
    let text = || input(value::string("it's $5 `now`"));
    for (command_text, expected) in [
        ("echo ${ .x }", "echo 'it'\\''s $5 `now`'"),
        ("echo \"Hello, ${ .x }\"", "echo \"Hello, it's \\$5 \\`now\\`\""),
        ("echo 'a ${ .x } b'", "echo 'a it'\\''s $5 `now` b'"),
        ("echo \"$(cat ${ .x })\"", "echo \"$(cat 'it'\\''s $5 `now`')\""),
        ("echo ${ .x | length }${(.x|length)}${HOME}", "echo 1313${HOME}"),
        ("${ .x }", "'it'\\''s $5 `now`'"),
        ("${ \"a b\" }", "'a b'"),
        ("n=$(( ${ .x | length } + 1 ))", "n=$(( 13 + 1 ))"),
        ("n=$(( 2*(${ .x | length }+(1)))) y=${ .x | .[:4] }", "n=$(( 2*(13+(1)))) y='it'\\''s'"),
        ("echo \"$(echo $((1+(2*3))) ${ .x })\"", "echo \"$(echo $((1+(2*3))) 'it'\\''s $5 `now`')\""),
        ("case $y in a) echo ${ .x };; esac", "case $y in a) echo 'it'\\''s $5 `now`';; esac"),
        ("echo \"$(showcase x)\" ${ .x }", "echo \"$(showcase x)\" 'it'\\''s $5 `now`'"),
        ("# don't\necho \"${ .x | .[:4] }\"", "# don't\necho \"it's\""),
    ] {
        assert_eq!(command(command_text, &text()), Ok(expected.to_owned()), "{command_text}");
    }
    assert_eq!(command("a ${ .x } b", &input(Value::Null)), Ok("a  b".to_owned()));
    assert_eq!(command("${ .x }", &input(Value::Null)), Ok(String::new()));
    assert_eq!(command("a ${ .x } b", &input(value::string(""))), Ok("a '' b".to_owned()));
    assert_eq!(command("a ${ .x } b", &input(value::int(5))), Ok("a 5 b".to_owned()));
    assert_eq!(command("a ${ .x } b", &input(value::bool(true))), Ok("a true b".to_owned()));
}

#[test]
fn what_cannot_be_one_word_is_an_error() {
    for bad in [value::array([value::int(1)]), value::empty_object(), value::string("a\0b")] {
        for text in ["echo ${ .x }", "echo \"${ .x }\"", "${ .x }"] {
            assert!(matches!(command(text, &input(bad.clone())), Err(ExprError::Failed(_))), "{text}");
        }
    }
    let arithmetic = command("n=$(( ${ .x } ))", &input(value::string("a[$(id)]")));
    assert!(matches!(arithmetic, Err(ExprError::Failed(why)) if why.contains("only a number")));
}

#[test]
fn where_no_quoting_is_safe_the_definition_is_refused() {
    for text in [
        "cat <<EOF\n${ .x }\nEOF",
        "cat <<'EOF'\n${ .x }\nEOF",
        "echo `echo ${ .x }`",
        "echo ${y:-${ .x }}",
        "echo $'${ .x }'",
        "echo \"`echo \"${ .x }\"`\"",
        "echo \"$(case a in a) echo ${ .x };; esac)\"",
        "echo \"$(case a in a) echo b;; esac)\" ${ .x }",
        "x=$(\ncase $y in\n(a) echo b;; esac) ; echo ${ .x }",
        "x=`echo a # don't` ; y='a` ${ .x }",
    ] {
        let (_, found) = compile(text);
        let codes: Vec<&str> = found.iter().map(|d| d.code).collect();
        assert_eq!(codes, ["FS-EXPR-SHELL"], "{text}");
    }
}

#[test]
fn what_only_looks_like_an_expression_gets_a_warning() {
    let (template, found) = compile("echo ${ .x | } ${ $nobody }");
    assert!(template.as_constant().is_some());
    let codes: Vec<&str> = found.iter().map(|d| d.code).collect();
    assert_eq!(codes, ["FS-LINT-SHELL", "FS-LINT-SHELL"]);
    assert!(!found.has_errors());
}

/// The proof: whatever the value is, a real shell prints it and runs nothing of it.
#[test]
fn no_value_is_run_by_a_real_shell() {
    let nasty = [
        "plain",
        "'; echo hacked; '",
        "\"; echo hacked; \"",
        "$(echo hacked)",
        "`echo hacked`",
        "\\",
        "\\\\\"",
        "a\nb\n",
        "${HOME}",
        "$'x'",
        "!!",
        "*",
        "~",
        "-n",
        "é ü",
        "\\\n",
    ];
    for text in [
        "printf %s ${ .x }",
        "printf %s \"${ .x }\"",
        "printf %s '${ .x }'",
        "printf %s \"$(printf %s. ${ .x })\"",
        "printf %s \"$(printf %s. \"${ .x }\")\"",
        "x=${ .x }; printf %s \"$x\"",
        "(printf %s \"a${ .x }\") # it's \"\n",
        "printf %s \"${HOME:+it's}\" '\"' \"${ .x }\"",
        "printf %s \"$(printf %s. $((1+(2*3))) ${ .x })\"",
    ] {
        for value in nasty {
            let made = command(text, &input(value::string(value))).unwrap();
            let output = std::process::Command::new("sh").arg("-c").arg(&made).env("HOME", "h").output().unwrap();
            let printed = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success() && printed.contains(value), "{text} with {value:?}: {made}: {printed}");
            assert!(!printed.replace(value, "").contains("hacked"), "{text} with {value:?}: {made}: {printed}");
        }
    }
}
