//! `run: script`: a text in a language, from the definition or from elsewhere.

use super::Options;
use super::arguments::Given;
use super::program::{self, Program};
use crate::api::{Env, ProcessKind, Projection, Request, Value, WaitReason};
use crate::diagnostic::suggestion;
use crate::machine::cx::Cx;
use crate::machine::look::Look;
use crate::machine::vars::Vars;
use crate::plan::compiler::{Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::Problem;
use crate::resource::{Found, Missing, Purpose};
use crate::source::Node;
use crate::tasks::{Memory, Outcome, Signal, TaskType};

/// The script and what it is given.
#[derive(Debug)]
pub(crate) struct RunScript {
    options: Options,
    locals: Vec<String>,
    language: &'static str,
    code: Code,
    given: Given,
    summary: String,
}

#[derive(Debug)]
enum Code {
    /// Never looked into: `${ }` in it is the language's own.
    Text(String),
    /// It lies elsewhere and was not fetched.
    Missing(Missing),
}

const KIND: &str = "script";
const SCRIPT: Keys = Keys {
    of: "`run.script`",
    known: &["language", "code", "source", "arguments", "environment", "stdin"],
    not_yet: &[],
};
/// The specification's name of each language, after the names that it is written with.
const LANGUAGES: [(&str, &str); 3] = [("js", "js"), ("javascript", "js"), ("python", "python")];

impl TaskType for RunScript {
    const KEY: &'static str = super::KEY;
    const KIND: Option<&'static str> = Some(KIND);
    const TAG: u8 = 15;
    type Memory = ();

    fn compile(task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        let (options, node) = Options::compile(task, KIND, compiler)?;
        compiler.mapping(node, SCRIPT)?;
        let language = compiler.required(node, "language", SCRIPT.of).and_then(|node| language(node, compiler));
        let code = Code::compile(node, compiler);
        let given = Given::compile(node, SCRIPT.of, compiler);
        let (language, given) = (language?, given?);
        let locals = compiler.locals.iter().filter(|name| given.uses(name)).cloned().collect();
        Some(Self { options, locals, language, code: code?, given, summary: format!("the {language} script") })
    }

    fn enter(&self, cx: &mut Cx<'_, '_>) -> Result<((), Outcome), Problem> {
        program::enter(self, cx)
    }

    fn wake(&self, (): &mut (), cx: &mut Cx<'_, '_>, signal: Signal<'_>) -> Option<Result<Outcome, Problem>> {
        program::wake(self, cx, signal)
    }

    fn project(&self, (): &(), look: &Look<'_>, to: &mut Projection) {
        program::project(look, to);
    }

    fn wait_reason(&self, (): &(), look: &Look<'_>) -> Option<WaitReason> {
        Some(program::wait_reason(self, look))
    }

    fn render(&self, (): &(), look: &Look<'_>, env: &Env<'_>) -> Option<Result<Request, Problem>> {
        Some(program::render(self, look, env))
    }
}

impl Program for RunScript {
    fn options(&self) -> Options {
        self.options
    }

    fn code(&self, _vars: &Vars<'_>, _input: &Value) -> Result<(ProcessKind, String), Problem> {
        match &self.code {
            Code::Text(text) => Ok((ProcessKind::Script { language: self.language.to_owned() }, text.clone())),
            Code::Missing(missing) => Err(missing.problem()),
        }
    }

    fn given(&self) -> &Given {
        &self.given
    }

    fn locals(&self) -> &[String] {
        &self.locals
    }

    fn memory(&self) -> Memory {
        Memory::RunScript(())
    }

    fn summary(&self) -> &str {
        &self.summary
    }
}

fn language(node: &Node, compiler: &mut Compiler<'_>) -> Option<&'static str> {
    let text = compiler.text(node, "`language`")?;
    let known = LANGUAGES.iter().find(|(name, _)| *name == text).map(|(_, language)| *language);
    if known.is_none() {
        let hint = suggestion(text, LANGUAGES.iter().map(|(name, _)| *name));
        compiler.error("FS-VALUE", node, format!("this build runs no scripts in `{text}`"), &hint);
    }
    known
}

impl Code {
    fn compile(node: &Node, compiler: &mut Compiler<'_>) -> Option<Self> {
        match (node.get("code"), node.get("source")) {
            (Some(code), None) => compiler.text(code, "`code`").map(|code| Self::Text(code.to_owned())),
            (None, Some(source)) => match compiler.external_resource(source, Purpose::Script)? {
                Found::Missing(missing) => Some(Self::Missing(missing)),
                Found::Here(url, document) => match String::from_utf8(document.bytes.into()) {
                    Ok(text) => Some(Self::Text(text)),
                    Err(_) => {
                        let message = format!("the script `{url}` is no text: it is not UTF-8");
                        compiler.error("FS-RESOURCE", source, message, "save it as UTF-8");
                        None
                    }
                },
            },
            (Some(_), Some(source)) => {
                compiler.error("FS-VALUE", source, "the script has both `code` and `source`", "keep one of them");
                None
            }
            (None, None) => {
                let hint = "write the script under `code`, or say where it lies: `source: { endpoint: … }`";
                compiler.error("FS-MISSING-KEY", node, "the script has no `code`", hint);
                None
            }
        }
    }
}
