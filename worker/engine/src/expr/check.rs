//! What an expression uses, found in its syntax tree before it is compiled; and two small changes to the tree.
//!
//! Recursion here follows the tree, whose depth is bounded by the number of tokens.

use super::SecretUse;
use super::library::{Signature, is_variable};
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::Part;

/// What a text uses from outside itself.
#[derive(Default)]
pub(super) struct Uses<'s> {
    /// Filters that are not defined in the text, each once.
    pub(super) calls: Vec<(&'s str, usize)>,
    /// Variables that are not bound in the text, with their `$`, each once.
    pub(super) variables: Vec<&'s str>,
    pub(super) secrets: SecretUse,
}

/// What a definition of the library calls.
pub(super) fn calls_of(def: &mut Def<&'static str>) -> Vec<Signature> {
    let mut walk = Walk::default();
    walk.def(def);
    let itself = (def.name, def.args.len());
    walk.uses.calls.into_iter().filter(|call| *call != itself).map(|(name, arity)| (name.to_owned(), arity)).collect()
}

/// What a text uses. `$secret` becomes `$secrets` in it, and recursion with filters as arguments becomes visible on the
/// stack (see [`Walk::call`]).
pub(super) fn uses<'s>(text: &'s str, term: &mut Term<&'s str>) -> Uses<'s> {
    let mut walk = Walk { text, ..Walk::default() };
    walk.term(term);
    walk.uses
}

#[derive(Default)]
struct Walk<'s> {
    /// All of it, to tell lines.
    text: &'s str,
    uses: Uses<'s>,
    filters: Vec<Local<'s>>,
    variables: Vec<&'s str>,
}

/// A filter that is defined in the text.
struct Local<'s> {
    name: &'s str,
    arity: usize,
    /// Inside its own body, and with a parameter that is a filter.
    recursion_nests: bool,
    /// The variable of which it is the other form: a parameter `$x` can be called as `x`, too.
    variable: Option<&'s str>,
}

impl<'s> Walk<'s> {
    fn def(&mut self, def: &mut Def<&'s str>) {
        let takes_filters = def.args.iter().any(|parameter| !is_variable(parameter));
        self.filters.push(Local {
            name: def.name,
            arity: def.args.len(),
            recursion_nests: takes_filters,
            variable: None,
        });
        let (filters, variables) = (self.filters.len(), self.variables.len());
        for parameter in &def.args {
            if is_variable(parameter) {
                self.variables.push(parameter);
                let name = &parameter[1..];
                self.filters.push(Local { name, arity: 0, recursion_nests: false, variable: Some(parameter) });
            } else {
                self.filters.push(Local { name: parameter, arity: 0, recursion_nests: false, variable: None });
            }
        }
        self.term(&mut def.body);
        self.filters.truncate(filters);
        self.variables.truncate(variables);
        if let Some(itself) = self.filters.last_mut() {
            itself.recursion_nests = false;
        }
    }

