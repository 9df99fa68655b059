//! Event filters of a definition: what is wrong in them, and what is surely not meant.

use std::sync::Arc;

use flagstop_schemas::Hash16;

use super::{Attribute, Correlation, Expect, Filter, FilterOf, Hears, Order, Reads, Test, is_internal};
use crate::diagnostic::Diagnostic;
use crate::expr::{self, Template};
use crate::plan::compiler::{At, Compiler};
use crate::plan::keys::Keys;
use crate::source::{Key, Node};
use crate::value;

const FILTER: Keys = Keys { of: "an event filter", known: &["with", "correlate"], not_yet: &[] };
const CORRELATION: Keys = Keys { of: "a correlation", known: &["from", "expect"], not_yet: &[] };

impl Filter {
    pub(crate) fn compile(node: &Node, of: FilterOf, order: Order, compiler: &mut Compiler<'_>) -> Option<Self> {
        compiler.mapping(node, FILTER)?;
        let with = compiler.required(node, "with", FILTER.of);
        let attributes = with.and_then(|with| attributes(with, of, compiler));
        let correlations = match node.get("correlate") {
            Some(correlate) => correlations(correlate, of, compiler),
            None => Some(Vec::new()),
        };
        let (attributes, correlations) = (attributes?, correlations?);
        // Where no event can come before its own, nothing is ever bound, and one key is enough.
        let is_open = correlations.iter().any(|correlation| correlation.expect.is_none());
        let order = if is_open { order } else { Order::First };
        let mut filter = Self {
            id: Hash16::of("flagstop/filter", &[&id_text(node), order.id_part()]),
            attributes,
            correlations,
            order,
            hears: Hears::Authors,
            limits: Arc::new(compiler.limits.clone()),
        };
        if of == FilterOf::Schedule && filter.event_type().is_some() {
            filter.hears = Hears::All;
        }
        if of == FilterOf::Listen {
            filter.check_type(with.unwrap_or(node), compiler);
        }
        Some(filter)
    }

    fn check_type(&self, with: &Node, compiler: &mut Compiler<'_>) {
        if let Some(ty) = self.event_type().filter(|ty| is_internal(ty)) {
            let message = format!("`{ty}` is a command or a status event: no listen hears it");
            let span = with.get("type").unwrap_or(with).span;
            let hint = "await an event of your own, such as one that the other workflow emits";
            compiler.push(Diagnostic::warning("FS-NEVER-HEARD", span, message).with_hint(hint));
        }
    }
}

/// Key order and spelling of numbers don't make another filter.
fn id_text(node: &Node) -> Vec<u8> {
    value::canonical(&value::from_node(node))
}

impl Order {
    fn id_part(self) -> &'static [u8] {
        match self {
            Self::First => b"",
            Self::AfterOthers => b"after others",
        }
    }
}

fn attributes(with: &Node, of: FilterOf, compiler: &mut Compiler<'_>) -> Option<Vec<Attribute>> {
    let Some(entries) = with.as_map().filter(|entries| !entries.is_empty()) else {
        compiler.wrong_type(with, "`with` of an event filter", "a mapping of at least one attribute");
        return None;
    };
    // All are compiled before any is missed, so that all mistakes are reported at once.
    let compiled: Vec<_> = entries.iter().map(|(key, wanted)| attribute(key, wanted, of, compiler)).collect();
    compiled.into_iter().collect()
}

fn attribute(key: &Key, wanted: &Node, of: FilterOf, compiler: &mut Compiler<'_>) -> Option<Attribute> {
    let name = key.text.to_string();
    compiler.attribute(key, wanted)?;
    let at = of.at();
    let test = if wanted.as_str().is_some_and(expr::is_expression) {
        let expr = compiler.jq(wanted, &format!("`{name}`"), at)?;
        let reads = reads(&Template::Expression(expr.clone()));
        Test::Expression { expr, reads }
    } else {
        let template = compiler.template(wanted, at)?;
        match template.as_constant() {
            Some(constant) => Test::Constant(constant.clone()),
            None => Test::Shape { reads: reads(&template), template },
        }
    };
    if let Test::Expression { reads: Reads::Instance, .. } | Test::Shape { reads: Reads::Instance, .. } = &test {
        let message =
            format!("`{name}` reads the instance, so it is tried with every instance that waits for such events");
        compiler.push(
            Diagnostic::warning("FS-SLOW-FILTER", wanted.span, message)
                .with_hint("use `correlate` with `expect`, which finds the one instance by an index"),
        );
    }
    Some(Attribute { name, test })
}

fn reads(template: &Template) -> Reads {
    let mut reads = Reads::Event;
    template.each_expression(&mut |expression| {
        if expression.variables().next().is_some() {
            reads = Reads::Instance;
        }
    });
    reads
}

fn correlations(node: &Node, of: FilterOf, compiler: &mut Compiler<'_>) -> Option<Vec<Correlation>> {
    let Some(entries) = node.as_map() else {
        compiler.wrong_type(node, "`correlate`", "a mapping of names to correlations");
        return None;
    };
    let compiled: Vec<_> = entries.iter().map(|(key, node)| correlation(key, node, of, compiler)).collect();
    compiled.into_iter().collect()
}

fn correlation(key: &Key, node: &Node, of: FilterOf, compiler: &mut Compiler<'_>) -> Option<Correlation> {
    compiler.mapping(node, CORRELATION)?;
    let from = compiler.required(node, "from", CORRELATION.of);
    // Keys are computed before any instance is known.
    let from = from.and_then(|from| compiler.jq(from, "`from`", At::Event));
    let expect = match node.get("expect") {
        None => None,
        Some(expect) => Some(match expect.as_str() {
            Some(text) if expr::holds_expression(text) => {
                if of == FilterOf::Schedule {
                    compiler.error(
                        "FS-VALUE",
                        expect,
                        "`expect` of `schedule.on` must be a constant: there is no instance yet",
                        "leave `expect` out, or write the value itself",
                    );
                    return None;
                }
                Expect::Expression(compiler.template(expect, At::Definition)?)
            }
            text => {
                if let Some(text) = text.filter(|text| looks_like_jq(text)) {
                    let message = format!("`expect` is the constant text `{text}`, not an expression");
                    let hint = format!("write `${{ {text} }}` if the value of the expression is meant");
                    compiler.push(Diagnostic::warning("FS-CONSTANT-EXPECT", expect.span, message).with_hint(hint));
                }
                Expect::Constant(value::from_node(expect))
            }
        }),
    };
    Some(Correlation { name: key.text.to_string(), from: from?, expect })
}

/// `.id`, `$context.id`: hardly ever meant as texts.
fn looks_like_jq(text: &str) -> bool {
    text.strip_prefix(['.', '$']).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

impl FilterOf {
    fn at(self) -> At {
        match self {
            Self::Schedule => At::Event,
            Self::Listen => At::Definition,
        }
    }
}
