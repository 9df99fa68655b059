//! What is wrong in a definition: where, what, and how to mend it. All mistakes of a file are reported at once.
//!
//! Must never hold anything of an instance: diagnostics are about definitions only.

use std::fmt::Write;

/// A place in a file. Lines and columns count from 1, columns in characters; offset and length are bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Line of the first character.
    pub line: u32,
    /// Column of the first character.
    pub column: u32,
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

impl Span {
    /// The beginning of a file.
    pub const fn start() -> Self {
        Self { offset: 0, length: 0, line: 1, column: 1 }
    }

    /// Of a text's own span the part that begins at this byte of it, if the text stands there as it is, in quotes or
    /// not; else the whole.
    #[must_use]
    pub fn from(self, text: &str, at: usize) -> Self {
        /// With and without quotes around it.
        const QUOTES_BYTES: [usize; 2] = [0, 1];
        let as_it_is = |quote: &usize| text.len() + 2 * quote == self.length as usize;
        let Some(before) = text.get(..at).filter(|_| !text.contains('\n')) else { return self };
        let Some(quote) = QUOTES_BYTES.into_iter().find(as_it_is) else { return self };
        Self {
            line: self.line,
            column: self.column + (quote + before.chars().count()) as u32,
            offset: self.offset + (quote + at) as u32,
            length: (text.len() - at) as u32,
        }
    }
}

/// Whether a definition can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can be used, but probably does not do what its author wants.
    Warning,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable: `FS-…`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// Where.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub hint: Option<String>,
}

/// The parts of a shown mistake that can be painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `file:line:column`.
    Place,
    /// `error[FS-…]`.
    Error,
    /// `warning[FS-…]`.
    Warning,
    /// The marks below the source line.
    Caret,
    /// The word before the way out.
    Hint,
}

/// The mistakes of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostic {
    /// An error.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, span, message: message.into(), hint: None }
    }

    /// A warning.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, span, message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Diagnostics {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// More.
    pub fn extend(&mut self, more: impl IntoIterator<Item = Diagnostic>) {
        self.0.extend(more);
    }

    /// True if the definition cannot be used.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// True if there is nothing to report, not even a warning.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same of those that came after so many.
    pub fn has_errors_since(&self, before: usize) -> bool {
        self.0.iter().skip(before).any(|d| d.severity == Severity::Error)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In the order in which they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// By position, each once.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.0.sort_by(|a, b| (a.span, a.severity, a.code, &a.message).cmp(&(b.span, b.severity, b.code, &b.message)));
        self.0.dedup();
        self
    }

    /// For people: `file:line:column`, the line with a caret, the message and the hint.
    pub fn render(&self, file: &str, text: &str) -> String {
        self.render_with(file, text, &|_, part| part.to_owned())
    }

    /// The same, each part painted by the caller.
    pub fn render_with(&self, file: &str, text: &str, paint: &dyn Fn(Part, &str) -> String) -> String {
        let lines: Vec<&str> = text.lines().collect();
        let mut out = String::new();
        for diagnostic in self.clone().sorted().iter() {
            render_one(diagnostic, file, &lines, paint, &mut out);
        }
        out
    }
}

/// On one line, for logs and errors of other layers; people get [`Diagnostics::render`].
impl std::fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, Diagnostic { code, span, message, hint, .. }) in self.iter().enumerate() {
            let separator = if i > 0 { "; " } else { "" };
            write!(f, "{separator}{code}: {message} (line {}, column {})", span.line, span.column)?;
            if let Some(hint) = hint {
                write!(f, ": {hint}")?;
            }
        }
        Ok(())
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Characters of a source line that are shown; longer ones are cut around the caret.
const SHOWN_CHARS_MAX: usize = 100;

