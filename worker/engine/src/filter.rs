//! Event filters: `with` and `correlate`, of `schedule.on` and of `listen`.
//!
//! A filter is found in two steps. By hash, across instances and versions: [`Filter::id`] is the same for the same text
//! in any definition, and [`Filter::keys`] are what waiters of such a filter are stored under. Then by value: the
//! machine looks again whether this filter of this instance really takes this event. A hash only finds candidates.

use std::sync::Arc;

use flagstop_schemas::Hash16;

use crate::api::Value;
use crate::diagnostic::Diagnostic;
use crate::event::Event;
use crate::expr::{self, Expression, NoVars, Template};
use crate::limits::Limits;
use crate::machine::vars::Vars;
use crate::plan::compiler::{At, Compiler};
use crate::plan::keys::Keys;
use crate::source::{Key, Node};
use crate::value;

/// A compiled filter. The same text is the same filter, in whatever definition.
#[derive(Debug, Clone)]
pub struct Filter {
    id: Hash16,
    attributes: Vec<Attribute>,
    correlations: Vec<Correlation>,
    /// Those of its definition: a filter is also asked where no instance is.
    limits: Arc<Limits>,
}

/// One condition of `with`.
#[derive(Debug, Clone)]
struct Attribute {
    name: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// The whole value must be equal.
    Constant(Value),
    /// The expression, with the attribute as `.`, must be true.
    Expression { expr: Expression, reads: Reads },
    /// `data` as an object with expressions in it, or (in loose mode) a text with some: evaluated with the attribute as
    /// `.`, it must be equal to the attribute.
    Shape { template: Template, reads: Reads },
}

/// What a condition looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// The event alone.
    Event,
    /// Also what only the waiting instance knows.
    Instance,
}

/// One entry of `correlate`.
#[derive(Debug, Clone)]
pub(crate) struct Correlation {
    pub(crate) name: String,
    from: Expression,
    pub(crate) expect: Option<Expect>,
}

/// The awaited value of a correlation.
#[derive(Debug, Clone)]
pub(crate) enum Expect {
    Constant(Value),
    /// Of the task's transformed input.
    Expression(Template),
}

/// Whose filter it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterOf {
    Schedule,
    Listen,
}

/// How the waiters of a filter can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Binding {
    /// No `correlate`.
    None,
    /// Only correlations whose value the first event decides.
    Open,
    /// At least one correlation with an awaited value.
    Bound,
}

impl Filter {
    pub(crate) fn compile(node: &Node, of: FilterOf, compiler: &mut Compiler<'_>) -> Option<Self> {
        compiler.mapping(node, FILTER)?;
        let with = compiler.required(node, "with", FILTER.of);
        let attributes = with.and_then(|with| attributes(with, of, compiler));
        let correlations = match node.get("correlate") {
            Some(correlate) => correlations(correlate, of, compiler),
            None => Some(Vec::new()),
        };
        // Key order and spelling of numbers don't make another filter.
        let id = Hash16::of("flagstop/filter", &[&value::canonical(&value::from_node(node))]);
        let limits = Arc::new(compiler.limits.clone());
        Some(Self { id, attributes: attributes?, correlations: correlations?, limits })
    }

    /// The filter's identity: the same for the same text.
    #[must_use]
    pub fn id(&self) -> Hash16 {
        self.id
    }

    /// The event type that it asks for, if that is a constant.
    #[must_use]
    pub fn event_type(&self) -> Option<&str> {
        self.attributes.iter().find_map(|attribute| match &attribute.test {
            Test::Constant(ty) if attribute.name == "type" => value::as_str(ty),
            _ => None,
        })
    }

    /// Whether an event fits, as far as the event alone can tell. A condition that reads the waiting instance counts as
    /// met; the instance decides it.
    #[must_use]
    pub fn accepts(&self, event: &Event) -> bool {
        self.attributes.iter().all(|attribute| match &attribute.test {
            Test::Expression { reads: Reads::Instance, .. } | Test::Shape { reads: Reads::Instance, .. } => true,
            _ => attribute.fits(event, &NoVars, &self.limits),
        }) && self.constants_fit(event)
    }

