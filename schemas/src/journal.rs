//! The stored form of what one transition put into the journal. Must never parse the JSON that it carries when writing,
//! nor lose a byte of it.
//!
//! ```text
//! format  header                                          count  entry …
//! 1 byte  namespace name version instance business-key    varint
//!
//! entry = 1  kind  sequence  at_us  task? output? error? correlationKeys?  n  (name value) …
//!       | 2 or 3  id source type  subject? time? datacontenttype? dataschema?   n  (name value) …  data
//!       | 4  task result
//! ```
//! Texts carry their length as a varint in front. What may be missing stands behind a byte, 0 or 1. The format byte
//! changes when an older build could not read the row rightly; so do the numbers below never change their meaning.

mod read;
mod write;

use bytes::Bytes;

use crate::{Entry, Header};

/// The newest format: rows that hold answers to commands, or late results. All others are of the first, which older builds read.
const FORMAT: u8 = 2;
const FORMAT_FIRST: u8 = 1;

const ENTRY_STATUS: u8 = 1;
const ENTRY_EMITTED: u8 = 2;
const ENTRY_ANSWER: u8 = 3;
const ENTRY_LATE: u8 = 4;

const DATA_ABSENT: u8 = 0;
const DATA_JSON: u8 = 1;
const DATA_BINARY: u8 = 2;

const VALUE_TEXT: u8 = 0;
const VALUE_JSON: u8 = 1;

/// Attribute names that one process learns from rows, at most: all builds together know a dozen.
const ATTRIBUTE_NAMES_MAX: usize = 256;
/// Length of a CloudEvents attribute name that we write.
const ATTRIBUTE_NAME_BYTES_MAX: usize = 64;

/// Why a journal row can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JournalError {
    /// A newer build wrote it.
    #[error(
        "FS-JOURNAL-FORMAT: the journal row has format {0}, this build reads up to {FORMAT}; read it with the build that wrote it"
    )]
    Format(u8),
    /// The bytes are not what was written.
    #[error("FS-JOURNAL-DAMAGED: the journal row is damaged at byte {at}: {why}; restore it from a backup")]
    Damaged {
        /// Where the reader stood.
        at: usize,
        /// What is wrong there.
        why: &'static str,
    },
}

/// Writes one transition's entries.
#[must_use]
pub fn encode(header: &Header, entries: &[Entry]) -> Bytes {
    write::row(header, entries)
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// [`JournalError::Format`] for the row of a newer build, [`JournalError::Damaged`] for anything else unreadable.
pub fn decode(bytes: &[u8]) -> Result<(Header, Vec<Entry>), JournalError> {
    read::row(bytes)
}
