//! `foreach` of a listen: the tasks for each event, and what becomes of their output.

use super::memory::Item;
use crate::api::Value;
use crate::expr::Template;
use crate::machine::cx::Cx;
use crate::plan::BlockIndex;
use crate::plan::compiler::{At, Compiler, TaskNode};
use crate::plan::keys::Keys;
use crate::problem::Problem;
use crate::schema::Schema;
use crate::source::Node;

/// What is done with each event.
#[derive(Debug)]
pub(super) struct Foreach {
    /// The variable that holds the event.
    item: String,
    /// The variable that holds its number, from 0.
    at: String,
    /// Without: the event is its own result.
    pub(super) list: Option<BlockIndex>,
    output_as: Option<Template>,
    output_schema: Option<Schema>,
    export_as: Option<Template>,
    export_schema: Option<Schema>,
}

const FOREACH: Keys = Keys { of: "`foreach`", known: &["item", "at", "do", "output", "export"], not_yet: &[] };
const OUTPUT: Keys = Keys { of: "`foreach.output`", known: &["as", "schema"], not_yet: &[] };
const EXPORT: Keys = Keys { of: "`foreach.export`", known: &["as", "schema"], not_yet: &[] };

impl Foreach {
    pub(super) fn compile(node: &Node, task: &TaskNode<'_>, compiler: &mut Compiler<'_>) -> Option<Self> {
        compiler.mapping(node, FOREACH)?;
        let item = name(node, "item", "item", compiler);
        let at = name(node, "at", "index", compiler);
        if item == at
            && let Some(name) = node.get("at").or(node.get("item"))
        {
            let message = "`foreach.item` and `foreach.at` have the same name";
            compiler.error("FS-VALUE", name, message, "name one of them differently");
        }
        let pointer = task.pointer.child("foreach").child("do");
        compiler.with_locals(&[&item, &at], |compiler| {
            let list = node.get("do").map(|list| compiler.list(list, &pointer));
            let output = node.get("output").filter(|output| compiler.mapping(output, OUTPUT).is_some());
            let export = node.get("export").filter(|export| compiler.mapping(export, EXPORT).is_some());
            let as_ = |of: Option<&Node>, at, compiler: &mut Compiler<'_>| {
                of.and_then(|of| of.get("as")).and_then(|as_| compiler.jq_or_template(as_, at))
            };
            let schema = |of: Option<&Node>, compiler: &mut Compiler<'_>| {
                of.and_then(|of| of.get("schema")).and_then(|schema| compiler.schema(schema))
            };
            Some(Self {
                output_as: as_(output, At::Output, compiler),
                output_schema: schema(output, compiler),
                export_as: as_(export, At::Export, compiler),
                export_schema: schema(export, compiler),
                list: list.map_or(Some(None), |list| list.map(Some))?,
                item: item.clone(),
                at: at.clone(),
            })
        })
    }

    /// The item's result, of the output of its tasks.
    pub(super) fn result(&self, item: &Item, raw_output: Value, cx: &mut Cx<'_, '_>) -> Result<Value, Problem> {
        let pointer = &cx.task().pointer;
        let locals = [(self.item.as_str(), &item.item), (self.at.as_str(), &item.index)];
        let vars = cx.vars().with_locals(&locals).after(&raw_output);
        let output = match &self.output_as {
            Some(as_) => vars.eval(as_, &raw_output)?,
            None => raw_output.clone(),
        };
        if let Some(schema) = &self.output_schema {
            schema.validate(&output, pointer)?;
        }
        let exported = self.export_as.as_ref().map(|as_| vars.with_output(&output).eval(as_, &output)).transpose()?;
        if let Some(schema) = &self.export_schema {
            schema.validate(exported.as_ref().unwrap_or(cx.context()), pointer)?;
        }
        if let Some(context) = exported {
            cx.set_context(context);
        }
        Ok(output)
    }

    pub(super) fn local<'m>(&self, current: &'m Item, name: &str) -> Option<&'m Value> {
        match name {
            _ if name == self.item => Some(&current.item),
            _ if name == self.at => Some(&current.index),
            _ => None,
        }
    }
}

/// With a wrong name, the rest is looked at under the default one.
fn name(node: &Node, key: &str, default: &str, compiler: &mut Compiler<'_>) -> String {
    let name = node.get(key).and_then(|name| compiler.variable_name(name, &format!("`foreach.{key}`")));
    name.unwrap_or_else(|| default.to_owned())
}
