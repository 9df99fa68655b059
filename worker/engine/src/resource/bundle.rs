//! The external documents that a definition was compiled with, as one value that can be stored and hashed.

use std::collections::BTreeMap;

use bytes::Bytes;
use flagstop_schemas::Hash16;

use crate::limits::Limits;

/// One external document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// As its server said; `None` for files.
    pub media_type: Option<String>,
    /// The whole of it.
    pub bytes: Bytes,
}

/// External documents by the location that the definition gives them. The same documents always have the same bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle {
    documents: BTreeMap<String, Document>,
}

/// Why documents can't be bundled, or a bundle can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// One document is too large.
    #[error("FS-RESOURCE-SIZE: `{url}` has more than {bytes_max} bytes (limit `resource_bytes_max`)")]
    DocumentSize {
        /// Which.
        url: String,
        /// The limit.
        bytes_max: usize,
    },
    /// All together are too large.
    #[error(
        "FS-RESOURCE-SIZE: the definition's documents have more than {bytes_max} bytes together (limit \
         `bundle_bytes_max`)"
    )]
    Size {
        /// The limit.
        bytes_max: usize,
    },
    /// Too many.
    #[error("FS-RESOURCE-COUNT: the definition needs more than {count_max} documents (limit `resources_max`)")]
    Count {
        /// The limit.
        count_max: usize,
    },
    /// The bytes were not written by [`Bundle::encode`].
    #[error("FS-RESOURCE-CORRUPT: the stored documents can't be read: {0}; deploy the definition again")]
    Corrupt(&'static str),
}

/// The first byte of every encoded bundle: the format's number.
const FORMAT: u8 = 1;

impl Bundle {
    /// One more document, within the limits.
    ///
    /// # Errors
    /// It would be too large, or one too many.
    pub fn insert(&mut self, url: impl Into<String>, document: Document, limits: &Limits) -> Result<(), BundleError> {
        let url = url.into();
        if document.bytes.len() > limits.resource_bytes_max {
            return Err(BundleError::DocumentSize { url, bytes_max: limits.resource_bytes_max });
        }
        if self.documents.len() >= limits.resources_max && !self.documents.contains_key(&url) {
            return Err(BundleError::Count { count_max: limits.resources_max });
        }
        let others = self.iter().filter(|(other, _)| *other != url).map(|(_, other)| other.bytes.len()).sum::<usize>();
        if others + document.bytes.len() > limits.bundle_bytes_max {
            return Err(BundleError::Size { bytes_max: limits.bundle_bytes_max });
        }
        self.documents.insert(url, document);
        Ok(())
    }

    /// The document of a location.
    #[must_use]
    pub fn get(&self, url: &str) -> Option<&Document> {
        self.documents.get(url)
    }

    /// All of them by location.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Document)> {
        self.documents.iter().map(|(url, document)| (url.as_str(), document))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// A hash of all that is in it.
    #[must_use]
    pub fn fingerprint(&self) -> Hash16 {
        Hash16::of("flagstop/bundle", &[&self.encode()])
    }

    /// As bytes, for the store: the same documents always give the same.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut to = vec![FORMAT];
        put_number(self.documents.len(), &mut to);
        for (url, document) in &self.documents {
            put(url.as_bytes(), &mut to);
            put(document.media_type.as_deref().unwrap_or_default().as_bytes(), &mut to);
            put(&document.bytes, &mut to);
        }
        to.into()
    }

    /// What [`Bundle::encode`] wrote. No bytes at all are an empty bundle: what was stored before there were any.
    ///
    /// # Errors
    /// They are of another origin, or damaged.
    pub fn decode(bytes: &Bytes) -> Result<Self, BundleError> {
        let mut from = bytes.clone();
        let mut documents = BTreeMap::new();
        if from.is_empty() {
            return Ok(Self { documents });
        }
        if from.split_to(1)[0] != FORMAT {
            return Err(BundleError::Corrupt("another build wrote them"));
        }
        for _ in 0..take_number(&mut from)? {
            let url = take_text(&mut from)?;
            let media_type = Some(take_text(&mut from)?).filter(|media_type| !media_type.is_empty());
            documents.insert(url, Document { media_type, bytes: take(&mut from)? });
        }
        if from.is_empty() { Ok(Self { documents }) } else { Err(BundleError::Corrupt("there is more than should be")) }
    }
}

