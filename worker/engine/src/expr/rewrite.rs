//! Where jaq evaluates otherwise than jq, the syntax tree is rewritten before it is compiled: the order of several
//! results, what a fold does with several results or none, and assignments to `first(…)` and the like.
//!
//! Almost every expression stays as it is: only what can have several results is touched.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Opt, Part, Path};
use std::ops::BitAnd;

/// Names that no text can hold, for results that are kept.
const KEPT: [&str; 8] = ["$!0", "$!1", "$!2", "$!3", "$!4", "$!5", "$!6", "$!7"];

/// Rewrites a term in place.
pub(super) fn rewrite(term: &mut Term<&str>) {
    let mut own = Vec::new();
    own_names(term, &mut own);
    Rewrite { own }.term(term);
}

/// How many results a term may have.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Count {
    none: bool,
    many: bool,
}

impl Count {
    const ONE: Self = Self { none: false, many: false };
    const ANY: Self = Self { none: true, many: true };
}

/// Both, one inside the other; for one of the two, whichever it is, the same holds.
impl BitAnd for Count {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self { none: self.none || other.none, many: self.many || other.many }
    }
}

/// Filters that give one result whatever their input, and one for each combination of their arguments' results.
const SINGLE: [&str; 62] = [
    "length",
    "utf8bytelength",
    "tostring",
    "tojson",
    "fromjson",
    "tonumber",
    "type",
    "keys",
    "keys_unsorted",
    "add",
    "any",
    "all",
    "not",
    "floor",
    "ceil",
    "round",
    "sqrt",
    "fabs",
    "abs",
    "trunc",
    "sort",
    "reverse",
    "unique",
    "min",
    "max",
    "first",
    "last",
    "to_entries",
    "from_entries",
    "flatten",
    "transpose",
    "ascii_downcase",
    "ascii_upcase",
    "explode",
    "implode",
    "trim",
    "ltrim",
    "rtrim",
    "ltrimstr",
    "rtrimstr",
    "startswith",
    "endswith",
    "has",
    "contains",
    "inside",
    "index",
    "rindex",
    "indices",
    "join",
    "getpath",
    "todate",
    "fromdate",
    "gmtime",
    "mktime",
    "strftime",
    "strptime",
    "infinite",
    "nan",
    "true",
    "false",
    "null",
    "pow",
];

/// Filters that give one result whatever their arguments do.
const COLLECTING: [&str; 6] = ["map", "sort_by", "group_by", "unique_by", "min_by", "max_by"];

/// Filters of several numbers.
const MATHEMATICAL: [&str; 15] = [
    "pow",
    "atan2",
    "fmod",
    "fmin",
    "fmax",
    "fma",
    "ldexp",
    "scalb",
    "scalbln",
    "hypot",
    "copysign",
    "drem",
    "nextafter",
    "nexttoward",
    "fdim",
];

/// Filters to which jaq cannot assign.
const UNASSIGNABLE: [(&str, usize); 5] = [("first", 1), ("last", 1), ("limit", 2), ("skip", 2), ("nth", 2)];

/// Filters that only this module calls.
pub(super) const CALLED: [&str; 2] = ["_modify", "_stepped"];

struct Rewrite<'s> {
    /// The filters that the text defines: nothing is known about them.
    own: Vec<&'s str>,
}

impl<'s> Rewrite<'s> {
    fn term(&self, term: &mut Term<&'s str>) {
        for_each_child(term, &mut |child| self.term(child));
        match term {
            Term::BinOp(_, BinaryOp::Math(_) | BinaryOp::Cmp(_), _) => self.operation(term),
            Term::BinOp(_, op, _) if is_assignment(op) => self.assignment(term),
            Term::Str(_, parts) if parts.len() > 1 => self.text(term),
            Term::Call(name, arguments) if arguments.len() > 1 && MATHEMATICAL.contains(name) => self.call(term),
            // Not to run for ever with a step of 0.
            Term::Call(name, arguments) if *name == "range" && arguments.len() == 3 && !self.own.contains(name) => {
                *name = "_stepped";
            }
            Term::Fold(_, _, _, steps) if steps.len() > 1 && self.count(&steps[1]) != Count::ONE => fold(term),
            _ => {}
        }
    }

    fn assignment(&self, term: &mut Term<&'s str>) {
        if let Term::BinOp(path, ..) = term
            && self.needs_paths(path)
        {
            assignment(term);
        }
    }

    /// Of two operands with several results jq takes the right one's in the outer loop.
    fn operation(&self, term: &mut Term<&'s str>) {
        let Term::BinOp(left, _, right) = term else { return };
        if self.count(left).many && self.count(right).many {
            let right = std::mem::replace(&mut **right, Term::Var(KEPT[0]));
            *term = bound(right, KEPT[0], std::mem::take(term));
        }
    }

