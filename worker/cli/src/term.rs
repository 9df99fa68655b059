//! Colours, for people only: off where the stream is no terminal, and where `NO_COLOR` is set.

use std::io::{IsTerminal, Write};

use crate::exit::Exit;

/// What a piece of text is; how that looks is decided here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Less important.
    Dim,
    /// A name to look at.
    Name,
    /// Went well.
    Good,
    /// Something waits.
    Wait,
    /// Went wrong.
    Bad,
    /// How to go on.
    Hint,
    /// The author's own.
    Own,
}

/// Paints text for one stream, or leaves it as it is.
#[derive(Debug, Clone, Copy)]
pub struct Paint {
    colours: Colours,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    On,
    Off,
}

impl Paint {
    /// For standard output.
    pub fn stdout() -> Self {
        Self::of(std::io::stdout().is_terminal())
    }

    /// For standard error.
    pub fn stderr() -> Self {
        Self::of(std::io::stderr().is_terminal())
    }

    /// Paints nothing.
    #[cfg(test)]
    pub fn plain() -> Self {
        Self { colours: Colours::Off }
    }

    fn of(terminal: bool) -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { colours: if terminal && !refused { Colours::On } else { Colours::Off } }
    }

    /// Whether it paints.
    pub fn is_on(self) -> bool {
        self.colours == Colours::On
    }

    /// The text in its style.
    pub fn on(self, style: Style, text: &str) -> String {
        if self.colours == Colours::Off {
            return text.to_owned();
        }
        let code = match style {
            Style::Dim => "2",
            Style::Name => "1",
            Style::Good => "32",
            Style::Wait => "33",
            Style::Bad => "1;31",
            Style::Hint => "36",
            Style::Own => "35",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Writes a line of data. Where the reader has gone (`… | head`), there is nothing left to do.
pub fn print_line(text: &str) {
    let written = writeln!(std::io::stdout(), "{text}");
    if written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        std::process::exit(i32::from(Exit::Done as u8));
    }
}

/// Makes text that came from outside harmless for a terminal and for a line: control characters become `·`.
pub fn tame(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '·' } else { c }).collect()
}

/// At most `max` characters of a line, with an ellipsis when some are left out.
pub fn brief(text: &str, max: usize) -> String {
    let text = tame(text);
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// Columns for people: each as wide as its widest cell, two spaces between, nothing behind the last.
pub fn table(head: &[&str], rows: &[Vec<String>], paint: Paint) -> String {
    let mut widths: Vec<usize> = head.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: Vec<&str>| {
        let mut text = String::new();
        for (cell, width) in cells.iter().zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        text.trim_end().to_owned()
    };
    let mut out = paint.on(Style::Dim, &line(head.to_vec()));
    for row in rows {
        out.push('\n');
        out.push_str(&line(row.iter().map(String::as_str).collect()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        assert_eq!(tame("a\x1b[2Jb\nc"), "a·[2Jb·c");
        assert_eq!(brief("onboarding", 4), "onbo…");
        assert_eq!(brief("née", 3), "née");
    }

    #[test]
    fn a_table_aligns_its_columns() {
        let rows = vec![vec!["e-1".into(), "waiting".into()], vec!["e-1042".into(), "completed".into()]];
        assert_eq!(
            table(&["KEY", "STATUS"], &rows, Paint::plain()),
            "KEY     STATUS\ne-1     waiting\ne-1042  completed"
        );
    }
}
