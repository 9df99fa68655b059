//! Event filters: `with` and `correlate`, of `schedule.on` and of `listen`.
//!
//! A filter is found in two steps. By hash, across instances and versions: [`Filter::id`] is the same for the same text
//! in any definition, and [`Filter::keys`] are what waiters of such a filter are stored under. Then by value: the
//! machine looks again whether this filter of this instance really takes this event. A hash only finds candidates.

mod compile;

use std::sync::Arc;

use flagstop_schemas::{Hash16, StatusKind};

use crate::api::{Difference, Value};
use crate::event::Event;
use crate::expr::{self, Expression, NoVars, Template};
use crate::limits::Limits;
use crate::value;

/// A compiled filter. The same text is the same filter, in whatever definition.
#[derive(Debug, Clone)]
pub struct Filter {
    id: Hash16,
    attributes: Vec<Attribute>,
    correlations: Vec<Correlation>,
    order: Order,
    hears: Hears,
    /// Those of its definition: a filter is also asked where no instance is.
    limits: Arc<Limits>,
}

/// Whether another event may come before the one that this filter takes, and bind the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Its event is the first and only one.
    First,
    /// It may still wait when another event has bound the keys that have no `expect`.
    AfterOthers,
}

/// Commands and status events are for this engine and its observers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hears {
    /// Also these: the author has named the type.
    All,
    /// All others.
    Authors,
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

impl Filter {
    /// `any: []`: every event but commands and status events.
    pub(crate) fn every(limits: &Limits) -> Self {
        Self {
            id: Hash16::of("flagstop/filter", &[b"every event"]),
            attributes: Vec::new(),
            correlations: Vec::new(),
            order: Order::First,
            hears: Hears::Authors,
            limits: Arc::new(limits.clone()),
        }
    }

    /// Whether it is the one of `any: []`.
    pub(crate) fn is_every(&self) -> bool {
        self.attributes.is_empty()
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
        self.look(event).is_some()
    }

    /// The keys under which waiters for this event are stored: none when the filter does not take it. There are two when
    /// the wait may have been bound to its values by an event before it.
    #[must_use]
    pub fn keys(&self, event: &Event) -> Vec<Hash16> {
        let Some(found) = self.look(event) else { return Vec::new() };
        let awaited: Vec<Option<&Value>> = (self.correlations.iter().zip(&found))
            .map(|(correlation, found)| correlation.expect.is_some().then_some(found))
            .collect();
        let bound = (self.order == Order::AfterOthers).then(|| found.iter().map(Some).collect::<Vec<_>>());
        [Some(awaited), bound].into_iter().flatten().filter_map(|wanted| self.key(&wanted)).collect()
    }

    /// The key of a waiter; `wanted` holds for each correlation the value that it must have, as far as it is known.
    /// `None`: an awaited value is null, so that no event can ever fit. While only some of the open correlations are
    /// bound, the waiter is found as if none was.
    pub(crate) fn key(&self, wanted: &[Option<&Value>]) -> Option<Hash16> {
        if wanted.iter().flatten().any(|wanted| value::is_null(wanted)) {
            return None;
        }
        let id = self.id.0.as_bytes();
        let expecting: Vec<&Value> = self.expected(wanted).collect();
        let (kind, values): (&[u8], Vec<&Value>) = match wanted.iter().copied().collect::<Option<Vec<&Value>>>() {
            _ if wanted.is_empty() => return Some(Hash16::of("flagstop/bookmark", &[id])),
            Some(all) if self.order == Order::AfterOthers => (b"all", all),
            _ if expecting.is_empty() => (b"open", expecting),
            _ => (b"bound", expecting),
        };
        let values: Vec<Vec<u8>> = values.into_iter().map(value::canonical).collect();
        let parts: Vec<&[u8]> = [&id[..], kind].into_iter().chain(values.iter().map(Vec::as_slice)).collect();
        Some(Hash16::of("flagstop/bookmark", &parts))
    }

