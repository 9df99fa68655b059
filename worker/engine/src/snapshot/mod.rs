//! The snapshot: an instance as bytes.
//!
//! ```text
//! format: u16 · checksum of all other bytes: u64 · hashes of large values · body          (big endian)
//! ```
//! The first ten bytes mean the same in every format for ever, so that any build can tell a newer snapshot (which is
//! handed back, D16) from a damaged one. The body is positional and holds no copy of the definition; a value that
//! several places share is written once. Never written here: secrets and rendered requests.

mod codec;
mod large;
mod outcomes;
mod pieces;
mod values;

pub(crate) use codec::{Reader, Stored, Writer};
pub(crate) use large::Known;
pub use large::{LargeValue, Snapshot};
pub(crate) use pieces::{Grown, Heard};

use std::collections::HashMap;

use bytes::Bytes;
use flagstop_schemas::Hash16;
use large::{Split, Store};

/// The format that this build writes, and the newest that it reads.
pub const FORMAT: u16 = 2;

const HEADER_BYTES: usize = 10;

/// Why a snapshot can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A newer build wrote it. Not an error of the instance: hand it back to a worker of that build (D16).
    #[error(
        "FS-SNAPSHOT-NEWER: the snapshot has format {format}, this build reads up to {FORMAT}; leave it to a newer worker"
    )]
    Newer {
        /// The format that it was written in.
        format: u16,
    },
    /// It is not what was written, or it was written for another definition.
    #[error(
        "FS-SNAPSHOT-CORRUPT: the snapshot can't be read: {0}; restore the row from a backup or cancel the instance"
    )]
    Corrupt(String),
}

impl SnapshotError {
    pub(crate) fn corrupt(why: impl Into<String>) -> Self {
        Self::Corrupt(why.into())
    }
}

/// Makes a snapshot in one piece of what is written.
pub(crate) fn seal(write: impl FnOnce(&mut Writer)) -> Bytes {
    seal_split(&Known::default(), None, write).bytes
}

/// Makes a snapshot of what is written; with `bytes_min` values of at least as many bytes are taken out.
pub(crate) fn seal_split(known: &Known, bytes_min: Option<usize>, write: impl FnOnce(&mut Writer)) -> Snapshot {
    let mut writer = Writer::default();
    writer.split = bytes_min.map(|bytes_min| Split::new(bytes_min, known.clone()));
    write(&mut writer);
    let large = writer.split.take().map(Split::into_found).unwrap_or_default();
    let body = writer.into_bytes();

    let mut head = Writer::default();
    head.raw(&[0; HEADER_BYTES]);
    head.number(large.len() as u64);
    large.iter().for_each(|value| value.hash.write(&mut head));
    head.raw(&body);
    let mut bytes = head.into_bytes();
    bytes[..2].copy_from_slice(&FORMAT.to_be_bytes());
    let sum = checksum(&bytes[..2], &bytes[HEADER_BYTES..]);
    bytes[2..HEADER_BYTES].copy_from_slice(&sum.to_be_bytes());
    Snapshot { bytes: Bytes::from(bytes), large }
}

/// Checks the header and gives a reader of a snapshot in one piece.
pub(crate) fn open(bytes: &[u8]) -> Result<Reader<'_>, SnapshotError> {
    open_split(bytes).map(|(reader, _)| reader)
}

/// Checks the header and gives a reader of what follows the list of large values, and that list.
pub(crate) fn open_split(bytes: &[u8]) -> Result<(Reader<'_>, Vec<Hash16>), SnapshotError> {
    let (Some((format, rest)), true) = (bytes.split_first_chunk::<2>(), bytes.len() >= HEADER_BYTES) else {
        return Err(SnapshotError::corrupt("it is shorter than its header"));
    };
    let (sum, body) = rest.split_first_chunk::<8>().expect("the length was checked above");
    if checksum(format, body) != u64::from_be_bytes(*sum) {
        return Err(SnapshotError::corrupt("its checksum does not fit"));
    }
    match u16::from_be_bytes(*format) {
        FORMAT => {
            let mut reader = Reader::new(body);
            let large = reader.list()?;
            Ok((reader, large))
        }
        0 => Err(SnapshotError::corrupt("format 0 does not exist")),
        // No build that wrote it was ever released.
        1 => Err(SnapshotError::corrupt("format 1 is older than the first release")),
        format => Err(SnapshotError::Newer { format }),
    }
}

/// Loads the large values of a snapshot before the rest is read.
pub(crate) fn load(
    reader: &mut Reader<'_>,
    large: Vec<Hash16>,
    lookup: &mut dyn FnMut(Hash16) -> Option<Bytes>,
) -> Result<(), SnapshotError> {
    let mut values = HashMap::new();
    for hash in large {
        let bytes =
            lookup(hash).ok_or_else(|| SnapshotError::corrupt(format!("the large value {} is missing", hash.0)))?;
        values.insert(hash, bytes);
    }
    reader.store = Store::new(values);
    Ok(())
}

/// Everything must have been read; gives the large values that were met.
pub(crate) fn close(mut reader: Reader<'_>) -> Result<Known, SnapshotError> {
    let known = std::mem::take(&mut reader.store).into_known();
    reader.end()?;
    Ok(known)
}

/// FNV-1a: each step is a bijection of the state, so that any single changed byte changes the sum.
fn checksum(format: &[u8], body: &[u8]) -> u64 {
    format
        .iter()
        .chain(body)
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
