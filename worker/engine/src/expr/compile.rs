//! From text to code: limits, syntax, variables and filters are checked here, each with a hint; then jaq compiles.

use super::check::{self, Uses};
use super::library::{self, Jq, Program};
use super::meter;
use super::rewrite;
use super::simple::{self, Simple};
use super::val::V;
use super::{ExprError, Scope, SecretUse, text};
use crate::diagnostic::{Diagnostic, Diagnostics, Span, nearest};
use crate::limits::Limits;
use crate::value::{self, Value};
use jaq_core::load::lex::{self, Lexer, StrPart, Tok, Token};
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Loader};
use jaq_core::path::{Opt, Part};
use jaq_core::{Compiler, Ctx, Vars};

/// What became of a text.
pub(super) struct Compiled {
    pub(super) variables: Vec<Box<str>>,
    pub(super) secrets: SecretUse,
    pub(super) code: Code,
}

/// What runs.
pub(super) enum Code {
    /// A plain path like `.a.b` or `$input.x`, by far the most frequent: needs no interpreter.
    Path {
        /// From the one variable instead of the input.
        from_variable: bool,
        keys: Vec<Box<str>>,
    },
    /// One result for sure.
    Simple(Simple),
    Filter(Box<jaq_core::Filter<Jq>>),
}

/// Parsing and compiling recurse into the tree, which may be as deep as it has tokens. From so many on it is done on a stack
/// that is large enough for the longest expression, whatever thread asks for it.
const DEEP_TOKENS_MIN: usize = 250;
/// 8 KiB for each of 2,000 tokens (`expression_tokens_max`), of which less than two are used.
const DEEP_STACK_BYTES: usize = 16 << 20;

/// The name under which the text itself is compiled. No identifier, so that no text can call it.
const MAIN: &str = "!main";