    fn expected<'v>(&self, wanted: &[Option<&'v Value>]) -> impl Iterator<Item = &'v Value> {
        let pairs = self.correlations.iter().zip(wanted);
        pairs.filter(|(correlation, _)| correlation.expect.is_some()).filter_map(|(_, wanted)| *wanted)
    }

    /// Whether what it waits for is named by a value, so that also what came before the instance was meant for it.
    pub(crate) fn is_bound(&self, wanted: &[Option<&Value>]) -> bool {
        self.expecting().next().is_some() || !wanted.is_empty() && wanted.iter().all(Option::is_some)
    }

    pub(crate) fn correlations(&self) -> &[Correlation] {
        &self.correlations
    }

    /// The correlations with an awaited value.
    pub(crate) fn expecting(&self) -> impl Iterator<Item = (&Correlation, &Expect)> {
        self.correlations.iter().filter_map(|correlation| Some((correlation, correlation.expect.as_ref()?)))
    }

    /// The second look, by value, with all that the instance knows. Gives the value of each correlation.
    pub(crate) fn takes(&self, event: &Event, wanted: &[Option<&Value>], vars: &dyn expr::Vars) -> Option<Vec<Value>> {
        if !self.hears(event) || !self.attributes.iter().all(|attribute| attribute.fits(event, vars, &self.limits)) {
            return None;
        }
        let found = self.values(event)?;
        let fits =
            found.iter().zip(wanted).all(|(found, wanted)| wanted.is_none_or(|wanted| value::equal(wanted, found)));
        fits.then_some(found)
    }

    /// The first look, without an instance. Gives the value of each correlation.
    fn look(&self, event: &Event) -> Option<Vec<Value>> {
        let fits = |attribute: &Attribute| {
            attribute.reads() == Reads::Instance || attribute.fits(event, &NoVars, &self.limits)
        };
        if !self.hears(event) || !self.attributes.iter().all(fits) {
            return None;
        }
        let found = self.values(event)?;
        let constants_fit =
            self.correlations.iter().zip(&found).all(|(correlation, found)| match &correlation.expect {
                Some(Expect::Constant(wanted)) => value::equal(wanted, found),
                _ => true,
            });
        constants_fit.then_some(found)
    }

    /// Where the event differs from this filter, as far as the event alone can tell, for people.
    pub(crate) fn differences(&self, event: &Event, wanted: &[Option<&Value>]) -> Vec<Difference> {
        let attributes = self
            .attributes
            .iter()
            .filter(|attribute| attribute.reads() == Reads::Event && !attribute.fits(event, &NoVars, &self.limits));
        let attributes = attributes.map(|attribute| Difference {
            name: attribute.name.clone(),
            awaited: match &attribute.test {
                Test::Constant(awaited) => Some(value::to_json(awaited)),
                Test::Expression { .. } | Test::Shape { .. } => None,
            },
            found: value::to_json(attribute.found(event)),
        });
        let keys = self.correlations.iter().zip(wanted).filter_map(|(correlation, wanted)| {
            let found = correlation.value(event, &self.limits);
            let fits = found.as_ref().is_some_and(|found| wanted.is_none_or(|wanted| value::equal(wanted, found)));
            (!fits).then(|| Difference {
                name: correlation.name.clone(),
                awaited: wanted.map(value::to_json),
                found: found.as_ref().map_or_else(|| "null".to_owned(), value::to_json),
            })
        });
        attributes.chain(keys).collect()
    }

    /// Every correlation needs a value.
    fn values(&self, event: &Event) -> Option<Vec<Value>> {
        self.correlations.iter().map(|correlation| correlation.value(event, &self.limits)).collect()
    }

    fn hears(&self, event: &Event) -> bool {
        self.hears == Hears::All || !is_internal(&event.envelope().ty)
    }

    /// Whether it asks for something that only the waiting instance knows.
    pub(crate) fn reads_instance(&self) -> bool {
        self.attributes.iter().any(|attribute| attribute.reads() == Reads::Instance)
    }
}

fn is_internal(ty: &str) -> bool {
    ty.starts_with("io.flagstop.command.") || StatusKind::from_wire_type(ty).is_some()
}

impl Attribute {
    fn reads(&self) -> Reads {
        match self.test {
            Test::Constant(_) => Reads::Event,
            Test::Expression { reads, .. } | Test::Shape { reads, .. } => reads,
        }
    }

    /// What the event has under this name.
    fn found<'e>(&self, event: &'e Event) -> &'e Value {
        if self.name == "data" { event.data() } else { value::get(event.value(), &self.name).unwrap_or(&Value::Null) }
    }

    fn fits(&self, event: &Event, vars: &dyn expr::Vars, limits: &Limits) -> bool {
        let found = self.found(event);
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
    pub(crate) fn value(&self, event: &Event, limits: &Limits) -> Option<Value> {
        self.from.eval(event.value(), &NoVars, limits).ok().filter(|found| !value::is_null(found))
    }
}
