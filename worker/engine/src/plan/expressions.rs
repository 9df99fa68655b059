//! Expressions, schemas and durations of a definition, each with the variables of its place.

use super::compiler::Compiler;
use super::keys::{Keys, OWN_PREFIX};
use super::named::NamedOf;
use crate::diagnostic::{Diagnostic, Diagnostics, suggestion};
use crate::duration::{self, DurationError};
use crate::expr::{self, Expression, Scope, Template, Transform};
use crate::schema::Schema;
use crate::source::{Key, Node, NodeValue, Span};
use crate::value;

/// Where an expression stands: decides which variables it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    WorkflowInput,
    WorkflowOutput,
    /// A task's `if`.
    Condition,
    /// A task's `input.from`.
    Input,
    /// A task's own properties.
    Definition,
    /// The authentication of a task's own properties: what it resolves to is not known yet.
    Authentication,
    /// A task's `output.as`.
    Output,
    /// A task's `export.as`.
    Export,
    /// Where no instance is known: there are no variables at all.
    Event,
}

impl At {
    fn scope(self) -> Scope {
        match self {
            Self::WorkflowInput => Scope::workflow_input(),
            Self::WorkflowOutput => Scope::workflow_output(),
            Self::Condition => Scope::task_if(),
            Self::Input => Scope::task_input(),
            Self::Definition => Scope::task_definition(),
            Self::Authentication => Scope::authentication(),
            Self::Output => Scope::task_output(),
            Self::Export => Scope::task_export(),
            Self::Event => Scope::none(),
        }
    }
}

