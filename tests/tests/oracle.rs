//! The specification's JSON Schema as an oracle: our verdict on its examples, and on thousands of seeded mutations of them, is
//! the schema's, but for the rules of `tests/specification/oracle.yaml`, each of which says why.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use flagstop_engine::{Diagnostics, Limits, Plan, Severity, read_document, value};
use flagstop_tests::language;
use flagstop_tests::mutation::{self, Pool};
use flagstop_tests::random::Random;
use flagstop_tests::scenario::yaml;
use flagstop_tests::specification::oracle::{self, Difference, Oracle, Pieces};
use flagstop_tests::specification::{self, VERSIONS};
use serde_json::Value;

/// Mutations in the usual run; `FLAGSTOP_ORACLE_MUTATIONS` asks for more.
const MUTATIONS: u64 = 20_000;
/// The usual run's seed; `FLAGSTOP_ORACLE_SEED` names another one.
const SEED: u64 = 20_261_121;
/// Differences that are shown.
const SHOWN_MAX: usize = 40;

/// What both say of many definitions.
struct Comparison {
    oracle: Oracle,
    used: BTreeSet<usize>,
    /// What no rule explains, by what is wrong.
    wrong: BTreeMap<String, Vec<String>>,
    both_take: u64,
    both_refuse: u64,
}

#[test]
fn our_verdict_is_the_specifications_schemas_but_for_the_rules_that_say_why() {
    let Some(kit) = specification::folder("our verdict against the specification's JSON Schema") else { return };
    let number = |name: &str, usual: u64| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not `{text}`")),
        Err(_) => usual,
    };
    let (seed, mutations) = (number("FLAGSTOP_ORACLE_SEED", SEED), number("FLAGSTOP_ORACLE_MUTATIONS", MUTATIONS));
    println!("FLAGSTOP_ORACLE_SEED={seed} FLAGSTOP_ORACLE_MUTATIONS={mutations}");

    let examples = examples(&kit);
    let table = std::fs::read_to_string(language::root().join("tests/specification/oracle.yaml")).unwrap();
    let mut comparison = Comparison::new(Oracle::new(&kit, oracle::rules(&table)));
    for (name, example) in &examples {
        comparison.compare(name, example);
    }
    for rule in oracle::rules(&table) {
        rule.example.iter().for_each(|example| comparison.compare(&rule.why, example));
    }
    let documents: Vec<Value> = examples.iter().map(|(_, example)| example.clone()).collect();
    let pool = Pool::of(&documents);
    for case in 0..mutations {
        let random = &mut Random::of(seed, case);
        let (name, example) = random.one_of(&examples);
        let (mutated, what) = mutation::mutate(example, &pool, random);
        comparison.compare(&format!("{case}: {name}, {what}"), &mutated);
    }
    comparison.report();
    if (seed, mutations) == (SEED, MUTATIONS) {
        comparison.refuse_stale_rules();
    }
}

/// All examples of the specification and the workflows of our own scenarios, with their names.
fn examples(kit: &Path) -> Vec<(String, Value)> {
    // Those that are no YAML are there to be refused.
    let read = |text: &str| read_document(text.as_bytes(), &Limits::default()).ok();
    let ours = language::workflows().into_iter();
    let mut found: Vec<_> = ours.filter_map(|(name, text)| Some((name, value::to_serde(&read(&text)?)))).collect();
    for version in VERSIONS {
        for path in language::files(&kit.join(version).join("examples"), ".yaml") {
            let name = format!("{version}/{}", path.file_name().unwrap().to_str().unwrap());
            let example = yaml(&name, &std::fs::read_to_string(&path).unwrap());
            found.push((name, example));
        }
    }
    found
}

impl Comparison {
    fn new(oracle: Oracle) -> Self {
        Self { oracle, used: BTreeSet::new(), wrong: BTreeMap::new(), both_take: 0, both_refuse: 0 }
    }

    fn compare(&mut self, name: &str, definition: &Value) {
        let text = definition.to_string();
        let ours = Plan::compile(text.as_bytes(), &Limits::default());
        let pieces = Pieces::of(definition);
        let refused = self.oracle.refused(&pieces);
        match ours {
            Err(_) if pieces.has_broken_list || !refused.is_empty() => self.both_refuse += 1,
            Err(diagnostics) => self.stricter(name, &diagnostics),
            Ok(_) if pieces.has_broken_list => self.differ("a list of tasks with an item that is none", name),
            Ok(_) if refused.is_empty() => self.both_take += 1,
            Ok(_) => {
                for (kind, piece) in refused {
                    match self.oracle.excuse(kind, &piece, &self.used) {
                        Some(rules) => self.used.extend(rules),
                        None => self.differ("the schema refuses", &format!("{name}\n      {piece}")),
                    }
                }
            }
        }
    }

    fn stricter(&mut self, name: &str, diagnostics: &Diagnostics) {
        for found in diagnostics.iter().filter(|found| found.severity == Severity::Error) {
            let explains = |what: &Difference| match what {
                Difference::Stricter { code, says } => found.code == code && found.message.contains(says.as_str()),
                Difference::Looser { .. } | Difference::LooserWherever { .. } => false,
            };
            match self.oracle.rules().iter().position(|rule| explains(&rule.what)) {
                Some(rule) => drop(self.used.insert(rule)),
                None => self
                    .differ(&format!("the schema takes: {}", found.code), &format!("{name}\n      {}", found.message)),
            }
        }
    }

    fn differ(&mut self, what: &str, example: &str) {
        self.wrong.entry(what.to_owned()).or_default().push(example.to_owned());
    }

    fn report(&self) {
        let (taken, refused) = (self.both_take, self.both_refuse);
        eprintln!("the specification's schema and we take {taken} and refuse {refused} definitions alike");
        let mut text = String::new();
        for (what, examples) in &self.wrong {
            let _ = writeln!(text, "{what} ({})", examples.len());
            for example in examples.iter().take(SHOWN_MAX) {
                let _ = writeln!(text, "  - {}", example.chars().take(600).collect::<String>());
            }
        }
        assert!(text.is_empty(), "our verdict differs, and no rule says why\n{text}");
        assert!(taken > 0 && refused > 0, "mutations that are all alike show nothing");
    }

    fn refuse_stale_rules(&self) {
        let rules = self.oracle.rules().iter().enumerate();
        let stale: Vec<_> = rules.filter(|(index, _)| !self.used.contains(index)).map(|(_, rule)| rule).collect();
        assert!(stale.is_empty(), "rules that explain nothing: {stale:#?}");
    }
}
