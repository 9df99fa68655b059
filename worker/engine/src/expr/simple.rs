//! Expressions that have exactly one result whatever happens, which most are: they run without the interpreter's
//! iterators, many times faster. Everything else is left to jaq.
//!
//! It must never give another result than jaq would; a test holds the two against each other.

use super::natives;
use super::val::{Error, ObjectMaker, V};
use crate::value::{self, Value};
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::{Cmp, Math};
use jaq_core::path::{Opt, Part};
use jaq_core::{ValR, ValT};

/// An expression with exactly one result, or an error.
#[derive(Debug)]
pub(super) enum Simple {
    Input,
    /// A variable, by its place among those that are bound.
    Variable(usize),
    Constant(Constant),
    Text(Vec<Simple>),
    Array(Vec<Simple>),
    Object(Vec<(Simple, Simple)>),
    Index(Box<Simple>, Box<Simple>),
    /// `.a.b` and `$x.a.b`: nothing that is only passed through is taken hold of.
    Keys(Root, Vec<Constant>),
    Slice(Box<Simple>, Option<Box<Simple>>, Option<Box<Simple>>),
    Negated(Box<Simple>),
    Math(Box<Simple>, Math, Box<Simple>),
    Compared(Box<Simple>, Cmp, Box<Simple>),
    /// `and`, `or`: the second counts only if the first is not this.
    Logic(Box<Simple>, bool, Box<Simple>),
    Alternative(Box<Simple>, Box<Simple>),
    If(Vec<(Simple, Simple)>, Option<Box<Simple>>),
    Piped(Box<Simple>, Box<Simple>),
    Bound(Box<Simple>, Box<Simple>),
    Call(fn(&V) -> ValR<V>),
    CallWith(fn(&V, &V) -> ValR<V>, Box<Simple>),
}

/// A constant; as data, since what is known about a value belongs to one evaluation.
#[derive(Debug)]
pub(super) struct Constant(V);

impl std::fmt::Debug for V {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

/// Where a path of keys begins.
#[derive(Debug, Clone, Copy)]
pub(super) enum Root {
    Input,
    Variable(usize),
}

/// Makes it, if the term is simple. `variables` are those that are given from outside, with their `$`.
pub(super) fn simple(term: &Term<&str>, variables: &[&str]) -> Option<Simple> {
    Maker { bound: variables.to_vec() }.term(term)
}

struct Maker<'s> {
    bound: Vec<&'s str>,
}

impl<'s> Maker<'s> {
    fn term(&mut self, term: &Term<&'s str>) -> Option<Simple> {
        Some(match term {
            Term::Id => Simple::Input,
            Term::Num(digits) => Simple::Constant(Constant(V::from_num(digits).ok()?)),
            Term::Str(None, parts) => self.text(parts)?,
            Term::Var(name) => Simple::Variable(self.bound.iter().rposition(|bound| bound == name)?),
            Term::Arr(None) => Simple::Array(Vec::new()),
            Term::Arr(Some(inner)) => {
                let mut items = Vec::new();
                self.items(inner, &mut items)?;
                Simple::Array(items)
            }
            Term::Obj(entries) => {
                let entry = |(key, item): &(_, Option<_>)| self.entry(key, item.as_ref());
                Simple::Object(entries.iter().map(entry).collect::<Option<_>>()?)
            }
            Term::Neg(inner) => Simple::Negated(self.boxed(inner)?),
            Term::BinOp(left, BinaryOp::Pipe(Some(Pattern::Var(name))), right) => {
                let left = self.boxed(left)?;
                self.bound.push(name);
                let right = self.boxed(right);
                self.bound.pop();
                Simple::Bound(left, right?)
            }
            Term::BinOp(left, op, right) => {
                let (left, right) = (self.boxed(left), self.boxed(right));
                match op {
                    BinaryOp::Pipe(None) => Simple::Piped(left?, right?),
                    BinaryOp::Math(op) => Simple::Math(left?, *op, right?),
                    BinaryOp::Cmp(op) => Simple::Compared(left?, *op, right?),
                    BinaryOp::And => Simple::Logic(left?, false, right?),
                    BinaryOp::Or => Simple::Logic(left?, true, right?),
                    BinaryOp::Alt => Simple::Alternative(left?, right?),
                    _ => return None,
                }
            }
            Term::IfThenElse(branches, otherwise) => {
                let branch = |(condition, then): &(_, _)| Some((self.term(condition)?, self.term(then)?));
                let branches = branches.iter().map(branch).collect::<Option<_>>()?;
                let otherwise = match otherwise {
                    Some(otherwise) => Some(self.boxed(otherwise)?),
                    None => None,
                };
                Simple::If(branches, otherwise)
            }
            Term::Call(name, arguments) => match arguments.as_slice() {
                [] => Simple::Call(natives::unary(name)?),
                [argument] => Simple::CallWith(natives::binary(name)?, self.boxed(argument)?),
                _ => return None,
            },
            Term::Path(root, path) => {
                let mut at = self.term(root)?;
                for (part, opt) in &path.0 {
                    let Opt::Essential = opt else { return None };
                    at = match part {
                        Part::Index(index) => indexed(at, self.term(index)?),
                        Part::Range(None, None) => return None,
                        Part::Range(from, upto) => Simple::Slice(Box::new(at), self.bound(from)?, self.bound(upto)?),
                    };
                }
                at
            }
            _ => return None,
        })
    }

