//! `${ … }` in a shell command: which of them are expressions, and how their values get into the command as mere data.
//!
//! The shell has a `${ }` of its own. Ours is what the shell cannot mean: its inside is jq and begins with `.`, `$` or
//! `(`. A value must never be read as a command, so each is quoted for the place where it stands; where no quoting is
//! safe, the definition is refused.

use super::text;
use super::{ExprError, Expression, Transform, Whole, whole};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::value::{self, Value};
use crate::{expr::Template, source::Node};

/// A part of [`Template::Shell`].
#[derive(Debug, Clone)]
pub enum ShellPart {
    /// Stands as it is.
    Constant(String),
    /// Is evaluated, and quoted for its place.
    Expression(Expression, Place),
}

/// Where in a command a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Outside of quotes: it becomes one quoted word.
    Word,
    /// Between double quotes.
    Double,
    /// Between single quotes.
    Single,
    /// In `$(( ))`, where the shell would run what a text holds: numbers only.
    Arithmetic,
}

/// A `${` of a command.
#[derive(Debug, PartialEq, Eq)]
struct Found<'t> {
    /// Where its `$` stands.
    at: usize,
    /// Behind its `}`.
    end: usize,
    inner: &'t str,
    /// `Err`: where it stands there is no way to quote.
    place: Result<Place, &'static str>,
}

impl Transform<'_> {
    /// Compiles a shell command. Without expressions it is a constant.
    pub fn shell(&self, node: &Node, found: &mut Diagnostics) -> Template {
        let Some(text) = node.as_str() else {
            let message = format!("a shell command is expected here, not {}", node.kind());
            found.push(Diagnostic::error("FS-WRONG-TYPE", node.span, message).with_hint("write a text"));
            return Template::NULL;
        };
        if let Whole::Expression(inner) = whole(text)
            && !is_parameter(inner)
            && let Ok(expression) = self.compile_part(inner, node.span)
        {
            return Template::Shell(vec![ShellPart::Expression(expression, Place::Word)]);
        }
        let mut parts = Vec::new();
        let mut copied = 0;
        for part in scan(text) {
            let expression = match self.compile_part(part.inner, node.span) {
                Ok(expression) => expression,
                Err(why) => {
                    found.extend(left_to_the_shell(part.inner, &why, node.span));
                    continue;
                }
            };
            match part.place {
                Ok(place) => {
                    if part.at > copied {
                        parts.push(ShellPart::Constant(text[copied..part.at].to_owned()));
                    }
                    parts.push(ShellPart::Expression(expression, place));
                    copied = part.end;
                }
                Err(place) => {
                    let message = format!("the value of `${{{}}}` cannot be quoted {place}", part.inner);
                    let hint = "pass it by `environment`, `arguments` or `stdin`, or assign it to a shell variable \
                                before: `x=${ .x }`";
                    found.push(Diagnostic::error("FS-EXPR-SHELL", node.span, message).with_hint(hint));
                }
            }
        }
        if parts.is_empty() {
            return Template::Constant(value::string(text));
        }
        if copied < text.len() {
            parts.push(ShellPart::Constant(text[copied..].to_owned()));
        }
        Template::Shell(parts)
    }

    fn compile_part(&self, inner: &str, span: Span) -> Result<Expression, Diagnostics> {
        Expression::compile(inner, self.scope, span, self.limits)
    }
}

/// What the shell takes for one of its own: `${NAME…}`, `${#NAME}`, `${1}`, `${?}` …
fn is_parameter(inner: &str) -> bool {
    inner.starts_with(|c: char| c.is_ascii_alphanumeric() || "_@*#?!-".contains(c))
}

/// Ours, if it is jq.
fn is_candidate(inner: &str) -> bool {
    inner.trim_start().starts_with(['.', '$', '('])
}

