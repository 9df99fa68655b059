//! Texts that are constants, though an expression was surely meant: `.customer.id`, `$context.total`.
//!
//! The rule is tight: a warning about a file name teaches people to ignore warnings.

use super::scope::STANDARD;
use super::{Expression, Transform};
use crate::diagnostic::{Diagnostic, Span};

/// What such a text may be instead of a path into data: endings and names of files, ends of host names.
const NO_PROPERTIES: [&str; 62] = [
    "bashrc",
    "bat",
    "bmp",
    "bz2",
    "cfg",
    "com",
    "conf",
    "cpp",
    "css",
    "csv",
    "dockerignore",
    "doc",
    "docx",
    "env",
    "exe",
    "gif",
    "gitignore",
    "go",
    "gz",
    "htaccess",
    "htm",
    "html",
    "ico",
    "ini",
    "internal",
    "jar",
    "java",
    "jpeg",
    "jpg",
    "js",
    "json",
    "jsonl",
    "jsx",
    "local",
    "localhost",
    "md",
    "mp3",
    "mp4",
    "net",
    "npmrc",
    "odt",
    "org",
    "parquet",
    "pdf",
    "pem",
    "png",
    "ppt",
    "pptx",
    "profile",
    "py",
    "rs",
    "sh",
    "sql",
    "svg",
    "tar",
    "toml",
    "tsv",
    "txt",
    "xls",
    "xlsx",
    "xml",
    "zip",
];
/// Words in a key that say that its value is such a name.
const NAMES_OF: [&str; 15] = [
    "dir",
    "directory",
    "domain",
    "extension",
    "file",
    "filename",
    "files",
    "folder",
    "glob",
    "host",
    "path",
    "pattern",
    "regex",
    "selector",
    "suffix",
];

impl Transform<'_> {
    /// The warning about a text without `${ }`; `key` is the one under which it stands.
    pub(crate) fn lint_literal(&self, text: &str, key: Option<&str>, span: Span) -> Option<Diagnostic> {
        /// A longer text helps nobody in a hint.
        const CHARS_MAX: usize = 60;
        let text = text.trim();
        if !self.is_meant_as_expression(text, key, span) {
            return None;
        }
        let short = if text.chars().count() > CHARS_MAX { "…" } else { text };
        let message = format!("`{short}` is a text here, not an expression");
        let hint = format!(
            "write `${{ {short} }}` if the value of the expression is meant, and `${{ \"{}\" }}` if the text is",
            short.replace('\\', "\\\\").replace('"', "\\\"")
        );
        Some(Diagnostic::warning("FS-LINT-LITERAL", span, message).with_hint(hint))
    }

    fn is_meant_as_expression(&self, text: &str, key: Option<&str>, span: Span) -> bool {
        let begins_like_one = match text.as_bytes() {
            [b'.', ..] => is_path(text, key),
            [b'$', ..] => {
                let name = identifier(&text[1..]);
                STANDARD.contains(&name) || self.scope.has(name)
            }
            _ => false,
        };
        begins_like_one && self.is_jq(text, span)
    }

    /// Whether it compiles, if perhaps not here: `$output` is given elsewhere.
    fn is_jq(&self, text: &str, span: Span) -> bool {
        match Expression::compile(text, self.scope, span, self.limits) {
            Ok(_) => true,
            Err(mistakes) => mistakes.iter().all(|mistake| mistake.code == "FS-EXPR-VARIABLE"),
        }
    }
}

/// Whether it begins with a path into data: `.a.b`, `.[0]`, `.["a"]`.
fn is_path(text: &str, key: Option<&str>) -> bool {
    let mut names: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix('.') {
        let name = identifier(after);
        if name.is_empty() {
            break;
        }
        names.push(name);
        rest = &after[name.len()..];
    }
    match names[..] {
        [] => text.starts_with(".[\"") || text.starts_with(".\"") || is_index(text),
        [name] => !is_no_property(name) && !key.is_some_and(names_something),
        [.., last] => !is_no_property(last),
    }
}

/// `.[0]`: digits alone, so that classes of characters are none.
fn is_index(text: &str) -> bool {
    let number = text.strip_prefix(".[").and_then(|rest| rest.split_once(']')).map(|(number, _)| number);
    number.is_some_and(|number| number.is_empty() || number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_no_property(name: &str) -> bool {
    NO_PROPERTIES.contains(&&*name.to_ascii_lowercase())
}

/// The identifier at the beginning, or nothing.
fn identifier(text: &str) -> &str {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !text.starts_with(is_letter) {
        return "";
    }
    let end = text.find(|c: char| !is_letter(c) && !c.is_ascii_digit()).unwrap_or(text.len());
    &text[..end]
}

/// Whether a key, by one of its words, is for names of files and the like: `fileName`, `search-path`.
fn names_something(key: &str) -> bool {
    let mut word = String::new();
    let mut before = ' ';
    for c in key.chars().chain([' ']) {
        let ends = !c.is_alphanumeric() || c.is_uppercase() && before.is_lowercase();
        if ends && NAMES_OF.contains(&&*std::mem::take(&mut word)) {
            return true;
        }
        word.extend(c.to_lowercase().filter(|c| c.is_alphanumeric()));
        before = c;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expr::{Mode, Scope};
    use crate::limits::Limits;

    fn is_linted(text: &str, key: Option<&str>) -> bool {
        let scope = Scope::task_definition().with_local("pet");
        let limits = Limits::default();
        let transform = Transform { scope: &scope, mode: Mode::Strict, limits: &limits };
        transform.lint_literal(text, key, Span::start()).is_some()
    }

    #[test]
    fn paths_and_variables_without_braces_are_surely_expressions() {
        for text in [
            ".customer",
            ".customer.id",
            " .a.b\n",
            ".items[0].id",
            ".items[]",
            ".[0]",
            ".[\"a\"]",
            ".a | length",
            ".a + .b",
            ".user.name // \"nobody\"",
            "$context.x",
            "$input",
            "$output.a",
            "$secrets.token",
            "$pet.name",
            "$workflow.id",
            ".profile.picture",
        ] {
            assert!(is_linted(text, None), "{text}");
        }
        assert!(is_linted(".message", Some("text")));
        assert!(is_linted(".customer", Some("profile")));
        assert!(is_linted(".upload.name", Some("fileName")));
    }

    #[test]
    fn names_of_files_and_hosts_and_prose_are_texts() {
        for text in [
            "",
            ".",
            "..",
            "...",
            "./run",
            "../a",
            ".5",
            ".gitignore",
            ".env",
            ".PDF",
            ".tar.gz",
            ".jpg, .png",
            ".example.com",
            ".config.json",
            ".github/workflows",
            ".well-known/x",
            ".net is fine",
            ".[a-z]+",
            ".[0-9]",
            "$5",
            "$",
            "$5.00",
            "$pets.name",
            "$HOME",
            "$input is what it gets",
            "$.customer",
            "a.b",
            "x",
            "{a}",
            "$context and more",
        ] {
            assert!(!is_linted(text, None), "{text}");
        }
        for key in ["file", "fileName", "search-path", "cookie_domain", "SUFFIX"] {
            assert!(!is_linted(".customer", Some(key)), "{key}");
        }
    }
}