    fn boxed(&mut self, term: &Term<&'s str>) -> Option<Box<Simple>> {
        self.term(term).map(Box::new)
    }

    /// A bound of a slice, which may be missing.
    #[allow(clippy::option_option)]
    fn bound(&mut self, term: &Option<Term<&'s str>>) -> Option<Option<Box<Simple>>> {
        match term {
            Some(term) => self.boxed(term).map(Some),
            None => Some(None),
        }
    }

    /// `[a, b, c]`
    fn items(&mut self, term: &Term<&'s str>, items: &mut Vec<Simple>) -> Option<()> {
        match term {
            Term::BinOp(left, BinaryOp::Comma, right) => {
                self.items(left, items)?;
                self.items(right, items)
            }
            other => {
                items.push(self.term(other)?);
                Some(())
            }
        }
    }

    fn entry(&mut self, key: &Term<&'s str>, item: Option<&Term<&'s str>>) -> Option<(Simple, Simple)> {
        let made = self.term(key)?;
        match item {
            Some(item) => Some((made, self.term(item)?)),
            // `{a}`
            None => match key {
                Term::Str(None, _) => {
                    let again = self.term(key)?;
                    Some((made, indexed(Simple::Input, again)))
                }
                _ => None,
            },
        }
    }

    fn text(&mut self, parts: &[StrPart<&'s str, Term<&'s str>>]) -> Option<Simple> {
        let mut made = Vec::new();
        let mut constant = String::new();
        for part in parts {
            match part {
                StrPart::Str(text) => constant.push_str(text),
                StrPart::Char(c) => constant.push(*c),
                StrPart::Term(inner) => {
                    if !constant.is_empty() {
                        made.push(text_constant(std::mem::take(&mut constant)));
                    }
                    made.push(self.term(inner)?);
                }
            }
        }
        if made.is_empty() {
            return Some(text_constant(constant));
        }
        if !constant.is_empty() {
            made.push(text_constant(constant));
        }
        Some(Simple::Text(made))
    }
}

fn indexed(root: Simple, index: Simple) -> Simple {
    match (root, index) {
        (root, Simple::Constant(key)) if key.0.as_text().is_some() => match root {
            Simple::Input => Simple::Keys(Root::Input, vec![key]),
            Simple::Variable(at) => Simple::Keys(Root::Variable(at), vec![key]),
            Simple::Keys(root, mut keys) => {
                keys.push(key);
                Simple::Keys(root, keys)
            }
            root => Simple::Index(Box::new(root), Box::new(Simple::Constant(key))),
        },
        (root, index) => Simple::Index(Box::new(root), Box::new(index)),
    }
}