/// A warning about what looks like an expression, is none, and means nothing to the shell either.
fn left_to_the_shell(inner: &str, why: &Diagnostics, span: Span) -> Option<Diagnostic> {
    // `${$}` is the shell's own number.
    let why = why.iter().next().filter(|_| inner != "$")?;
    let message = format!("`${{{inner}}}` is left to the shell, since it is no expression: {}", why.message);
    let warning = Diagnostic::warning("FS-LINT-SHELL", span, message);
    Some(match &why.hint {
        Some(hint) => warning.with_hint(hint.clone()),
        None => warning,
    })
}

/// The command's text.
pub(super) fn eval(
    parts: &[ShellPart],
    mut value_of: impl FnMut(&Expression) -> Result<Value, ExprError>,
) -> Result<Value, ExprError> {
    let mut command = String::new();
    for part in parts {
        match part {
            ShellPart::Constant(text) => command.push_str(text),
            ShellPart::Expression(expression, place) => {
                let value = value_of(expression)?;
                push_quoted(&value, *place, &mut command).map_err(|why| {
                    ExprError::Failed(format!("`${{ {} }}` in a shell command: {why}", expression.text()))
                })?;
            }
        }
    }
    Ok(value::string(command))
}

/// Null is empty; numbers and truth values need no quotes.
fn push_quoted(value: &Value, place: Place, out: &mut String) -> Result<(), String> {
    let text = match value {
        Value::Null => return Ok(()),
        Value::Arr(_) | Value::Obj(_) => {
            return Err(format!("{} cannot be one word: pass it as `tojson`", value::type_name(value)));
        }
        Value::Bool(_) | Value::Num(_) => {
            out.push_str(&value::to_json(value));
            return Ok(());
        }
        text => value::as_str(text).unwrap_or_default(),
    };
    if text.contains('\0') {
        return Err("a command cannot hold the character U+0000".to_owned());
    }
    match place {
        Place::Word => {
            out.push('\'');
            out.push_str(&text.replace('\'', "'\\''"));
            out.push('\'');
        }
        Place::Single => out.push_str(&text.replace('\'', "'\\''")),
        Place::Double => {
            for c in text.chars() {
                if matches!(c, '\\' | '"' | '$' | '`') {
                    out.push('\\');
                }
                out.push(c);
            }
        }
        Place::Arithmetic => return Err("only a number may stand in `$(( ))`: use `tonumber`".to_owned()),
    }
    Ok(())
}

/// What the shell is reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inside {
    Single,
    /// `$'…'`
    Ansi,
    Double,
    /// `$( )`, and plain parentheses in it.
    Command,
    Arithmetic,
    /// Parentheses in it.
    Group,
    /// The shell's own `${ }`.
    Brace,
    Backticks,
}

