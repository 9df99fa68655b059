//! Strategies of a definition: what is wrong in them, and what is surely not meant.

use super::{Ends, Strategy};
use crate::diagnostic::Diagnostic;
use crate::filter::{Filter, FilterOf, Order};
use crate::plan::compiler::{At, Compiler};
use crate::plan::keys::Keys;
use crate::source::{Node, NodeValue};

const LISTEN_TO: Keys = Keys { of: "`listen.to`", known: &["one", "any", "all", "until"], not_yet: &[] };
const SCHEDULE_ON: Keys = Keys { of: "`schedule.on`", known: &["one", "any", "all", "until"], not_yet: &[] };
const UNTIL: Keys = Keys { of: "`until`", known: &["one", "any", "all"], not_yet: &[] };
const WAYS: [&str; 3] = ["one", "any", "all"];

/// One of `one`, `any` and `all` with its filters.
struct Way<'n> {
    word: &'static str,
    nodes: Vec<&'n Node>,
}

impl Strategy {
    pub(crate) fn compile(node: &Node, of: FilterOf, compiler: &mut Compiler<'_>) -> Option<Self> {
        let keys = of.keys();
        compiler.mapping(node, keys)?;
        let way = Way::of(node, keys, compiler);
        let until = node.get("until");
        if let (Some(until), Some(Way { word: word @ ("one" | "all"), .. })) = (until, &way) {
            compiler.error(
                "FS-VALUE",
                until,
                format!("`until` belongs to `any`, but this is `{word}`"),
                "leave `until` out, or listen to `any`",
            );
        }
        let (ends, stop) = match (way.as_ref()?.word, until) {
            // All of one is one.
            ("all", _) if way.as_ref()?.nodes.len() != 1 => (Some(Ends::All), None),
            ("any", Some(until)) => ends(until, of, compiler),
            _ => (Some(Ends::First), None),
        };
        let way = way?;
        let order = if matches!(ends, Some(Ends::First)) { Order::First } else { Order::AfterOthers };
        let filters = way.filters(of, order, compiler);
        let collecting = filters.len();
        let stopping = stop.map_or(Vec::new(), |stop| stop.filters(of, order, compiler));
        let filters = filters.into_iter().chain(stopping).collect::<Option<Vec<Filter>>>();
        Self::check_count(node, &filters, compiler)?;
        Some(Self::new(filters?, collecting, ends?))
    }

    fn new(filters: Vec<Filter>, collecting: usize, ends: Ends) -> Self {
        let mut names: Vec<String> = Vec::new();
        let mut number = |name: &str| {
            names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            })
        };
        let names_of = filters
            .iter()
            .map(|filter| filter.correlations().iter().map(|correlation| number(&correlation.name)).collect())
            .collect();
        Self { filters, collecting, ends, names, names_of }
    }

    /// A slot of an instance numbers its filters, and each may be a bookmark.
    fn check_count(node: &Node, filters: &Option<Vec<Filter>>, compiler: &mut Compiler<'_>) -> Option<()> {
        let (count, max) = (filters.as_ref().map_or(0, Vec::len), compiler.limits.strategy_filters_max);
        if count <= max {
            return Some(());
        }
        let message = format!("{count} filters, at most {max} are allowed");
        compiler.error(
            "FS-TOO-MANY",
            node,
            message,
            "let one filter take several types: `type: ${ startswith(\"…\") }`",
        );
        None
    }
}

impl<'n> Way<'n> {
    fn of(node: &'n Node, keys: Keys, compiler: &mut Compiler<'_>) -> Option<Self> {
        let mut found = WAYS.into_iter().filter_map(|word| Some((word, node.get(word)?)));
        let Some((word, value)) = found.next() else {
            compiler.error(
                "FS-MISSING-KEY",
                node,
                format!("{} needs `one`, `any` or `all`", keys.of),
                "write `one: { with: { type: … } }`",
            );
            return None;
        };
        if let Some((other, second)) = found.next() {
            let message = format!("{} has both `{word}` and `{other}`", keys.of);
            compiler.error("FS-VALUE", second, message, "keep one of them");
            return None;
        }
        let nodes = match (word, value.as_seq()) {
            ("one", _) => vec![value],
            (_, Some(items)) => items.iter().collect(),
            (_, None) => {
                compiler.wrong_type(value, &format!("`{word}`"), "a list of filters");
                return None;
            }
        };
        if word == "all" && nodes.is_empty() {
            let message = "`all: []` waits for nothing";
            let hint = "name the events, or write `any: []` for every event";
            compiler.push(Diagnostic::warning("FS-WAITS-FOR-NOTHING", value.span, message).with_hint(hint));
        }
        Some(Self { word, nodes })
    }

    fn filters(&self, of: FilterOf, order: Order, compiler: &mut Compiler<'_>) -> Vec<Option<Filter>> {
        if self.word == "any" && self.nodes.is_empty() {
            return vec![Some(Filter::every(compiler.limits))];
        }
        let compile = |node: &&Node| {
            let before = compiler.diagnostics.len();
            let filter = Filter::compile(node, of, order, compiler)?;
            if of == FilterOf::Listen && compiler.diagnostics.len() == before {
                check_correlated(node, &filter, compiler);
            }
            Some(filter)
        };
        self.nodes.iter().map(compile).collect()
    }
}

/// `until`: when to stop, and the filters that say so.
fn ends<'n>(until: &'n Node, of: FilterOf, compiler: &mut Compiler<'_>) -> (Option<Ends>, Option<Way<'n>>) {
    match &until.value {
        NodeValue::Str(_) => {
            let at = if of == FilterOf::Schedule { At::Event } else { At::Definition };
            (compiler.jq(until, "`until`", at).map(Ends::Condition), None)
        }
        NodeValue::Map(_) => {
            if let Some(nested) = until.get("until") {
                compiler.error("FS-VALUE", nested, "an `until` has no `until` of its own", "leave it out");
                return (None, None);
            }
            let way = compiler.mapping(until, UNTIL).and_then(|_| Way::of(until, UNTIL, compiler));
            let ends = way.as_ref().map(|way| if way.word == "all" { Ends::UntilAll } else { Ends::UntilOne });
            (ends, way)
        }
        _ => {
            let wanted = "a jq condition on the events so far, or a mapping of `one`, `any` or `all`";
            compiler.wrong_type(until, "`until`", wanted);
            (None, None)
        }
    }
}

/// Legal, but of many instances each takes the others' event.
fn check_correlated(node: &Node, filter: &Filter, compiler: &mut Compiler<'_>) {
    if !compiler.has_many_instances || filter.reads_instance() || node.get("correlate").is_some() {
        return;
    }
    let message = "there is no `correlate`: one event lets every instance that waits here go on";
    let hint = "add `correlate: { key: { from: .data.id, expect: '${ .id }' } }`, so that each takes its own";
    compiler.push(Diagnostic::warning("FS-UNCORRELATED", node.span, message).with_hint(hint));
}

impl FilterOf {
    fn keys(self) -> Keys {
        match self {
            Self::Listen => LISTEN_TO,
            Self::Schedule => SCHEDULE_ON,
        }
    }
}