fn render_one(
    diagnostic: &Diagnostic,
    file: &str,
    lines: &[&str],
    paint: &dyn Fn(Part, &str) -> String,
    out: &mut String,
) {
    let Span { line, column, .. } = diagnostic.span;
    let (part, severity) = match diagnostic.severity {
        Severity::Error => (Part::Error, "error"),
        Severity::Warning => (Part::Warning, "warning"),
    };
    let place = paint(Part::Place, &format!("{file}:{line}:{column}"));
    let severity = paint(part, &format!("{severity}[{}]", diagnostic.code));
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{place}: {severity}: {}", diagnostic.message);
    if let Some(source) = lines.get((line as usize).wrapping_sub(1)) {
        let column = (column as usize).max(1) - 1;
        let skipped = column.saturating_sub(SHOWN_CHARS_MAX / 2);
        // A tab would move the caret, a control character the terminal.
        let shown: String =
            source.chars().skip(skipped).take(SHOWN_CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        let rest = shown.chars().count().saturating_sub(column - skipped).max(1);
        let marked = (diagnostic.span.length as usize).clamp(1, rest);
        let _ = writeln!(out, "{line:>5} | {}", shown.trim_end());
        let _ = writeln!(out, "      | {}{}", " ".repeat(column - skipped), paint(Part::Caret, &"^".repeat(marked)));
    }
    if let Some(hint) = &diagnostic.hint {
        let _ = writeln!(out, "{}: {hint}", paint(Part::Hint, "hint"));
    }
}

/// The candidate that the author probably meant, if one is near enough.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Of a word of one or two letters every other one is a near miss, so that only its case may differ.
    let far = (word.chars().count() / 3).min(3);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= far && *candidate != word)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `did you mean "x"?`, or the list of what is allowed when nothing is near.
pub fn suggestion<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(word, candidates.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("allowed here: {}", candidates.join(", ")),
    }
}

/// Edit distance in which swapping two neighbours counts once, letter case half as nothing.
fn distance(a: &str, b: &str) -> usize {
    /// Longer words are never near misses of a keyword.
    const WORD_CHARS_MAX: usize = 64;
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).take(WORD_CHARS_MAX).collect();
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let substituted = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substituted.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: u32, column: u32, length: u32) -> Span {
        Span { offset: 0, length, line, column }
    }

    #[test]
    fn mistakes_are_shown_by_position_with_line_caret_and_hint() {
        let text = "document:\n  dsl: 1.0.3\ndoo:\n  - a: {}\n";
        let mut found = Diagnostics::new();
        found.push(Diagnostic::warning("FS-B", span(4, 5, 1), "odd"));
        found.push(Diagnostic::error("FS-A", span(3, 1, 3), "unknown key `doo`").with_hint("did you mean `do`?"));
        assert_eq!(
            found.render("flow.yaml", text),
            "flow.yaml:3:1: error[FS-A]: unknown key `doo`\n    3 | doo:\n      | ^^^\nhint: did you mean `do`?\n\
             flow.yaml:4:5: warning[FS-B]: odd\n    4 |   - a: {}\n      |     ^\n"
        );
        assert!(found.has_errors());
    }

    #[test]
    fn a_place_outside_the_text_and_a_very_long_line_are_shown_without_trouble() {
        let found = Diagnostics::from(Diagnostic::error("FS-A", span(99, 7, 3), "x"));
        assert_eq!(found.render("f", "a"), "f:99:7: error[FS-A]: x\n");
        let found = Diagnostics::from(Diagnostic::error("FS-A", span(1, 5_000, 9_000), "x"));
        assert!(found.render("f", &"é".repeat(100_000)).len() < 1_000);
    }

    #[test]
    fn near_misses_are_found_and_far_ones_are_not() {
        let keys = ["switch", "set", "wait", "fork", "for"];
        assert_eq!(nearest("swtich", keys), Some("switch"));
        assert_eq!(nearest("Set", keys), Some("set"));
        assert_eq!(nearest("wiat", keys), Some("wait"));
        assert_eq!(nearest("banana", keys), None);
        assert_eq!((nearest("b", ["a"]), nearest("IF", ["as", "if"])), (None, Some("if")));
        assert_eq!(suggestion("banana", ["a", "b"]), "allowed here: a, b");
        assert_eq!(suggestion("forkk", keys), "did you mean `fork`?");
    }
}