impl Compiler<'_> {
    /// A string that is always jq, `${ }` or not.
    pub(crate) fn jq(&mut self, node: &Node, what: &str, at: At) -> Option<Expression> {
        let text = self.text(node, what)?;
        let scope = self.scope_of(at);
        let transform = Transform { scope: &scope, mode: self.mode, limits: self.limits };
        let expression = transform.expression(text, node.span, &mut self.diagnostics)?;
        self.check_secrets(&expression, node.span);
        Some(expression)
    }

    /// A condition: always jq. One that never changes is surely not meant.
    pub(crate) fn condition(&mut self, node: &Node, what: &str, at: At) -> Option<Expression> {
        let condition = self.jq(node, what, at)?;
        if let Ok(constant) = serde_json::from_str::<serde_json::Value>(condition.text()) {
            let (always, hint) = match constant {
                serde_json::Value::Null | serde_json::Value::Bool(false) => {
                    ("never", "remove what it keeps from running")
                }
                _ => ("always", "remove it"),
            };
            let message = format!("{what} is a constant: it {always} holds");
            let hint = format!("write an expression that reads data, such as `.approved == true`, or {hint}");
            self.push(Diagnostic::warning("FS-LINT-CONSTANT", node.span, message).with_hint(hint));
        }
        Some(condition)
    }

    /// Warns if a text that stands for itself looks like an expression; `key` is the one under which it stands.
    pub(crate) fn lint_literal(&mut self, text: &str, key: &str, span: Span) {
        let scope = self.scope_of(At::Definition);
        let transform = Transform { scope: &scope, mode: self.mode, limits: self.limits };
        let found = transform.lint_literal(text, Some(key), span);
        self.diagnostics.extend(found);
    }

    /// A value in which strings are expressions only as `${ … }`.
    pub(crate) fn template(&mut self, node: &Node, at: At) -> Option<Template> {
        self.transform(node, at, |transform, node, found| transform.template(node, found))
    }

    /// `input.from` and the like: a string is always jq, a mapping is a template.
    pub(crate) fn jq_or_template(&mut self, node: &Node, at: At) -> Option<Template> {
        self.transform(node, at, |transform, node, found| transform.transformation(node, found))
    }

    /// A shell command: expressions in it are interpolated and quoted, the rest stays as it is.
    pub(crate) fn shell_command(&mut self, node: &Node, at: At) -> Option<Template> {
        self.transform(node, at, |transform, node, found| transform.shell(node, found))
    }

    fn transform(
        &mut self,
        node: &Node,
        at: At,
        compile: impl FnOnce(&Transform<'_>, &Node, &mut Diagnostics) -> Template,
    ) -> Option<Template> {
        let scope = self.scope_of(at);
        let transform = Transform { scope: &scope, mode: self.mode, limits: self.limits };
        let mut found = Diagnostics::new();
        let template = compile(&transform, node, &mut found);
        let broken = found.has_errors();
        self.diagnostics.extend(found);
        let before = self.diagnostics.len();
        self.check_secrets_in(&template, node);
        (!broken && !self.diagnostics.has_errors_since(before)).then_some(template)
    }

    fn scope_of(&self, at: At) -> Scope {
        self.locals.iter().fold(at.scope(), |scope, name| if at == At::Event { scope } else { scope.with_local(name) })
    }

    /// Each expression of a template together with the text that it was made of, so that mistakes have their place.
    fn check_secrets_in(&mut self, template: &Template, node: &Node) {
        match (template, &node.value) {
            (Template::Array(items), NodeValue::Seq(nodes)) => {
                items.iter().zip(nodes).for_each(|(item, node)| self.check_secrets_in(item, node));
            }
            (Template::Object(items), NodeValue::Map(entries)) => {
                items.iter().zip(entries).for_each(|((_, item), (_, node))| self.check_secrets_in(item, node));
            }
            _ => template.each_expression(&mut |expression| self.check_secrets(expression, node.span)),
        }
    }

    fn check_secrets(&mut self, expression: &Expression, span: Span) {
        let used = expression.secrets();
        for name in &used.names {
            self.check_secret_name(name, span);
        }
        if used.whole {
            self.secrets.iter().for_each(|name| self.named.note(NamedOf::Secrets, name));
        }
    }

    /// Only what `use.secrets` lists can be read.
    pub(super) fn check_secret_name(&mut self, name: &str, span: Span) {
        self.named.note(NamedOf::Secrets, name);
        if !self.secrets.iter().any(|listed| listed == name) {
            let hint = match self.secrets.is_empty() {
                true => format!("list it: `use: {{ secrets: [ {name} ] }}`"),
                false => suggestion(name, self.secrets.iter().map(String::as_str)),
            };
            let message = format!("the secret `{name}` is used, but not listed in `use.secrets`");
            self.push(Diagnostic::error("FS-SECRET-UNLISTED", span, message).with_hint(hint));
        }
    }

    /// Compiles what stands inside of a task that defines variables.
    pub(crate) fn with_locals<T>(&mut self, names: &[&str], compile: impl FnOnce(&mut Self) -> T) -> T {
        let outside = self.locals.len();
        self.locals.extend(names.iter().map(|name| (*name).to_owned()));
        let compiled = compile(self);
        self.locals.truncate(outside);
        compiled
    }

    /// The name of a variable of the author's own.
    pub(crate) fn variable_name(&mut self, node: &Node, what: &str) -> Option<String> {
        let name = self.text(node, what)?;
        match expr::check_name(name) {
            Ok(()) => Some(name.to_owned()),
            Err(why) => {
                self.error("FS-VALUE", node, format!("{what}: {why}"), "name it without `$`, such as `error`");
                None
            }
        }
    }

    pub(crate) fn schema(&mut self, node: &Node) -> Option<Schema> {
        Schema::compile(node, self)
    }

    /// A duration: constants are checked at once.
    pub(crate) fn duration(&mut self, node: &Node, keys: Keys) -> Option<Template> {
        self.duration_at(node, keys, At::Definition)
    }

    /// A duration that stands elsewhere than among a task's own properties.
    pub(super) fn duration_at(&mut self, node: &Node, keys: Keys, at: At) -> Option<Template> {
        if node.as_map().is_some() {
            let before = self.diagnostics.len();
            self.mapping(node, keys);
            if self.diagnostics.len() > before {
                return None;
            }
        } else if node.as_str().is_none() {
            self.wrong_type(node, keys.of, "a text like `PT1H30M` or a mapping like `{ hours: 1 }`");
            return None;
        }
        let template = self.template(node, at)?;
        let wrong = match template.as_constant() {
            Some(constant) => duration::from_value(constant, self.limits.duration_days_max).err(),
            // What an expression gives is seen when it is evaluated; what stands beside it is known now.
            None => node.as_map().and_then(wrong_part),
        };
        if let Some(why) = wrong {
            self.error("FS-DURATION", node, why.to_string(), "write `PT1H30M` or `{ hours: 1, minutes: 30 }`");
            return None;
        }
        Some(template)
    }
}

/// The first part of a duration that is neither an amount nor an expression.
fn wrong_part(parts: &[(Key, Node)]) -> Option<DurationError> {
    let is_amount = |part: &Node| {
        part.as_int().is_some_and(|amount| amount >= 0) || part.as_str().is_some_and(expr::holds_expression)
    };
    let mut parts = parts.iter().filter(|(key, _)| !key.text.starts_with(OWN_PREFIX));
    let (key, part) = parts.find(|(_, part)| !is_amount(part))?;
    Some(DurationError::Invalid(format!("`{}: {}`", key.text, value::to_json(&value::from_node(part)))))
}