pub(super) fn compile(text: &str, scope: &Scope, span: Span, limits: &Limits) -> Result<Compiled, Diagnostics> {
    check_size(text, span, limits)?;
    let joined = text::joined_surrogates(text);
    let text = &*joined;
    let tokens = Lexer::new(text).lex().map_err(|errors| lex_errors(&errors, text, span))?;
    let count = count_tokens(&tokens);
    if count > limits.expression_tokens_max {
        let message = format!("the expression has {count} words and signs, at most {}", limits.expression_tokens_max);
        return Err(Diagnostic::error("FS-EXPR-SIZE", span, message)
            .with_hint("split it into several `set` tasks")
            .into());
    }
    if count <= DEEP_TOKENS_MIN {
        return compile_tokens(&tokens, text, scope, span);
    }
    let builder = std::thread::Builder::new().name("expression".to_owned()).stack_size(DEEP_STACK_BYTES);
    std::thread::scope(|threads| {
        let compiled = builder.spawn_scoped(threads, || compile_tokens(&tokens, text, scope, span));
        let no_thread = |error: std::io::Error| {
            let message =
                format!("the expression is too long to be compiled in place, and no thread can be had: {error}");
            Diagnostic::error("FS-EXPR-SIZE", span, message).with_hint("split it into several `set` tasks")
        };
        compiled.map_err(no_thread)?.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn compile_tokens(tokens: &[Token<&str>], text: &str, scope: &Scope, span: Span) -> Result<Compiled, Diagnostics> {
    let mut term = Parser::new(tokens).parse(|parser| parser.term()).map_err(|errors| {
        let found = errors.iter().map(|(expected, found)| {
            let found = Token::opt_as_str(*found, text);
            syntax_error(&format!("expected {}", expected.as_str()), found, text, span)
        });
        found.collect::<Diagnostics>()
    })?;
    rewrite::rewrite(&mut term);
    let uses = check::uses(text, &mut term);
    let mut found = Diagnostics::new();
    check_calls(&uses, span, &mut found);
    check_variables(&uses, scope, span, &mut found);
    if found.has_errors() {
        return Err(found);
    }
    let variables: Vec<Box<str>> = uses.variables.iter().map(|name| name[1..].into()).collect();
    let code = match plain_path(&term) {
        Some(code) => code,
        None => match simple::simple(&term, &uses.variables) {
            Some(simple) => Code::Simple(simple),
            None => Code::Filter(Box::new(link(term, &uses, span)?)),
        },
    };
    Ok(Compiled { variables, secrets: uses.secrets, code })
}

fn check_size(text: &str, span: Span, limits: &Limits) -> Result<(), Diagnostics> {
    /// The parser recurses into brackets.
    const BRACKETS_MAX: usize = 64;
    let error = |message: String, hint| Err(Diagnostic::error("FS-EXPR-SIZE", span, message).with_hint(hint).into());
    if text.len() > limits.expression_bytes_max {
        let message = format!("the expression has {} bytes, at most {}", text.len(), limits.expression_bytes_max);
        return error(message, "split it into several `set` tasks");
    }
    if text::bracket_depth(text) > BRACKETS_MAX {
        return error(format!("brackets are nested deeper than {BRACKETS_MAX} levels"), "split it, or use `def`");
    }
    if text.trim().is_empty() {
        return error("the expression is empty".to_owned(), "write `.` for the input itself");
    }
    Ok(())
}

fn count_tokens(tokens: &[Token<&str>]) -> usize {
    let inner = |token: &Token<&str>| match &token.1 {
        Tok::Block(tokens) => count_tokens(tokens),
        Tok::Str(parts) => parts
            .iter()
            .map(|part| match part {
                StrPart::Term(Token(_, Tok::Block(tokens))) => 1 + count_tokens(tokens),
                _ => 1,
            })
            .sum(),
        _ => 0,
    };
    tokens.iter().map(|token| 1 + inner(token)).sum()
}

fn lex_errors(errors: &[lex::Error<&str>], text: &str, span: Span) -> Diagnostics {
    let describe = |(expected, found): &lex::Error<&str>| match expected {
        lex::Expect::Delim(open) => {
            let message = format!("not jq: the `{open}` is not closed");
            Diagnostic::error("FS-EXPR-SYNTAX", span, message).with_hint(format!("in `{}`", excerpt(text)))
        }
        expected => syntax_error(&format!("expected {}", expected.as_str()), found, text, span),
    };
    errors.iter().map(describe).collect()
}

fn syntax_error(expected: &str, found: &str, text: &str, span: Span) -> Diagnostic {
    let what = if found.trim().is_empty() { "its end".to_owned() } else { format!("`{}`", excerpt(found)) };
    let before = jaq_core::load::span(text, found).start;
    let hint = if found.starts_with('\'') {
        "jq's strings stand in double quotes"
    } else if found.starts_with('&') || text.contains("&&") || text.contains("||") {
        "jq says `and`, `or` and `not`"
    } else if found.starts_with('=') || text.contains("===") {
        "jq compares with `==`"
    } else if text[before..].trim_start().starts_with("else") || found.starts_with("else") {
        "write `if … then … else … end`"
    } else if text.contains("${") {
        "`${ }` cannot stand inside an expression"
    } else {
        "see the jq manual for the syntax of expressions"
    };
    let message = format!("not jq: {expected} instead of {what} in `{}`", excerpt(text));
    Diagnostic::error("FS-EXPR-SYNTAX", span, message).with_hint(hint)
}

/// A text, shortened for messages.
fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn check_calls(uses: &Uses<'_>, span: Span, found: &mut Diagnostics) {
    for (name, arity) in &uses.calls {
        if library::knows(name, *arity) {
            continue;
        }
        let of_name: Vec<usize> = {
            let mut arities: Vec<usize> =
                library::names().filter(|known| known.0 == *name).map(|known| known.1).collect();
            arities.sort_unstable();
            arities
        };
        let (message, hint) = if let Some(instead) = library::refusal(name) {
            (format!("`{name}` cannot be used here"), instead.to_owned())
        } else if !of_name.is_empty() {
            let of_name: Vec<String> = of_name.iter().map(usize::to_string).collect();
            (
                format!("`{name}` takes {} arguments, not {arity}", of_name.join(" or ")),
                "separate arguments by `;`".into(),
            )
        } else {
            let near = nearest(name, library::names().map(|known| known.0));
            let hint = near.map_or_else(
                || format!("write `.{name}` for a property, `\"{name}\"` for a text"),
                |near| format!("did you mean `{near}`? Write `.{name}` for a property"),
            );
            (format!("jq has no filter `{name}`"), hint)
        };
        found.push(Diagnostic::error("FS-EXPR-FILTER", span, message).with_hint(hint));
    }
}

fn check_variables(uses: &Uses<'_>, scope: &Scope, span: Span, found: &mut Diagnostics) {
    for variable in &uses.variables {
        let name = &variable[1..];
        if scope.has(name) {
            continue;
        }
        let hint = match (name, nearest(name, scope.names())) {
            ("ENV" | "__prog_args", _) => "the environment is out of reach: use the input or a secret".to_owned(),
            (_, Some(near)) => format!("did you mean `${near}`?"),
            (_, None) => {
                let given: Vec<String> = scope.names().map(|name| format!("${name}")).collect();
                if given.is_empty() {
                    "there are no variables here, only `.`".into()
                } else {
                    format!("given here: {}", given.join(", "))
                }
            }
        };
        let message = format!("`{variable}` is not given in {}", scope.place());
        found.push(Diagnostic::error("FS-EXPR-VARIABLE", span, message).with_hint(hint));
    }
}

/// The keys of `.a.b` or `$x.a.b`.
fn plain_path(term: &Term<&str>) -> Option<Code> {
    let from_variable = |root: &Term<&str>| match root {
        Term::Id => Some(false),
        Term::Var(_) => Some(true),
        _ => None,
    };
    let Term::Path(root, path) = term else {
        return from_variable(term).map(|from_variable| Code::Path { from_variable, keys: Vec::new() });
    };
    let key = |(part, opt): &(Part<Term<&str>>, Opt)| match (part, opt) {
        (Part::Index(Term::Str(None, parts)), Opt::Essential) => match parts.as_slice() {
            [StrPart::Str(key)] => Some(Box::from(*key)),
            _ => None,
        },
        _ => None,
    };
    let keys = path.0.iter().map(key).collect::<Option<Vec<Box<str>>>>()?;
    from_variable(root).map(|from_variable| Code::Path { from_variable, keys })
}

fn link(term: Term<&str>, uses: &Uses<'_>, span: Span) -> Result<jaq_core::Filter<Jq>, Diagnostics> {
    let calls: Vec<_> = uses.calls.iter().map(|(name, arity)| ((*name).to_owned(), *arity)).collect();
    let linked = library::link(&calls);
    let broken = |what: String| Diagnostic::error("FS-EXPR-SYNTAX", span, format!("not jq: {what}"));
    let main = Def { name: MAIN, args: Vec::new(), body: term };
    let arena = Arena::default();
    // The text stands beside the library's definitions; what is loaded as the program only calls it.
    let loader = Loader::new(linked.defs.into_iter().chain([main, alias()]));
    let modules = loader
        .load(&arena, File { code: ENTRY, path: () })
        .map_err(|_| Diagnostics::from(broken("the program cannot be loaded".to_owned())))?;
    let compiler = Compiler::default().with_global_vars(uses.variables.iter().copied()).with_funs(linked.natives);
    compiler.compile(modules).map_err(|errors| {
        let undefined = errors.into_iter().flat_map(|(_, errors)| errors);
        undefined.map(|(name, what)| broken(format!("the {} `{name}` is not defined", what.as_str()))).collect()
    })
}

/// What is loaded: a name that the lexer takes, since [`MAIN`] is none.
const ENTRY: &str = "__entry";

fn alias() -> Def<&'static str> {
    Def { name: ENTRY, args: Vec::new(), body: Term::Call(MAIN, Vec::new()) }
}

impl Code {
    /// Runs with the values of the variables, in their order.
    pub(super) fn run(&self, input: &Value, variables: Vec<Value>, limits: &Limits) -> Result<Value, ExprError> {
        match self {
            Self::Path { from_variable: false, keys } => follow(input, keys),
            Self::Path { from_variable: true, keys } => follow(variables.first().unwrap_or(&Value::Null), keys),
            Self::Simple(simple) => evaluate(simple, input, variables, limits),
            Self::Filter(filter) => interpret(filter, input, variables, limits),
        }
    }
}

fn follow(root: &Value, keys: &[Box<str>]) -> Result<Value, ExprError> {
    let mut at = root;
    for key in keys {
        match at {
            Value::Null => return Ok(Value::Null),
            Value::Obj(map) => match value::lookup(map, key) {
                Some(item) => at = item,
                None => at = &Value::Null,
            },
            other => {
                let kind = value::type_name(other);
                return Err(ExprError::Failed(format!("Cannot index {kind} with string \"{key}\"")));
            }
        }
    }
    Ok(at.clone())
}

fn evaluate(simple: &Simple, input: &Value, variables: Vec<Value>, limits: &Limits) -> Result<Value, ExprError> {
    let outcome = meter::run(limits, || {
        let incoming = |value| V::incoming(value, limits.json_depth_max);
        let mut bound = variables.into_iter().map(incoming).collect();
        match simple.eval(&incoming(input.clone()), &mut bound) {
            Ok(result) => result.into_result(limits.expression_output_bytes_max, limits.json_depth_max),
            Err(error) => Err(failed(error)),
        }
    });
    outcome.unwrap_or_else(|limit| Err(ExprError::Limit(limit)))
}

fn interpret(
    filter: &jaq_core::Filter<Jq>,
    input: &Value,
    variables: Vec<Value>,
    limits: &Limits,
) -> Result<Value, ExprError> {
    let outcome = meter::run(limits, || {
        let variables = variables.into_iter().map(|value| V::incoming(value, limits.json_depth_max));
        let ctx = Ctx::<Jq>::new(Program(&filter.lut), Vars::new(variables));
        let mut results = filter.id.run((ctx, V::incoming(input.clone(), limits.json_depth_max)));
        let first = match results.next() {
            None => return Ok(Value::Null),
            Some(first) => first.map_err(thrown)?,
        };
        match results.next() {
            None => first.into_result(limits.expression_output_bytes_max, limits.json_depth_max),
            Some(Ok(_)) => Err(ExprError::Many),
            Some(Err(error)) => Err(thrown(error)),
        }
    });
    outcome.unwrap_or_else(|limit| Err(ExprError::Limit(limit)))
}

fn thrown(exception: jaq_core::Exn<'_, V>) -> ExprError {
    match exception.get_err() {
        Ok(error) => failed(error),
        Err(_) => ExprError::Failed("break without its label".to_owned()),
    }
}

fn failed(error: jaq_core::Error<V>) -> ExprError {
    let error = error.into_val();
    ExprError::Failed(match value::as_str(&error.v) {
        Some(text) => text.to_owned(),
        None => format!("{error} (not a string)"),
    })
}
