//! Values of a definition with expressions in them: `set`, `with`, `data` and all that is "walked like `set`".
//!
//! Compiled once: what holds no expression is one shared constant.

use super::shell::{self, ShellPart};
use super::text::{self, Piece};
use super::{ExprError, Expression, Scope, Vars, Whole, whole};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::limits::Limits;
use crate::source::{Node, NodeValue};
use crate::value::{self, Map, Value};

/// How strings with `${` inside a longer text are taken (`evaluate.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// They are mistakes.
    #[default]
    Strict,
    /// They are interpolated.
    Loose,
}

/// A value with expressions in it.
#[derive(Debug, Clone)]
pub enum Template {
    /// No expression inside.
    Constant(Value),
    /// One expression is the whole value.
    Expression(Expression),
    /// A text with expressions in it: null is empty, objects and arrays are JSON.
    Text(Vec<TextPart>),
    /// A shell command with expressions in it: each value is quoted.
    Shell(Vec<ShellPart>),
    /// An array with expressions in some items.
    Array(Vec<Template>),
    /// An object with expressions in some values.
    Object(Vec<(Value, Template)>),
}

/// A part of [`Template::Text`].
#[derive(Debug, Clone)]
pub enum TextPart {
    /// Stands as it is.
    Constant(String),
    /// Is evaluated.
    Expression(Expression),
}

/// What compiling needs beside the node.
#[derive(Debug, Clone, Copy)]
pub struct Transform<'a> {
    /// The variables of the place.
    pub scope: &'a Scope,
    /// Strict or loose.
    pub mode: Mode,
    /// The limits.
    pub limits: &'a Limits,
}

impl Transform<'_> {
    /// Compiles a value in which strings are expressions only as `${ … }`. Mistakes go to `found`; all are looked for.
    pub fn template(&self, node: &Node, found: &mut Diagnostics) -> Template {
        self.template_under(None, node, found)
    }

    /// `key` is the one under which the value stands, or the list in which it is an item.
    fn template_under(&self, key: Option<&str>, node: &Node, found: &mut Diagnostics) -> Template {
        match &node.value {
            NodeValue::Str(text) => self.text(text, key, node.span, found),
            NodeValue::Seq(items) => {
                let items: Vec<Template> = items.iter().map(|item| self.template_under(key, item, found)).collect();
                if items.iter().all(|item| item.as_constant().is_some()) {
                    return Template::Constant(value::from_node(node));
                }
                Template::Array(items)
            }
            NodeValue::Map(entries) => {
                let compiled = |(key, item): &(crate::source::Key, Node)| {
                    (value::string(key.text.as_ref()), self.template_under(Some(&key.text), item, found))
                };
                let entries: Vec<(Value, Template)> = entries.iter().map(compiled).collect();
                if entries.iter().all(|(_, item)| item.as_constant().is_some()) {
                    return Template::Constant(value::from_node(node));
                }
                Template::Object(entries)
            }
            _ => Template::Constant(value::from_node(node)),
        }
    }

    /// Compiles `input.from`, `output.as` and the like: a string is always jq, anything else is a template.
    pub fn transformation(&self, node: &Node, found: &mut Diagnostics) -> Template {
        match &node.value {
            NodeValue::Str(text) => {
                self.expression(text, node.span, found).map_or(Template::NULL, Template::Expression)
            }
            NodeValue::Map(_) => self.template(node, found),
            _ => {
                let message = format!("an expression or a mapping is expected here, not {}", node.kind());
                found.push(Diagnostic::error("FS-EXPR-TYPE", node.span, message).with_hint("write `${ … }`"));
                Template::NULL
            }
        }
    }

    /// Compiles a string that is always jq, `${ }` or not. `None`: the mistakes are in `found`.
    pub fn expression(&self, text: &str, span: Span, found: &mut Diagnostics) -> Option<Expression> {
        match Expression::compile(text, self.scope, span, self.limits) {
            Ok(expression) => Some(expression),
            Err(mistakes) => {
                found.extend(mistakes);
                None
            }
        }
    }

    fn text(&self, text: &str, key: Option<&str>, span: Span, found: &mut Diagnostics) -> Template {
        match (whole(text), self.mode) {
            (Whole::Plain, _) => {
                found.extend(self.lint_literal(text, key, span));
                Template::Constant(value::string(text))
            }
            (Whole::Expression(inner), _) => {
                self.expression(inner, span, found).map_or(Template::NULL, Template::Expression)
            }
            (Whole::Mixed, mode) => {
                if let Some(at) = text::unclosed(text) {
                    found.push(not_closed(span.from(text, at)));
                    return Template::NULL;
                }
                if let (Mode::Loose, Some(pieces)) = (mode, text::pieces(text)) {
                    return self.pieces(&pieces, span, found);
                }
                let message = "`${ }` stands inside a longer text";
                found.push(Diagnostic::error("FS-EXPR-MIXED", span, message).with_hint(concatenation(text)));
                Template::NULL
            }
        }
    }

    fn pieces(&self, pieces: &[Piece<'_>], span: Span, found: &mut Diagnostics) -> Template {
        let mut parts = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match piece {
                Piece::Text(text) => parts.push(TextPart::Constant((*text).to_owned())),
                Piece::Expression(text) => {
                    parts.extend(self.expression(text, span, found).map(TextPart::Expression));
                }
            }
        }
        Template::Text(parts)
    }
}

