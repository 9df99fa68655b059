//! The snapshot: an instance as bytes.
//!
//! ```text
//! format: u16 · checksum of all other bytes: u64 · body          (big endian)
//! ```
//! The first ten bytes mean the same in every format for ever, so that any build can tell a newer snapshot (which is
//! handed back, D16) from a damaged one. The body is positional and holds no copy of the definition; a value that
//! several places share is written once. Never written here: secrets and rendered requests.

mod codec;
mod outcomes;
mod values;

pub(crate) use codec::{Reader, Stored, Writer};

use bytes::Bytes;

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

/// Puts the header before a body.
pub(crate) fn seal(write: impl FnOnce(&mut Writer)) -> Bytes {
    let mut writer = Writer::with_header(HEADER_BYTES);
    write(&mut writer);
    let mut bytes = writer.into_bytes();
    bytes[..2].copy_from_slice(&FORMAT.to_be_bytes());
    let sum = checksum(&bytes[..2], &bytes[HEADER_BYTES..]);
    bytes[2..HEADER_BYTES].copy_from_slice(&sum.to_be_bytes());
    Bytes::from(bytes)
}

/// Checks the header and gives a reader of the body.
pub(crate) fn open(bytes: &[u8]) -> Result<Reader<'_>, SnapshotError> {
    let (Some((format, rest)), true) = (bytes.split_first_chunk::<2>(), bytes.len() >= HEADER_BYTES) else {
        return Err(SnapshotError::corrupt("it is shorter than its header"));
    };
    let (sum, body) = rest.split_first_chunk::<8>().expect("the length was checked above");
    if checksum(format, body) != u64::from_be_bytes(*sum) {
        return Err(SnapshotError::corrupt("its checksum does not fit"));
    }
    match u16::from_be_bytes(*format) {
        FORMAT => Ok(Reader::new(body)),
        0 => Err(SnapshotError::corrupt("format 0 does not exist")),
        // No build that wrote it was ever released.
        1 => Err(SnapshotError::corrupt("format 1 is older than the first release")),
        format => Err(SnapshotError::Newer { format }),
    }
}

/// FNV-1a: each step is a bijection of the state, so that any single changed byte changes the sum.
fn checksum(format: &[u8], body: &[u8]) -> u64 {
    format
        .iter()
        .chain(body)
        .fold(0xcbf2_9ce4_8422_2325, |sum: u64, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
