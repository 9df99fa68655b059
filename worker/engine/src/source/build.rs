//! From parser events to the tree, with an explicit stack: the depth of the text never becomes depth of the call stack.

use super::{Key, Node, NodeValue, Span, scalar};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::limits::Limits;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Node, Diagnostics> {
    if bytes.len() > limits.definition_bytes_max {
        let message = format!("the file has {} bytes, at most {} are read", bytes.len(), limits.definition_bytes_max);
        let hint = "split the workflow with `run: workflow`, or keep large data outside";
        return Err(Diagnostic::error("FS-YAML-SIZE", Span::start(), message).with_hint(hint).into());
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    // The byte order mark that some editors write.
    let (text, base) = text.strip_prefix('\u{feff}').map_or((text, 0), |rest| (rest, 3));
    let mut builder = Builder {
        text,
        places: Places::new(text, base),
        limits,
        stack: Vec::new(),
        root: None,
        anchors: HashMap::new(),
        nodes: 0,
        found: Diagnostics::new(),
    };
    // The parser is a third party's: should it ever panic on some text, that text is refused like any other.
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| builder.run()));
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(diagnostic)) => builder.found.push(*diagnostic),
        Err(_) => builder.found.push(Diagnostic::error("FS-YAML-SYNTAX", Span::start(), "this text cannot be read")),
    }
    if builder.found.has_errors() {
        return Err(builder.found.sorted());
    }
    Ok(builder.root.unwrap_or(Node { value: NodeValue::Null, span: Span::start() }))
}

/// Boxed: errors are rare and diagnostics large.
type Stop = Box<Diagnostic>;

struct Builder<'t, 'l> {
    text: &'t str,
    places: Places,
    limits: &'l Limits,
    stack: Vec<Frame>,
    root: Option<Node>,
    /// Finished nodes with an anchor, and how many nodes each holds.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    found: Diagnostics,
}

/// A list or mapping that is still open.
struct Frame {
    start: Span,
    anchor: usize,
    nodes_before: usize,
    content: Content,
}

enum Content {
    Seq(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, keys: HashSet<Arc<str>>, pending: Option<Key> },
}

