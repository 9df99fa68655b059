//! JSON Pointers (RFC 6901) of a definition: how tasks are named in events, errors and snapshots.

use std::fmt::{self, Write};

/// A JSON Pointer under construction: cheap to extend by one token, never parsed again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pointer(String);

impl Pointer {
    /// The whole document: the empty pointer.
    pub fn root() -> Self {
        Self::default()
    }

    /// This pointer and one more property name, escaped.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut text = String::with_capacity(self.0.len() + 1 + name.len());
        text.push_str(&self.0);
        text.push('/');
        escape_into(name, &mut text);
        Self(text)
    }

    /// This pointer and one more index.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        let mut text = self.0.clone();
        // Writing to a string cannot fail.
        let _ = write!(text, "/{index}");
        Self(text)
    }

    /// The pointer as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.0
    }
}

/// The tokens of a pointer, unescaped. `None` when it is neither empty nor begins with `/`, or holds a stray `~`.
pub fn tokens(pointer: &str) -> Option<Vec<String>> {
    if pointer.is_empty() {
        return Some(Vec::new());
    }
    pointer.strip_prefix('/')?.split('/').map(unescape).collect()
}

fn escape_into(name: &str, text: &mut String) {
    for c in name.chars() {
        match c {
            '~' => text.push_str("~0"),
            '/' => text.push_str("~1"),
            c => text.push(c),
        }
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut text = String::with_capacity(token.len());
    let mut chars = token.chars();
    while let Some(c) = chars.next() {
        text.push(match c {
            '~' => match chars.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            c => c,
        });
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_names_a_task_with_its_escapes() {
        let pointer = Pointer::root().child("do").index(0).child("a/b~c").child("try").index(1).child("inner");
        assert_eq!(pointer.as_str(), "/do/0/a~1b~0c/try/1/inner");
        assert_eq!(tokens(pointer.as_str()).unwrap(), ["do", "0", "a/b~c", "try", "1", "inner"]);
    }

    #[test]
    fn the_empty_pointer_is_the_whole_document_and_broken_ones_are_refused() {
        assert_eq!(Pointer::root().as_str(), "");
        assert_eq!(tokens(""), Some(vec![]));
        assert_eq!(tokens("/"), Some(vec![String::new()]));
        assert_eq!(tokens("do/0"), None);
        assert_eq!(tokens("/a~2"), None);
        assert_eq!(tokens("/a~"), None);
    }
}