    /// Of several interpolations the last is in the outer loop.
    fn text(&self, term: &mut Term<&'s str>) {
        let Term::Str(_, parts) = term else { return };
        let several = parts.iter_mut().filter_map(|part| match part {
            StrPart::Term(inner) if self.count(inner).many => Some(inner),
            _ => None,
        });
        reordered(term_parts(several.collect()), term);
    }

    fn call(&self, term: &mut Term<&'s str>) {
        let Term::Call(name, arguments) = term else { return };
        if !self.own.contains(name) {
            let several = arguments.iter_mut().filter(|argument| self.count(argument).many);
            reordered(term_parts(several.collect()), term);
        }
    }

    fn needs_paths(&self, path: &mut Term<&'s str>) -> bool {
        let mut found = match path {
            Term::Call(name, arguments) => UNASSIGNABLE.contains(&(*name, arguments.len())) && !self.own.contains(name),
            Term::Label(..) => true,
            _ => false,
        };
        for_each_child(path, &mut |child| found = found || self.needs_paths(child));
        found
    }

    fn count(&self, term: &Term<&'s str>) -> Count {
        let all = |terms: &mut dyn Iterator<Item = &Term<&'s str>>| {
            terms.fold(Count::ONE, |count, term| count & self.count(term))
        };
        match term {
            Term::Id | Term::Num(_) | Term::Arr(_) | Term::Var(_) => Count::ONE,
            Term::Recurse | Term::Break(_) => Count::ANY,
            Term::Str(_, parts) => all(&mut parts.iter().filter_map(|part| match part {
                StrPart::Term(inner) => Some(inner),
                _ => None,
            })),
            Term::Obj(entries) => all(&mut entries.iter().flat_map(|(key, item)| std::iter::once(key).chain(item))),
            Term::Neg(inner) => self.count(inner),
            Term::BinOp(left, op, right) => match op {
                BinaryOp::Pipe(None | Some(Pattern::Var(_) | Pattern::Arr(_))) => self.count(left) & self.count(right),
                BinaryOp::Pipe(Some(Pattern::Obj(_))) | BinaryOp::Comma => Count::ANY,
                BinaryOp::Update => Count::ONE,
                BinaryOp::Assign | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt => self.count(right),
                _ => self.count(left) & self.count(right),
            },
            Term::Label(..) | Term::Def(..) => Count::ANY,
            Term::Fold(kind, _, _, steps) if *kind == "reduce" => {
                steps.first().map_or(Count::ANY, |init| self.count(init))
            }
            Term::Fold(..) => Count::ANY,
            Term::TryCatch(inner, handler) => {
                let handled = handler.as_ref().map_or(Count { none: true, many: false }, |handler| self.count(handler));
                self.count(inner) & handled
            }
            Term::IfThenElse(branches, otherwise) => {
                let each = branches.iter().flat_map(|(condition, then)| [condition, then]);
                all(&mut each.chain(otherwise.as_deref()))
            }
            Term::Call(name, _) if self.own.contains(name) => Count::ANY,
            Term::Call("select", arguments) => Count { none: true, ..all(&mut arguments.iter()) },
            Term::Call("empty" | "error", arguments) => Count { none: true, ..all(&mut arguments.iter()) },
            Term::Call("first" | "last", arguments) if arguments.len() == 1 => Count { none: true, many: false },
            Term::Call(name, _) if COLLECTING.contains(name) => Count::ONE,
            Term::Call(name, arguments) if SINGLE.contains(name) => all(&mut arguments.iter()),
            Term::Call(..) => Count::ANY,
            Term::Path(root, path) => path.0.iter().fold(self.count(root), |count, (part, opt)| {
                let of_part = match part {
                    Part::Index(index) => self.count(index),
                    Part::Range(None, None) => Count::ANY,
                    Part::Range(from, upto) => all(&mut from.iter().chain(upto)),
                };
                let optional = Count { none: matches!(opt, Opt::Optional), many: false };
                count & of_part & optional
            }),
        }
    }
}

fn is_assignment(op: &BinaryOp<&str>) -> bool {
    matches!(op, BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateMath(_) | BinaryOp::UpdateAlt)
}

/// `value as $name | inner`
fn bound<'s>(value: Term<&'s str>, name: &'s str, inner: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(value), BinaryOp::Pipe(Some(Pattern::Var(name))), Box::new(inner))
}

/// Takes out the terms that are to be kept in variables, if there are several.
fn term_parts<'s>(several: Vec<&mut Term<&'s str>>) -> Vec<Term<&'s str>> {
    if several.len() < 2 || several.len() > KEPT.len() {
        return Vec::new();
    }
    several.into_iter().zip(KEPT).map(|(part, name)| std::mem::replace(part, Term::Var(name))).collect()
}