    fn term(&mut self, term: &mut Term<&'s str>) {
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) | Term::Arr(None) => {}
            Term::Str(format, parts) => {
                if let Some(format) = format {
                    self.use_filter(format, 0);
                }
                for part in parts {
                    if let StrPart::Term(term) = part {
                        self.term(term);
                    }
                }
            }
            Term::Arr(Some(inner)) | Term::Neg(inner) | Term::Label(_, inner) => self.term(inner),
            Term::Obj(entries) => entries.iter_mut().for_each(|(key, item)| self.entry(key, item)),
            Term::BinOp(left, BinaryOp::Pipe(Some(pattern)), right) => {
                self.term(left);
                self.bound(pattern, |walk| walk.term(right));
            }
            Term::BinOp(left, _, right) => {
                self.term(left);
                self.term(right);
            }
            Term::Fold(_, source, pattern, steps) => {
                self.term(source);
                let inits = steps.len().min(1);
                let (init, rest) = steps.split_at_mut(inits);
                init.iter_mut().for_each(|step| self.term(step));
                self.bound(pattern, |walk| rest.iter_mut().for_each(|step| walk.term(step)));
            }
            Term::TryCatch(inner, handler) => {
                self.term(inner);
                handler.iter_mut().for_each(|handler| self.term(handler));
            }
            Term::IfThenElse(branches, otherwise) => {
                for (condition, then) in branches {
                    self.term(condition);
                    self.term(then);
                }
                otherwise.iter_mut().for_each(|otherwise| self.term(otherwise));
            }
            Term::Def(defs, inner) => {
                let filters = self.filters.len();
                defs.iter_mut().for_each(|def| self.def(def));
                self.term(inner);
                self.filters.truncate(filters);
            }
            Term::Call(..) => self.call(term),
            Term::Var(name) if *name == "$__loc__" => {
                *term = self.line(name);
                self.use_filter("tonumber", 0);
            }
            Term::Var(name) => {
                if self.use_variable(name) {
                    self.uses.secrets.whole = true;
                }
            }
            Term::Path(inner, path) => {
                self.path_root(inner, path.0.first().map(|(part, _)| part));
                for (part, _) in &mut path.0 {
                    match part {
                        Part::Index(index) => self.term(index),
                        Part::Range(from, upto) => from.iter_mut().chain(upto).for_each(|bound| self.term(bound)),
                    }
                }
            }
        }
    }

    /// A call. A filter that calls itself with filters as arguments keeps each caller's variables alive, in a list that
    /// is dropped recursively. As a tail call it would do so without using the stack while it runs, out of the meter's
    /// sight: so it is made no tail call.
    fn call(&mut self, term: &mut Term<&'s str>) {
        let Term::Call(name, arguments) = term else { return };
        arguments.iter_mut().for_each(|argument| self.term(argument));
        let local = self.filters.iter().rev().find(|local| local.name == *name && local.arity == arguments.len());
        match local {
            None => self.use_filter(name, arguments.len()),
            Some(Local { recursion_nests: true, .. }) => {
                let call = std::mem::take(term);
                *term = Term::BinOp(Box::new(call), BinaryOp::Pipe(None), Box::new(Term::Id));
            }
            Some(Local { variable: Some(variable), .. }) => *term = Term::Var(variable),
            Some(_) => {}
        }
    }

    /// `$__loc__`: the line of the text on which it stands.
    fn line(&self, name: &str) -> Term<&'s str> {
        let at = jaq_core::load::span(self.text, name).start;
        let line = 1 + self.text[..at].bytes().filter(|byte| *byte == b'\n').count();
        let digits: Vec<_> = line.to_string().chars().map(StrPart::Char).collect();
        let number = Term::BinOp(
            Box::new(Term::Str(None, digits)),
            BinaryOp::Pipe(None),
            Box::new(Term::Call("tonumber", Vec::new())),
        );
        let text = |text| Term::Str(None, vec![StrPart::Str(text)]);
        Term::Obj(vec![(text("file"), Some(text("<top-level>"))), (text("line"), Some(number))])
    }

    /// `{$x}` is `{x: $x}`.
    fn entry(&mut self, key: &mut Term<&'s str>, item: &mut Option<Term<&'s str>>) {
        if let (Term::Var(name), None) = (&key, &item) {
            let plain = &name[1..];
            *item = Some(Term::Var(name));
            *key = Term::Str(None, vec![StrPart::Str(plain)]);
        }
        self.term(key);
        item.iter_mut().for_each(|item| self.term(item));
    }

    /// What a path begins with; a secret that is named right there is noted by its name.
    fn path_root(&mut self, root: &mut Term<&'s str>, first: Option<&Part<Term<&'s str>>>) {
        if let Term::Var(variable) = root
            && *variable != "$__loc__"
        {
            let secrets = self.use_variable(variable);
            match first {
                Some(Part::Index(Term::Str(None, parts))) if secrets => match parts.as_slice() {
                    [StrPart::Str(name)] => {
                        if !self.uses.secrets.names.iter().any(|known| known == name) {
                            self.uses.secrets.names.push((*name).to_owned());
                        }
                    }
                    _ => self.uses.secrets.whole = true,
                },
                _ => self.uses.secrets.whole |= secrets,
            }
        } else {
            self.term(root);
        }
    }

    /// Notes a variable; true if it is `$secrets`.
    fn use_variable(&mut self, name: &mut &'s str) -> bool {
        if self.variables.contains(name) {
            return false;
        }
        if *name == "$secret" {
            *name = "$secrets";
        }
        if !self.uses.variables.contains(name) {
            self.uses.variables.push(name);
        }
        *name == "$secrets"
    }

    fn use_filter(&mut self, name: &'s str, arity: usize) {
        if !self.uses.calls.contains(&(name, arity)) {
            self.uses.calls.push((name, arity));
        }
    }

    /// With the variables of a pattern bound.
    fn bound(&mut self, pattern: &mut Pattern<&'s str>, inside: impl FnOnce(&mut Self)) {
        let variables = self.variables.len();
        let mut names = Vec::new();
        self.pattern(pattern, &mut names);
        self.variables.extend(names);
        inside(self);
        self.variables.truncate(variables);
    }

    fn pattern(&mut self, pattern: &mut Pattern<&'s str>, names: &mut Vec<&'s str>) {
        match pattern {
            Pattern::Var(name) => names.push(name),
            Pattern::Arr(items) => items.iter_mut().for_each(|item| self.pattern(item, names)),
            Pattern::Obj(entries) => {
                for (key, item) in entries {
                    self.term(key);
                    self.pattern(item, names);
                }
            }
        }
    }
}