    /// The keys under which waiters for this event are stored: none when the filter does not take it.
    #[must_use]
    pub fn keys(&self, event: &Event) -> Vec<Hash16> {
        if !self.accepts(event) {
            return Vec::new();
        }
        let awaited: Option<Vec<Value>> =
            self.expecting().map(|(correlation, _)| correlation.value(event, &self.limits)).collect();
        awaited.and_then(|values| self.key(&values)).into_iter().collect()
    }

    /// The key of a waiter for these awaited values, one for each correlation with `expect`. `None`: a value is null, so
    /// that no event can ever fit.
    pub(crate) fn key(&self, awaited: &[Value]) -> Option<Hash16> {
        if awaited.iter().any(value::is_null) {
            return None;
        }
        let id = self.id.0.as_bytes();
        Some(match self.binding() {
            Binding::None => Hash16::of("flagstop/bookmark", &[id]),
            Binding::Open => Hash16::of("flagstop/bookmark", &[id, b"open"]),
            Binding::Bound => {
                let values: Vec<Vec<u8>> = awaited.iter().map(value::canonical).collect();
                let parts: Vec<&[u8]> =
                    [&id[..], b"bound"].into_iter().chain(values.iter().map(Vec::as_slice)).collect();
                Hash16::of("flagstop/bookmark", &parts)
            }
        })
    }

    pub(crate) fn binding(&self) -> Binding {
        if self.correlations.is_empty() {
            Binding::None
        } else if self.expecting().next().is_some() {
            Binding::Bound
        } else {
            Binding::Open
        }
    }

    pub(crate) fn correlations(&self) -> &[Correlation] {
        &self.correlations
    }

    /// The correlations with an awaited value.
    pub(crate) fn expecting(&self) -> impl Iterator<Item = (&Correlation, &Expect)> {
        self.correlations.iter().filter_map(|correlation| Some((correlation, correlation.expect.as_ref()?)))
    }

    /// The second look, by value, with all that the instance knows. Gives the value of each correlation.
    pub(crate) fn takes(&self, event: &Event, awaited: &[Value], vars: &Vars<'_>) -> Option<Vec<Value>> {
        if !self.attributes.iter().all(|attribute| attribute.fits(event, vars, &self.limits)) {
            return None;
        }
        let mut awaited = awaited.iter();
        self.correlations
            .iter()
            .map(|correlation| {
                let found = correlation.value(event, &self.limits)?;
                let fits = correlation.expect.is_none() || value::equal(awaited.next()?, &found);
                fits.then_some(found)
            })
            .collect()
    }

    /// Every correlation needs a value, and a constant one must be there already for `schedule.on`, which has no waiter.
    fn constants_fit(&self, event: &Event) -> bool {
        self.correlations.iter().all(|correlation| match &correlation.expect {
            Some(Expect::Constant(wanted)) => {
                correlation.value(event, &self.limits).is_some_and(|found| value::equal(wanted, &found))
            }
            _ => correlation.value(event, &self.limits).is_some(),
        })
    }
}

impl Attribute {
    fn fits(&self, event: &Event, vars: &dyn expr::Vars, limits: &Limits) -> bool {
        let found = if self.name == "data" {
            event.data()
        } else {
            value::get(event.value(), &self.name).unwrap_or(&Value::Null)
        };
        match &self.test {
            Test::Constant(wanted) => value::equal(wanted, found),
            // An expression that fails on this event, for want of a property for instance, does not take it.
            Test::Expression { expr, .. } => expr.test(found, vars, limits).unwrap_or(false),
            Test::Shape { template, .. } => {
                template.eval(found, vars, limits).is_ok_and(|wanted| value::equal(&wanted, found))
            }
        }
    }
}

impl Correlation {
    /// The event's value; null, missing or failing is none, as it matches nothing.
    fn value(&self, event: &Event, limits: &Limits) -> Option<Value> {
        self.from.eval(event.value(), &NoVars, limits).ok().filter(|found| !value::is_null(found))
    }
}

const FILTER: Keys = Keys { of: "an event filter", known: &["with", "correlate"], not_yet: &[] };
const CORRELATION: Keys = Keys { of: "a correlation", known: &["from", "expect"], not_yet: &[] };

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
