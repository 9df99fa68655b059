//! `switch`: goes on by the directive of the first case that fits.

use super::{Outcome, TaskType};
use crate::diagnostic::Diagnostic;
use crate::expr::Expression;
use crate::machine::cx::Cx;
use crate::plan::Then;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::plan::reach::{Reach, Ways};
use crate::problem::Problem;
use crate::source::{Key, Node};

/// The cases in their order; the default one, which is tried last, aside.
#[derive(Debug)]
pub(crate) struct Switch {
    cases: Vec<Case>,
    default: Option<Then>,
}

#[derive(Debug)]
struct Case {
    when: Expression,
    then: Then,
}

const CASE: Keys = Keys { of: "a case", known: &["when", "then"], not_yet: &[] };

impl TaskType for Switch {
    const KEY: &'static str = "switch";
    const TAG: u8 = 3;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let node = task.own(Self::KEY);
        let Some(items) = node.as_seq().filter(|items| !items.is_empty()) else {
            compiler.wrong_type(node, "`switch`", "a list of at least one case");
            return None;
        };
        let mut switch = Self { cases: Vec::new(), default: None };
        let mut names: Vec<&str> = Vec::new();
        for item in items {
            let Some([(key, case)]) = item.as_map() else {
                compiler.error(
                    "FS-WRONG-TYPE",
                    item,
                    "a case must be a mapping of one name to the case",
                    "write `- name:` and below it `when` and `then`",
                );
                continue;
            };
            if names.contains(&&*key.text) {
                let twice = format!("two cases are named `{}`", key.text);
                compiler.push(
                    Diagnostic::error("FS-DUPLICATE-NAME", key.span, twice).with_hint("give each case its own name"),
                );
            }
            names.push(&key.text);
            switch.case(key, case, task, compiler);
        }
        Some(switch)
    }

    fn ways(&self, _: &Reach<'_>) -> Ways {
        let cases = self.cases.iter().map(|case| case.then);
        Ways { by_then: self.default.is_none(), directives: cases.chain(self.default).collect() }
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        let input = cx.input();
        for case in &self.cases {
            if cx.vars().condition(&case.when, input)? {
                return Ok(((), Outcome::Go(input.clone(), case.then)));
            }
        }
        let output = input.clone();
        // Without any fitting case the task's own `then` decides.
        Ok(((), self.default.map_or(Outcome::Done(output.clone()), |then| Outcome::Go(output, then))))
    }
}

impl Switch {
    fn case(&mut self, key: &Key, node: &Node, task: &TaskNode<'_>, compiler: &mut Compiler<'_>) {
        if compiler.mapping(node, CASE).is_none() {
            return;
        }
        let then = compiler.required(node, "then", CASE.of).and_then(|then| compiler.then(then, task.siblings));
        match node.get("when") {
            Some(when) => {
                if let (Some(when), Some(then)) = (compiler.condition(when, "`when`", At::Definition), then) {
                    self.cases.push(Case { when, then });
                }
            }
            None if self.default.is_some() => {
                let second = format!("`{}` is a second case without `when`", key.text);
                compiler.push(
                    Diagnostic::error("FS-VALUE", key.span, second).with_hint("only one case may be the default"),
                );
            }
            // A default whose directive is wrong was reported; it still is the default.
            None => self.default = Some(then.unwrap_or_default()),
        }
    }
}