/// A `${` at this place has no `}` of its own.
pub(super) fn not_closed(span: Span) -> Diagnostic {
    let hint = "close it with `}`; brackets and quotes inside of it must be closed before";
    Diagnostic::error("FS-EXPR-UNCLOSED", span, "this `${` is not closed").with_hint(hint)
}

/// The jq that does what the author probably means by a text with `${ }` in it.
fn concatenation(text: &str) -> String {
    /// A longer one helps nobody.
    const CHARS_MAX: usize = 120;
    let example = "write one expression: `${ \"Hello \\(.name)\" }`, or set `evaluate.mode: loose`";
    let Some(pieces) = text::pieces(text.trim()).filter(|_| text.chars().count() < CHARS_MAX) else {
        return example.to_owned();
    };
    let mut jq = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => jq.push_str(&text.replace('\\', "\\\\").replace('"', "\\\"")),
            Piece::Expression(text) => jq.push_str(&format!("\\({})", text.trim())),
        }
    }
    format!("write one expression: `${{ \"{jq}\" }}`, or set `evaluate.mode: loose`")
}

impl Template {
    /// The constant null; stands in for what did not compile.
    pub const NULL: Self = Self::Constant(Value::Null);

    /// The value for this input. Constants are shared, not copied.
    pub fn eval(&self, input: &Value, vars: &dyn Vars, limits: &Limits) -> Result<Value, ExprError> {
        match self {
            Self::Constant(value) => Ok(value.clone()),
            Self::Expression(expression) => expression.eval(input, vars, limits),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        TextPart::Constant(constant) => text.push_str(constant),
                        TextPart::Expression(expression) => {
                            push_text(&expression.eval(input, vars, limits)?, &mut text);
                        }
                    }
                }
                Ok(value::string(text))
            }
            Self::Shell(parts) => shell::eval(parts, |expression| expression.eval(input, vars, limits)),
            Self::Array(items) => items.iter().map(|item| item.eval(input, vars, limits)).collect(),
            Self::Object(entries) => {
                let mut map = Map::with_capacity_and_hasher(entries.len(), Default::default());
                for (key, item) in entries {
                    map.insert(key.clone(), item.eval(input, vars, limits)?);
                }
                Ok(Value::obj(map))
            }
        }
    }

    /// The value, if no expression is inside.
    pub fn as_constant(&self) -> Option<&Value> {
        match self {
            Self::Constant(value) => Some(value),
            _ => None,
        }
    }

    /// Calls `visit` with each expression inside.
    pub fn each_expression(&self, visit: &mut dyn FnMut(&Expression)) {
        match self {
            Self::Constant(_) => {}
            Self::Expression(expression) => visit(expression),
            Self::Text(parts) => parts.iter().for_each(|part| {
                if let TextPart::Expression(expression) = part {
                    visit(expression);
                }
            }),
            Self::Shell(parts) => parts.iter().for_each(|part| {
                if let ShellPart::Expression(expression, _) = part {
                    visit(expression);
                }
            }),
            Self::Array(items) => items.iter().for_each(|item| item.each_expression(visit)),
            Self::Object(entries) => entries.iter().for_each(|(_, item)| item.each_expression(visit)),
        }
    }

    /// Whether any expression inside uses the variable, named without `$`.
    pub fn uses(&self, variable: &str) -> bool {
        let mut used = false;
        self.each_expression(&mut |expression| used |= expression.uses(variable));
        used
    }

    /// Whether any expression inside reads `$secrets`.
    pub fn uses_secrets(&self) -> bool {
        self.uses("secrets")
    }
}

fn push_text(value: &Value, text: &mut String) {
    match value::as_str(value) {
        Some(part) => text.push_str(part),
        None if value::is_null(value) => {}
        None => text.push_str(&value::to_json(value)),
    }
}