impl<'t> Builder<'t, '_> {
    fn run(&mut self) -> Result<(), Stop> {
        let mut documents = 0;
        for event in Parser::new_from_str(self.text) {
            let (event, span) = event.map_err(|error| self.syntax(&error))?;
            let span = self.places.span(span.start, span.end);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let message = "a file holds one definition, here a second document begins";
                        return stop("FS-YAML-DOCUMENTS", span, message, "put it into a file of its own");
                    }
                }
                Event::Scalar(text, style, anchor, tag) => self.scalar(text, style, anchor, tag, span)?,
                Event::SequenceStart(anchor, tag) => {
                    self.check_tag(tag.as_deref(), &["seq"], span);
                    self.open(span, anchor, Content::Seq(Vec::new()))?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.check_tag(tag.as_deref(), &["map"], span);
                    let content = Content::Map { entries: Vec::new(), keys: HashSet::new(), pending: None };
                    self.open(span, anchor, content)?;
                }
                Event::SequenceEnd | Event::MappingEnd => self.close(span)?,
                Event::Alias(anchor) => self.alias(anchor, span)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(())
    }

    fn scalar(
        &mut self,
        text: Cow<'t, str>,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<Cow<'t, Tag>>,
        span: Span,
    ) -> Result<(), Stop> {
        let span = self.without_trailing_space(span);
        self.check_tag(tag.as_deref(), &["str", "int", "float", "bool", "null"], span);
        let forced_text = tag.as_deref().is_some_and(|tag| tag.suffix == "str");
        if self.awaits_key() {
            if style == ScalarStyle::Plain && text == "<<" {
                let message = "merge keys (`<<`) are not part of YAML 1.2";
                return stop(
                    "FS-YAML-MERGE",
                    span,
                    message,
                    "write the entries out, or use an alias for a whole value",
                );
            }
            if style == ScalarStyle::Plain && text.is_empty() && !forced_text {
                return stop("FS-YAML-KEY", span, "a key is missing here", "write `key: value`");
            }
        }
        let value = if self.awaits_key() || style != ScalarStyle::Plain && tag.is_none() || forced_text {
            NodeValue::Str(text.as_ref().into())
        } else {
            scalar::resolve(&text).unwrap_or_else(|message| {
                self.found.push(
                    Diagnostic::error("FS-YAML-NUMBER", span, message).with_hint("put it in quotes if text is meant"),
                );
                NodeValue::Null
            })
        };
        self.count(1, span)?;
        self.finish(Node { value, span }, anchor, 1)
    }

    /// Whether the next node is the key of a mapping.
    fn awaits_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Map { pending: None, .. }, .. }))
    }

    fn open(&mut self, start: Span, anchor: usize, content: Content) -> Result<(), Stop> {
        if self.awaits_key() {
            return stop("FS-YAML-KEY", start, "a key must be text, not a list or mapping", "write `key: value`");
        }
        if self.stack.len() >= self.limits.yaml_depth_max {
            return Err(self.too_deep(start));
        }
        self.count(1, start)?;
        self.stack.push(Frame { start, anchor, nodes_before: self.nodes - 1, content });
        Ok(())
    }

    fn close(&mut self, end: Span) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let mut span = frame.start;
        span.length = end.offset.saturating_add(end.length).saturating_sub(span.offset);
        let value = match frame.content {
            Content::Seq(items) => NodeValue::Seq(items),
            Content::Map { entries, .. } => NodeValue::Map(entries),
        };
        self.finish(Node { value, span }, frame.anchor, self.nodes - frame.nodes_before)
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Stop> {
        let Some((_, nodes)) = self.anchors.get(&anchor) else {
            let message = "this alias names an anchor that is not finished yet";
            return stop("FS-YAML-ALIAS", span, message, "a value cannot contain itself");
        };
        let nodes = *nodes;
        // Counted before it is copied, so that nested aliases cannot explode.
        self.count(nodes, span)?;
        let node = self.anchors[&anchor].0.clone();
        if self.stack.len() + depth(&node) > self.limits.yaml_depth_max {
            return Err(self.too_deep(span));
        }
        self.finish(node, 0, nodes)
    }

    /// A node is whole: into its parent.
    fn finish(&mut self, node: Node, anchor: usize, nodes: usize) -> Result<(), Stop> {
        if anchor > 0 {
            self.count(nodes, node.span)?;
            self.anchors.insert(anchor, (node.clone(), nodes));
        }
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::Seq(items)) => items.push(node),
            Some(Content::Map { entries, keys, pending }) => match pending.take() {
                Some(key) => {
                    if keys.insert(key.text.clone()) {
                        entries.push((key, node));
                    } else {
                        let message = format!("the key `{}` stands here twice", key.text);
                        let found = Diagnostic::error("FS-YAML-DUPLICATE", key.span, message);
                        self.found.push(found.with_hint("keep one of them"));
                    }
                }
                None => match node.value {
                    NodeValue::Str(text) => *pending = Some(Key { text, span: node.span }),
                    _ => return stop("FS-YAML-KEY", node.span, "a key must be text", "put it in quotes"),
                },
            },
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, span: Span) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > self.limits.yaml_nodes_max {
            let message = format!("more than {} nodes, aliases expanded", self.limits.yaml_nodes_max);
            return stop("FS-YAML-NODES", span, &message, "split the workflow with `run: workflow`");
        }
        Ok(())
    }

    fn check_tag(&mut self, tag: Option<&Tag>, allowed: &[&str], span: Span) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && allowed.contains(&tag.suffix.as_str()))
            // The non-specific tag `!` only says "as it stands".
            && !(tag.handle == "!" && tag.suffix.is_empty())
        {
            let found = Diagnostic::error("FS-YAML-TAG", span, format!("the tag `{tag}` means nothing here"));
            self.found.push(found.with_hint("leave it out"));
        }
    }

    /// The parser counts blanks behind a text in quotes to it.
    fn without_trailing_space(&self, span: Span) -> Span {
        let start = (span.offset - self.places.base) as usize;
        let text = self.text.get(start..start + span.length as usize).unwrap_or_default();
        Span { length: text.trim_end().len() as u32, ..span }
    }

    fn too_deep(&self, span: Span) -> Stop {
        let message = format!("nested deeper than {} levels", self.limits.yaml_depth_max);
        let hint = "move inner tasks into functions or workflows of their own";
        Box::new(Diagnostic::error("FS-YAML-DEPTH", span, message).with_hint(hint))
    }

    fn syntax(&self, error: &ScanError) -> Stop {
        let span = self.places.span(*error.marker(), *error.marker());
        let line = self.text.lines().nth((span.line as usize).saturating_sub(1)).unwrap_or_default();
        let info = error.info();
        if info.contains("recursion limit") {
            // The scanner looks ahead, and has a limit of its own for brackets.
            return self.too_deep(span);
        }
        let hint = if line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t') {
            "indent with spaces, YAML takes no tabs"
        } else if info.contains("unknown anchor") {
            "define the anchor (`&name`) above its alias (`*name`)"
        } else if line.contains("${") {
            "put expressions in quotes: '${ … }'"
        } else if info.contains("mapping values are not allowed") || line.matches(": ").count() > 1 {
            "put a value that holds `: ` in quotes"
        } else if info.contains("eof") || info.contains("end of stream") || info.contains("unclosed") {
            "a quote or bracket is not closed"
        } else if line.trim_start().starts_with(['@', '`', '%']) || line.contains(": @") || line.contains(": `") {
            "put a value that begins with `@`, `%` or a backtick in quotes"
        } else {
            "check the indentation, the quotes and the brackets around this place"
        };
        Box::new(Diagnostic::error("FS-YAML-SYNTAX", span, format!("not YAML: {info}")).with_hint(hint))
    }
}