fn put_number(number: usize, to: &mut Vec<u8>) {
    to.extend_from_slice(&(number as u64).to_le_bytes());
}

fn put(bytes: &[u8], to: &mut Vec<u8>) {
    put_number(bytes.len(), to);
    to.extend_from_slice(bytes);
}

fn take_bytes(len: usize, from: &mut Bytes) -> Result<Bytes, BundleError> {
    if len > from.len() { Err(BundleError::Corrupt("they end too early")) } else { Ok(from.split_to(len)) }
}

fn take_number(from: &mut Bytes) -> Result<usize, BundleError> {
    let bytes = take_bytes(8, from)?;
    let number = bytes.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    usize::try_from(number).map_err(|_| BundleError::Corrupt("a length is too large"))
}

fn take(from: &mut Bytes) -> Result<Bytes, BundleError> {
    let len = take_number(from)?;
    take_bytes(len, from)
}

fn take_text(from: &mut Bytes) -> Result<String, BundleError> {
    String::from_utf8(take(from)?.into()).map_err(|_| BundleError::Corrupt("a text is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document { media_type: None, bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    #[test]
    fn the_same_documents_have_the_same_bytes_whatever_their_order() {
        let limits = Limits::default();
        let (mut one, mut other) = (Bundle::default(), Bundle::default());
        let yaml = Document { media_type: Some("application/yaml".into()), ..document("a: 1") };
        one.insert("b.yaml", yaml.clone(), &limits).unwrap();
        one.insert("a.json", document("{}"), &limits).unwrap();
        other.insert("a.json", document("{}"), &limits).unwrap();
        other.insert("b.yaml", yaml, &limits).unwrap();
        assert_eq!((one.encode(), one.fingerprint()), (other.encode(), other.fingerprint()));
        assert_eq!(Bundle::decode(&one.encode()), Ok(other));
        assert_eq!(Bundle::decode(&Bytes::new()), Ok(Bundle::default()));
        assert_ne!(one.fingerprint(), Bundle::default().fingerprint());
    }

    #[test]
    fn a_damaged_bundle_is_refused_wherever_it_is_cut() {
        let mut bundle = Bundle::default();
        bundle.insert("a", document("text"), &Limits::default()).unwrap();
        let bytes = bundle.encode();
        for end in 1..bytes.len() {
            assert!(matches!(Bundle::decode(&bytes.slice(..end)), Err(BundleError::Corrupt(_))), "{end}");
        }
        let longer = [bytes.as_ref(), b"x"].concat();
        assert!(Bundle::decode(&longer.into()).is_err());
        assert!(Bundle::decode(&Bytes::from_static(&[9])).is_err());
        let huge = [[FORMAT].as_slice(), &u64::MAX.to_le_bytes()].concat();
        assert!(Bundle::decode(&huge.into()).is_err());
    }

    #[test]
    fn a_bundle_is_bounded_in_every_direction() {
        let limits = Limits { resource_bytes_max: 4, bundle_bytes_max: 6, resources_max: 2, ..Limits::default() };
        let mut bundle = Bundle::default();
        assert!(matches!(bundle.insert("a", document("12345"), &limits), Err(BundleError::DocumentSize { .. })));
        bundle.insert("a", document("1234"), &limits).unwrap();
        assert_eq!(bundle.insert("b", document("123"), &limits), Err(BundleError::Size { bytes_max: 6 }));
        bundle.insert("b", document("12"), &limits).unwrap();
        assert_eq!(bundle.insert("c", document(""), &limits), Err(BundleError::Count { count_max: 2 }));
        bundle.insert("a", document("1"), &limits).unwrap();
        assert_eq!(bundle.iter().map(|(url, _)| url).collect::<Vec<_>>(), ["a", "b"]);
    }
}