/// The last of the parts in the outermost loop.
fn reordered<'s>(parts: Vec<Term<&'s str>>, term: &mut Term<&'s str>) {
    for (part, name) in parts.into_iter().zip(KEPT) {
        *term = bound(part, name, std::mem::take(term));
    }
}

/// The state is the last of the step's results, or null if there is none; `foreach` shows each.
fn fold(term: &mut Term<&str>) {
    let Term::Fold(kind, _, _, steps) = term else { return };
    let last = |of: Term<_>| Term::Path(Box::new(of), Path(vec![(Part::Index(Term::Num("-1")), Opt::Essential)]));
    let array = |of: Term<_>| Term::Arr(Some(Box::new(of)));
    let piped = |from: Term<_>, to: Term<_>| Term::BinOp(Box::new(from), BinaryOp::Pipe(None), Box::new(to));
    let step = std::mem::take(&mut steps[1]);
    if *kind == "reduce" {
        steps[1] = last(array(step));
        return;
    }
    steps[0] = piped(std::mem::take(&mut steps[0]), array(Term::Id));
    steps[1] = array(piped(last(Term::Id), step));
    let each = Term::Path(Box::new(Term::Id), Path(vec![(Part::Range(None, None), Opt::Essential)]));
    match steps.get_mut(2) {
        Some(shown) => *shown = piped(each, std::mem::take(shown)),
        None => steps.push(each),
    }
}

/// By way of paths, as jq defines it.
fn assignment(term: &mut Term<&str>) {
    let Term::BinOp(path, op, right) = term else { return };
    let (path, right) = (std::mem::take(&mut **path), std::mem::take(&mut **right));
    let kept = || Box::new(Term::Var(KEPT[0]));
    let modify = |path, step| Term::Call("_modify", vec![path, step]);
    *term = match op {
        BinaryOp::Assign => bound(right, KEPT[0], modify(path, *kept())),
        BinaryOp::UpdateMath(math) => {
            bound(right, KEPT[0], modify(path, Term::BinOp(Box::new(Term::Id), BinaryOp::Math(*math), kept())))
        }
        BinaryOp::UpdateAlt => {
            bound(right, KEPT[0], modify(path, Term::BinOp(Box::new(Term::Id), BinaryOp::Alt, kept())))
        }
        _ => modify(path, right),
    };
}

fn own_names<'s>(term: &mut Term<&'s str>, names: &mut Vec<&'s str>) {
    if let Term::Def(defs, _) = term {
        for Def { name, args, .. } in defs {
            names.push(name);
            names.extend(args.iter());
        }
    }
    for_each_child(term, &mut |child| own_names(child, names));
}

/// All terms directly inside.
fn for_each_child<'s>(term: &mut Term<&'s str>, visit: &mut dyn FnMut(&mut Term<&'s str>)) {
    match term {
        Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Arr(None) | Term::Var(_) => {}
        Term::Str(_, parts) => parts.iter_mut().for_each(|part| {
            if let StrPart::Term(inner) = part {
                visit(inner);
            }
        }),
        Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => visit(inner),
        Term::Obj(entries) => entries.iter_mut().for_each(|(key, item)| {
            visit(key);
            item.iter_mut().for_each(&mut *visit);
        }),
        Term::BinOp(left, op, right) => {
            visit(left);
            if let BinaryOp::Pipe(Some(pattern)) = op {
                for_each_key(pattern, visit);
            }
            visit(right);
        }
        Term::Fold(_, source, pattern, steps) => {
            visit(source);
            for_each_key(pattern, visit);
            steps.iter_mut().for_each(visit);
        }
        Term::TryCatch(inner, handler) => {
            visit(inner);
            handler.iter_mut().for_each(|handler| visit(handler));
        }
        Term::IfThenElse(branches, otherwise) => {
            for (condition, then) in branches {
                visit(condition);
                visit(then);
            }
            otherwise.iter_mut().for_each(|otherwise| visit(otherwise));
        }
        Term::Def(defs, inner) => {
            defs.iter_mut().for_each(|def| visit(&mut def.body));
            visit(inner);
        }
        Term::Call(_, arguments) => arguments.iter_mut().for_each(visit),
        Term::Path(root, path) => {
            visit(root);
            for (part, _) in &mut path.0 {
                match part {
                    Part::Index(index) => visit(index),
                    Part::Range(from, upto) => from.iter_mut().chain(upto).for_each(&mut *visit),
                }
            }
        }
    }
}

fn for_each_key<'s>(pattern: &mut Pattern<&'s str>, visit: &mut dyn FnMut(&mut Term<&'s str>)) {
    match pattern {
        Pattern::Var(_) => {}
        Pattern::Arr(items) => items.iter_mut().for_each(|item| for_each_key(item, visit)),
        Pattern::Obj(entries) => entries.iter_mut().for_each(|(key, item)| {
            visit(key);
            for_each_key(item, visit);
        }),
    }
}
