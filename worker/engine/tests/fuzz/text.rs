//! Mutations of texts: bytes, words of the language, pieces of other texts, and the same a thousand times.

use crate::random::Random;

/// Copies of one piece.
const COPIES_MAX: usize = 3_000;
/// Larger texts only repeat what smaller ones show.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A changed copy of one of these, with words of this list.
pub fn mutate<T: AsRef<[u8]>>(corpus: &[T], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut text = random.one_of(corpus).as_ref().to_vec();
    for _ in 0..=random.below(4) {
        once(&mut text, corpus, words, random);
    }
    text.truncate(TEXT_BYTES_MAX);
    text
}

fn once<T: AsRef<[u8]>>(text: &mut Vec<u8>, corpus: &[T], words: &[&str], random: &mut Random) {
    let at = random.below(text.len() + 1);
    let end = at + random.below((text.len() - at).min(40) + 1);
    match random.below(9) {
        0 => {
            if let Some(byte) = text.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => drop(text.drain(at..end)),
        2 => {
            let piece = text[at..end].to_vec();
            insert(text, at, &piece);
        }
        3 => {
            // Few of many copies, many of few.
            let copies = 1 + random.below(COPIES_MAX) / (1 + random.below(50));
            let piece = random.one_of(words).repeat(copies);
            insert(text, at, piece.as_bytes());
        }
        4 => {
            let other = random.one_of(corpus).as_ref();
            let from = random.below(other.len() + 1);
            let to = from + random.below(other.len() - from + 1);
            insert(text, at, &other[from..to]);
        }
        5 => text.truncate(at),
        6 => {
            // A word in place of a piece.
            text.drain(at..end);
            insert(text, at, random.one_of(words).as_bytes());
        }
        _ => insert(text, at, random.one_of(words).as_bytes()),
    }
}

fn insert(text: &mut Vec<u8>, at: usize, piece: &[u8]) {
    text.splice(at..at, piece.iter().copied());
}