/// Finds the candidates of a command with the place of each. Comments are passed over.
fn scan(text: &str) -> Vec<Found<'_>> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut inside: Vec<Inside> = Vec::new();
    // The lines of a here-document begin after the line that opens it; nothing behind is told apart.
    let mut here = false;
    let mut lost: Option<&'static str> = None;
    let mut at = 0;
    while at < bytes.len() {
        let top = inside.last().copied();
        let next = bytes.get(at + 1).copied();
        let quoted = matches!(top, Some(Inside::Single | Inside::Ansi | Inside::Double));
        if bytes[at] == b'$' && next == Some(b'{') {
            let inner = &text[at + 2..];
            match text::end(inner).map(|end| (&inner[..end], at + 2 + end + 1)) {
                Some((inner, end)) if is_candidate(inner) => {
                    found.push(Found { at, end, inner, place: place(&inside, lost) });
                    at = end;
                }
                _ if matches!(top, Some(Inside::Single | Inside::Ansi)) => at += 2,
                _ => {
                    inside.push(Inside::Brace);
                    at += 2;
                }
            }
            continue;
        }
        match (bytes[at], top) {
            (b'\'', Some(Inside::Single | Inside::Ansi)) => drop(inside.pop()),
            (_, Some(Inside::Single)) => {}
            (b'\\', _) => at += 1,
            (_, Some(Inside::Ansi)) => {}
            (b'"', Some(Inside::Double)) | (b'}', Some(Inside::Brace)) | (b'`', Some(Inside::Backticks)) => {
                inside.pop();
            }
            (b')', Some(Inside::Arithmetic)) if next == Some(b')') => {
                inside.pop();
                at += 1;
            }
            (b')', Some(Inside::Command | Inside::Group)) => drop(inside.pop()),
            (b'(', Some(Inside::Arithmetic | Inside::Group)) => inside.push(Inside::Group),
            (b'$', _) if bytes[at + 1..].starts_with(b"((") => {
                inside.push(Inside::Arithmetic);
                at += 2;
            }
            (b'$', _) if next == Some(b'(') => {
                inside.push(Inside::Command);
                at += 1;
            }
            (b'`', _) => inside.push(Inside::Backticks),
            (b'"', _) => inside.push(Inside::Double),
            _ if quoted => {}
            (b'$', _) if next == Some(b'\'') => {
                inside.push(Inside::Ansi);
                at += 1;
            }
            // In `"${x:+it's}"` it is a letter like any other.
            (b'\'', Some(Inside::Brace)) if is_double_quoted(&inside) => {}
            (b'\'', _) => inside.push(Inside::Single),
            (b'(', Some(Inside::Command)) => inside.push(Inside::Command),
            // Its patterns end with a bracket that nothing opens, so that no end of `$( )` is known any more.
            (b'c', Some(Inside::Command)) if is_case(bytes, at) => lost = Some("behind a `case` inside `$( )`"),
            // Whether it ends with the line or with the backtick, shells do not agree.
            (b'#', Some(Inside::Backticks)) if begins_word(bytes, at) => lost = Some("behind a comment in backticks"),
            (b'#', None | Some(Inside::Command)) if begins_word(bytes, at) => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
                continue;
            }
            (b'<', None | Some(Inside::Command)) if next == Some(b'<') => {
                let is_text = bytes.get(at + 2) == Some(&b'<');
                here |= !is_text;
                at += 1 + usize::from(is_text);
            }
            (b'\n', _) if here => lost = Some("behind the beginning of a here-document"),
            _ => {}
        }
        at += 1;
    }
    found
}

fn is_double_quoted(inside: &[Inside]) -> bool {
    inside.iter().rfind(|around| **around != Inside::Brace) == Some(&Inside::Double)
}

fn begins_word(bytes: &[u8], at: usize) -> bool {
    at == 0 || matches!(bytes[at - 1], b' ' | b'\t' | b'\n' | b';' | b'&' | b'|' | b'(' | b')' | b'`')
}

/// The word `case`, wherever it stands: that it is no argument takes a shell to know.
fn is_case(bytes: &[u8], at: usize) -> bool {
    let rest = bytes[at..].strip_prefix(b"case");
    begins_word(bytes, at) && rest.is_some_and(|rest| matches!(rest, [b' ' | b'\t' | b'\n' | b'\\', ..]))
}

/// `lost`: since when it is not known what the shell is reading.
fn place(inside: &[Inside], lost: Option<&'static str>) -> Result<Place, &'static str> {
    if let Some(since) = lost {
        return Err(since);
    }
    for around in inside {
        match around {
            Inside::Backticks => return Err("between backticks: write `$( )`"),
            Inside::Brace => return Err("in the shell's own `${ }`"),
            Inside::Ansi => return Err("between `$'` and `'`"),
            _ => {}
        }
    }
    Ok(match inside.last() {
        Some(Inside::Double) => Place::Double,
        Some(Inside::Single) => Place::Single,
        Some(Inside::Arithmetic | Inside::Group) => Place::Arithmetic,
        _ => Place::Word,
    })
}

#[cfg(test)]
mod tests;
