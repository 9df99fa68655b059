//! The filters that an expression may call, and linking: only what a text needs is compiled with it, so that loading
//! a definition with hundreds of expressions stays cheap.

use super::check;
use super::meter;
use super::natives;
use super::rewrite;
use super::val::V;
use jaq_core::Lut;
use jaq_core::data::{DataT, HasLut};
use jaq_core::load::parse::Def;
use jaq_core::native::{self, Fun};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Binds jaq to our values, and counts a step for each term that it runs.
pub(super) struct Jq;

impl DataT for Jq {
    type V<'a> = V;
    type Data<'a> = Program<'a>;
}

/// What runs.
#[derive(Clone, Copy)]
pub(super) struct Program<'a>(pub(super) &'a Lut<Jq>);

impl<'a> HasLut<'a, Jq> for Program<'a> {
    #[inline]
    fn lut(&self) -> &'a Lut<Jq> {
        meter::step();
        self.0
    }
}

/// What jq or jaq has and an expression has not, and what to do instead.
const REFUSED: [(&str, &str); 20] = [
    ("env", "the environment is out of reach: put the value into the input or a secret"),
    ("input", "there is one input only: `.`"),
    ("inputs", "there is one input only: `.`"),
    ("now", "expressions have no clock: use `$workflow.startedAt` or `$task.startedAt`"),
    ("localtime", "there is no local time zone: use `gmtime`"),
    ("strflocaltime", "there is no local time zone: use `strftime`"),
    ("halt", "use `then: end` or a `raise` task"),
    ("halt_error", "use a `raise` task, or `error`"),
    ("debug", "there is no debug output: use `output.as` or `export` to see a value"),
    ("stderr", "there is no standard error: use `output.as` or `export` to see a value"),
    ("builtins", "the names of filters are no data"),
    ("debug_empty", "there is no debug output"),
    ("stderr_empty", "there is no standard error"),
    ("input_filename", "there are no files"),
    ("input_line_number", "there are no files"),
    ("get_search_list", "there are no modules"),
    ("modulemeta", "there are no modules"),
    ("tobytes", "there are no byte strings: use `@base64`"),
    ("jn", "Bessel functions of higher order are not offered: their cost has no bound"),
    ("yn", "Bessel functions of higher order are not offered: their cost has no bound"),
];

/// What only the library itself calls.
const INNER: [&str; 17] = [
    "decode_base32",
    "decode_base64",
    "decode_uri",
    "encode_base32",
    "encode_base64",
    "encode_uri",
    "error_empty",
    "escape_csv",
    "escape_html",
    "escape_sh",
    "escape_tsv",
    "key_values",
    "matches",
    "max_by_or_empty",
    "min_by_or_empty",
    "split_",
    "split_matches",
];

/// Why a filter of this name is refused: what to do instead.
pub(super) fn refusal(name: &str) -> Option<&'static str> {
    REFUSED.iter().find(|(refused, _)| *refused == name).map(|(_, hint)| *hint)
}

/// Name and number of parameters.
pub(super) type Signature = (String, usize);

struct Library {
    defs: Vec<(Def, Vec<Signature>)>,
    by_signature: HashMap<Signature, Found>,
}

#[derive(Clone, Copy)]
enum Found {
    /// Written in jq, at this index.
    Def(usize),
    /// Written in Rust, at this index of [`natives`].
    Native(usize),
}

static LIBRARY: LazyLock<Library> = LazyLock::new(Library::load);

fn all_natives() -> impl Iterator<Item = Fun<Jq>> {
    let own = natives::all().into_iter().map(native::run::<Jq>);
    let theirs = jaq_core::funs().chain(jaq_std::base_funs()).chain(jaq_std::extra_funs());
    own.chain(theirs.filter(|(name, ..)| refusal(name).is_none()))
}

impl Library {
    fn load() -> Self {
        let own_natives = natives::all().len();
        let mut by_signature = HashMap::new();
        for (at, (name, parameters, _)) in all_natives().enumerate() {
            by_signature.entry((name.to_owned(), parameters.len())).or_insert(Found::Native(at));
        }
        let own = jaq_core::load::parse(include_str!("prelude.jq"), |parser| parser.defs());
        // A test compiles every definition.
        let own = own.expect("the prelude is jq");
        let theirs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
        let mut defs: Vec<(Def, Vec<Signature>)> = Vec::new();
        for mut def in own.into_iter().chain(theirs) {
            let signature = (def.name.to_owned(), def.args.len());
            // Ours come first: natives, then the prelude; of jaq's, definitions go before natives.
            let taken = match by_signature.get(&signature) {
                Some(Found::Def(_)) => true,
                Some(Found::Native(at)) => *at < own_natives,
                None => false,
            };
            if !taken && refusal(def.name).is_none() {
                let calls = check::calls_of(&mut def);
                by_signature.insert(signature, Found::Def(defs.len()));
                defs.push((def, calls));
            }
        }
        Self { defs, by_signature }
    }
}

/// Whether a text may call such a filter.
pub(super) fn knows(name: &str, parameters: usize) -> bool {
    (is_offered(name) || rewrite::CALLED.contains(&name))
        && LIBRARY.by_signature.contains_key(&(name.to_owned(), parameters))
}

/// The names of all filters that a text may call, and with how many parameters.
pub(super) fn names() -> impl Iterator<Item = (&'static str, usize)> {
    let all = LIBRARY.by_signature.keys().map(|(name, parameters)| (name.as_str(), *parameters));
    all.filter(|(name, _)| is_offered(name))
}

fn is_offered(name: &str) -> bool {
    !name.starts_with('_') && !INNER.contains(&name)
}

/// What a text needs: definitions, each after those that it calls, and natives.
#[derive(Default)]
pub(super) struct Linked {
    pub(super) defs: Vec<Def>,
    pub(super) natives: Vec<Fun<Jq>>,
}

/// Collects all that is reached from these calls.
pub(super) fn link(calls: &[Signature]) -> Linked {
    let mut order = Vec::new();
    let mut seen = vec![false; LIBRARY.defs.len()];
    let mut native_seen = Vec::new();
    for call in calls {
        visit(call, &mut seen, &mut order, &mut native_seen);
    }
    let natives = all_natives().enumerate().filter(|(at, _)| native_seen.contains(at)).map(|(_, fun)| fun);
    Linked { defs: order.into_iter().map(|at| LIBRARY.defs[at].0.clone()).collect(), natives: natives.collect() }
}

/// Depth first; the library is small and has no cycles between definitions.
fn visit(call: &Signature, seen: &mut [bool], order: &mut Vec<usize>, native_seen: &mut Vec<usize>) {
    match LIBRARY.by_signature.get(call) {
        Some(Found::Def(at)) if !std::mem::replace(&mut seen[*at], true) => {
            for call in &LIBRARY.defs[*at].1 {
                visit(call, seen, order, native_seen);
            }
            order.push(*at);
        }
        Some(Found::Native(at)) if !native_seen.contains(at) => native_seen.push(*at),
        _ => {}
    }
}

/// The kind of a parameter by its name.
pub(super) fn is_variable(parameter: &str) -> bool {
    parameter.starts_with('$')
}