fn stop<T>(code: &'static str, span: Span, message: &str, hint: &str) -> Result<T, Stop> {
    Err(Box::new(Diagnostic::error(code, span, message).with_hint(hint)))
}

/// Levels of a tree that obeys the depth limit, so that recursion is safe.
fn depth(node: &Node) -> usize {
    match &node.value {
        NodeValue::Seq(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        NodeValue::Map(entries) => 1 + entries.iter().map(|(_, node)| depth(node)).max().unwrap_or(0),
        _ => 0,
    }
}

fn not_utf8(bytes: &[u8], valid: usize) -> Diagnostics {
    let before = String::from_utf8_lossy(&bytes[..valid]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let span = Span { offset: cut(valid), length: 1, line: cut(line), column: cut(column) };
    let hint = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        "the file looks like UTF-16: save it as UTF-8"
    } else {
        "save the file as UTF-8"
    };
    Diagnostic::error("FS-YAML-UTF8", span, "not UTF-8").with_hint(hint).into()
}

/// From the parser's character positions to bytes.
struct Places {
    /// Byte offset of each character and of the end; empty when they are the same.
    bytes: Vec<u32>,
    base: u32,
    /// Where each line begins, in characters. The parser's own count of lines is wrong at the end of a text and within
    /// quotes that span lines.
    lines: Vec<u32>,
}

impl Places {
    fn new(text: &str, base: u32) -> Self {
        let bytes = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(byte, _)| cut(byte)).chain([cut(text.len())]).collect()
        };
        let ends = text.chars().enumerate().filter(|(_, c)| *c == '\n');
        let lines = [0].into_iter().chain(ends.map(|(index, _)| cut(index + 1))).collect();
        Self { bytes, base, lines }
    }

    fn byte(&self, mark: Marker) -> u32 {
        let byte = match self.bytes.last() {
            None => cut(mark.index()),
            Some(end) => self.bytes.get(mark.index()).copied().unwrap_or(*end),
        };
        byte.saturating_add(self.base)
    }

    fn span(&self, start: Marker, end: Marker) -> Span {
        let offset = self.byte(start);
        let length = self.byte(end).saturating_sub(offset);
        let index = cut(start.index());
        let line = self.lines.partition_point(|begin| *begin <= index);
        Span { offset, length, line: cut(line), column: index - self.lines[line - 1] + 1 }
    }
}

/// Positions beyond 4 GiB do not occur: the size limit is far below.
fn cut(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