/// The value below some keys.
fn below(root: &V, keys: &[Constant]) -> ValR<V> {
    let mut at = &root.v;
    for (passed, Constant(key)) in keys.iter().enumerate() {
        super::meter::step();
        match at {
            Value::Obj(map) => match value::lookup_key(map, &key.v) {
                Some(item) => at = item,
                None => return keys[passed + 1..].iter().try_fold(V::NULL, |null, _| Ok(null.null_below())),
            },
            _ => {
                return keys[passed..].iter().try_fold(root.child(at.clone()), |v, Constant(key)| v.index(key));
            }
        }
    }
    Ok(if std::ptr::eq(at, &root.v) { root.clone() } else { root.child(at.clone()) })
}

fn text_constant(text: String) -> Simple {
    Simple::Constant(Constant(V::paid_text(text.into())))
}

impl Simple {
    /// Its result; `bound` are the values of the variables.
    pub(super) fn eval(&self, input: &V, bound: &mut Vec<V>) -> ValR<V> {
        super::meter::step();
        Ok(match self {
            Self::Input => input.clone(),
            Self::Variable(at) => bound[*at].clone(),
            Self::Constant(constant) => constant.0.clone(),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    let part = part.eval(input, bound)?.into_string();
                    text.push_str(natives::text(&part)?);
                }
                V::text(text)
            }
            Self::Array(items) => {
                let items = items.iter().map(|item| item.eval(input, bound)).collect::<Result<Vec<V>, Error>>()?;
                V::array(items)
            }
            Self::Object(entries) => {
                let mut object = ObjectMaker::with_capacity(entries.len());
                for (key, item) in entries {
                    let key = key.eval(input, bound)?;
                    object.insert(key, item.eval(input, bound)?)?;
                }
                object.made()
            }
            Self::Keys(Root::Input, keys) => below(input, keys)?,
            Self::Keys(Root::Variable(at), keys) => below(&bound[*at], keys)?,
            Self::Index(root, index) => {
                let index = index.eval(input, bound)?;
                root.eval(input, bound)?.index(&index)?
            }
            Self::Slice(root, from, upto) => {
                let root = root.eval(input, bound)?;
                let from = from.as_ref().map(|from| from.eval(input, bound)).transpose()?;
                let upto = upto.as_ref().map(|upto| upto.eval(input, bound)).transpose()?;
                root.range(from.as_ref()..upto.as_ref())?
            }
            Self::Negated(inner) => (-inner.eval(input, bound)?)?,
            Self::Math(left, op, right) => {
                let left = left.eval(input, bound)?;
                let right = right.eval(input, bound)?;
                op.run(left, right)?
            }
            Self::Compared(left, op, right) => {
                let left = left.eval(input, bound)?;
                let right = right.eval(input, bound)?;
                op.run(&left, &right).into()
            }
            Self::Logic(left, stop, right) => {
                if left.eval(input, bound)?.as_bool() == *stop {
                    (*stop).into()
                } else {
                    right.eval(input, bound)?.as_bool().into()
                }
            }
            Self::Alternative(left, right) => {
                let before = bound.len();
                match left.eval(input, bound) {
                    Ok(found) if found.as_bool() => found,
                    _ => {
                        bound.truncate(before);
                        right.eval(input, bound)?
                    }
                }
            }
            Self::If(branches, otherwise) => {
                for (condition, then) in branches {
                    if condition.eval(input, bound)?.as_bool() {
                        return then.eval(input, bound);
                    }
                }
                match otherwise {
                    Some(otherwise) => otherwise.eval(input, bound)?,
                    None => input.clone(),
                }
            }
            Self::Piped(left, right) => {
                let between = left.eval(input, bound)?;
                right.eval(&between, bound)?
            }
            Self::Bound(left, right) => {
                let value = left.eval(input, bound)?;
                bound.push(value);
                let result = right.eval(input, bound)?;
                bound.pop();
                result
            }
            Self::Call(filter) => filter(input)?,
            Self::CallWith(filter, argument) => {
                let argument = argument.eval(input, bound)?;
                filter(input, &argument)?
            }
        })
    }
}
