//! Patterns of file names, for shells that leave them alone: `*`, `?`, and `**` for any folders.

use std::path::{Component, Path, PathBuf};

/// Folders in folders that `**` goes into.
const DEPTH_MAX: usize = 32;

/// Whether a path is meant as a pattern.
pub fn is_pattern(path: &Path) -> bool {
    path.to_str().is_some_and(|text| text.contains(['*', '?']))
}

/// The files that fit, by name. What can't be read fits nothing.
pub fn expand(pattern: &Path) -> Vec<PathBuf> {
    let parts: Vec<Component<'_>> = pattern.components().collect();
    let mut found = Vec::new();
    walk(PathBuf::new(), &parts, DEPTH_MAX, &mut found);
    found.sort();
    found.dedup();
    found
}

fn walk(at: PathBuf, parts: &[Component<'_>], levels_left: usize, found: &mut Vec<PathBuf>) {
    let Some((part, rest)) = parts.split_first() else {
        if at.is_file() {
            found.push(at);
        }
        return;
    };
    let name = part.as_os_str().to_str().unwrap_or_default();
    if !matches!(part, Component::Normal(_)) || !name.contains(['*', '?']) {
        return walk(at.join(part), rest, levels_left, found);
    }
    if levels_left == 0 {
        return;
    }
    let any_folders = name == "**";
    if any_folders {
        walk(at.clone(), rest, levels_left, found);
    }
    let folder = if at.as_os_str().is_empty() { Path::new(".") } else { &at };
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let entry_name = entry.file_name();
        let Some(text) = entry_name.to_str() else { continue };
        // As in a shell, hidden files fit no pattern.
        if text.starts_with('.') {
            continue;
        }
        let next = at.join(&entry_name);
        if any_folders {
            if next.is_dir() {
                walk(next, parts, levels_left - 1, found);
            }
        } else if fits(name.as_bytes(), text.as_bytes()) {
            walk(next, rest, levels_left, found);
        }
    }
}

/// Whether a text fits a pattern: `*` is any characters, `?` is one byte.
pub fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(byte) if *byte == b'?' || *byte == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                // The last star takes one more.
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_as_in_a_shell() {
        for (pattern, text) in [("*.yaml", "a.yaml"), ("a?c", "abc"), ("*", "x"), ("a*b*c", "aXbYbZc"), ("**x", "x")] {
            assert!(fits(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        for (pattern, text) in [("*.yaml", "a.yml"), ("a?c", "ac"), ("a*b", "abX")] {
            assert!(!fits(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn two_stars_are_any_folders() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let found = expand(&root.join("src/**/mod.rs"));
        assert!(found.contains(&root.join("src/commands/mod.rs")) && found.contains(&root.join("src/config/mod.rs")));
        assert_eq!(expand(&root.join("src/glo?s.rs")), [root.join("src/globs.rs")]);
    }
}
