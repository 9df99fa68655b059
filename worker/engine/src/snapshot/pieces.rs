//! Lists that grow at their end. What is old is cut into pieces that never change, so that a snapshot holds the newest
//! part and refers to the rest (D19): hearing n events costs n, not n².
//!
//! ```text
//! without pieces: count · items
//! with pieces:    IN_PIECES · count of pieces · pieces · count · newest items
//! ```

use std::collections::VecDeque;
use std::sync::Arc;

use flagstop_schemas::Hash16;

use super::SnapshotError;
use super::codec::{Reader, Stored, Writer};
use crate::value::{self, Value};

/// No count is as large: tells a list in pieces from one in which nothing is old.
const IN_PIECES: u64 = u64::MAX;

/// Values in their order, and how big they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Grown {
    /// All of them. Shared, so that a copy of the instance in memory costs nothing.
    items: Arc<Vec<Value>>,
    cut: Arc<Cut>,
    bytes: u64,
}

/// The older items.
#[derive(Debug, Clone, Default)]
struct Cut {
    /// Arrays.
    pieces: Vec<Value>,
    count: usize,
    bytes: u64,
}

/// The identities of events, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    /// Strings of as many identities each as [`Heard::PIECE`] says.
    pieces: VecDeque<Value>,
    newest: Vec<Hash16>,
}

impl Grown {
    /// Smaller pieces are more references in each snapshot, larger ones a longer rest.
    const PIECE_BYTES: u64 = 8 << 10;

    pub(crate) fn push(&mut self, item: Value) {
        self.bytes += value::size_bytes(&item) as u64;
        Arc::make_mut(&mut self.items).push(item);
        if self.bytes - self.cut.bytes >= Self::PIECE_BYTES {
            let cut = Arc::make_mut(&mut self.cut);
            cut.pieces.push(self.items[cut.count..].iter().cloned().collect());
            (cut.count, cut.bytes) = (self.items.len(), self.bytes);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    /// As an array, which shares them.
    pub(crate) fn to_value(&self) -> Value {
        Value::Arr(self.items.clone())
    }
}

impl Heard {
    /// Identities of a piece: 4 KiB.
    const PIECE: usize = 256;

    pub(crate) fn contains(&self, event: &Hash16) -> bool {
        let wanted = event.0.as_bytes();
        let is_in = |piece: &Value| ids_in(piece).is_some_and(|mut ids| ids.any(|id| id == wanted));
        self.newest.contains(event) || self.pieces.iter().any(is_in)
    }

    /// Remembers one more. At least the last `max` are kept; older ones go by pieces.
    pub(crate) fn push(&mut self, event: Hash16, max: usize) {
        self.newest.push(event);
        let in_pieces = self.pieces.len() * Self::PIECE;
        if in_pieces == 0 && self.newest.len() > max {
            self.newest.remove(0);
        } else if in_pieces > 0 && in_pieces + self.newest.len() - Self::PIECE >= max {
            self.pieces.pop_front();
        }
        if self.newest.len() == Self::PIECE {
            let bytes: Vec<u8> = self.newest.drain(..).flat_map(|id| *id.0.as_bytes()).collect();
            self.pieces.push_back(Value::byte_str(bytes));
        }
    }
}

/// The identities in a piece; `None`: it is none.
fn ids_in(piece: &Value) -> Option<impl Iterator<Item = &[u8; 16]>> {
    let Value::BStr(bytes) = piece else { return None };
    let (ids, rest) = bytes.as_chunks::<16>();
    rest.is_empty().then(|| ids.iter())
}

fn write_pieces<'p>(pieces: impl ExactSizeIterator<Item = &'p Value>, to: &mut Writer) {
    if pieces.len() > 0 {
        to.number(IN_PIECES);
        to.number(pieces.len() as u64);
        pieces.for_each(|piece| to.piece(piece));
    }
}

/// The pieces, and how many items come after them.
fn read_pieces(from: &mut Reader<'_>) -> Result<(Vec<Value>, usize), SnapshotError> {
    let first = from.number()?;
    if first != IN_PIECES {
        return Ok((Vec::new(), from.checked(first)?));
    }
    let pieces = from.list()?;
    Ok((pieces, from.count()?))
}

impl Stored for Grown {
    fn write(&self, to: &mut Writer) {
        write_pieces(self.cut.pieces.iter(), to);
        to.list(self.items[self.cut.count..].iter());
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let (pieces, newest) = read_pieces(from)?;
        let mut items = Vec::new();
        for piece in &pieces {
            let old = value::as_array(piece).ok_or_else(|| SnapshotError::corrupt("a piece of a list is none"))?;
            items.extend_from_slice(old);
        }
        let size = |items: &[Value]| items.iter().map(|item| value::size_bytes(item) as u64).sum::<u64>();
        let cut = Cut { pieces, count: items.len(), bytes: size(&items) };
        for _ in 0..newest {
            items.push(Value::read(from)?);
        }
        let bytes = cut.bytes + size(&items[cut.count..]);
        Ok(Self { items: Arc::new(items), cut: Arc::new(cut), bytes })
    }
}

impl Stored for Heard {
    fn write(&self, to: &mut Writer) {
        write_pieces(self.pieces.iter(), to);
        to.list(self.newest.iter());
    }
    fn read(from: &mut Reader<'_>) -> Result<Self, SnapshotError> {
        let (pieces, count) = read_pieces(from)?;
        if !pieces.iter().all(|piece| ids_in(piece).is_some_and(|ids| ids.count() == Self::PIECE)) {
            return Err(SnapshotError::corrupt("a piece of a list is none"));
        }
        let newest = (0..count).map(|_| Hash16::read(from)).collect::<Result<_, _>>()?;
        Ok(Self { pieces: pieces.into(), newest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_the_last_ones_are_remembered_and_no_more_than_a_piece_beyond() {
        let ids: Vec<Hash16> = (0..1_000_u32).map(|n| Hash16::of("test", &[&n.to_be_bytes()])).collect();
        for max in [1, 2, 255, 256, 257, 600] {
            let mut heard = Heard::default();
            for (n, id) in ids.iter().enumerate() {
                assert!(!heard.contains(id));
                heard.push(*id, max);
                let known = heard.pieces.len() * Heard::PIECE + heard.newest.len();
                assert!(known >= max.min(n + 1) && known < max + Heard::PIECE, "{known} of {max}");
                assert!(heard.contains(&ids[(n + 1).saturating_sub(max)]), "{n} of {max}");
            }
            assert!(!heard.contains(&ids[ids.len() - max - Heard::PIECE]));
        }
    }
}
