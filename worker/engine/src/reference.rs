//! The identity of a definition, checked: `document.namespace`, `document.name`, `document.version`.

use crate::api::Reference;

/// Why a name or version is refused; the text says how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Not a DNS label.
    #[error("`{0}` is no name: 1 to 63 letters, digits and `-`, beginning and ending with a letter or digit")]
    Label(String),
    /// Not a semantic version.
    #[error("`{0}` is no semantic version: write three numbers like '1.0.0', in quotes")]
    Version(String),
}

/// Checks a namespace or name.
pub fn label(text: &str) -> Result<(), ReferenceError> {
    /// Characters of a DNS label.
    const LABEL_CHARS_MAX: usize = 63;
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let outer = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let good = bytes.len() <= LABEL_CHARS_MAX
        && outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(|byte| inner(*byte));
    if good { Ok(()) } else { Err(ReferenceError::Label(text.to_owned())) }
}

/// Reads a semantic version.
pub fn version(text: &str) -> Result<semver::Version, ReferenceError> {
    semver::Version::parse(text).map_err(|_| ReferenceError::Version(text.to_owned()))
}

impl Reference {
    /// Checks the three parts.
    pub fn parse(namespace: &str, name: &str, version_text: &str) -> Result<Self, ReferenceError> {
        label(namespace)?;
        label(name)?;
        let version = version(version_text)?;
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned(), version })
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}", self.namespace, self.name, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_two_labels_and_a_semantic_version() {
        let reference = Reference::parse("hr", "Onboarding-2", "1.2.3-rc.1+b5").unwrap();
        assert_eq!(reference.to_string(), "hr/Onboarding-2/1.2.3-rc.1+b5");
        assert!(label(&"a".repeat(63)).is_ok());
        for bad in ["", "-a", "a-", "a_b", "a.b", "ä", "a b", &"a".repeat(64)] {
            assert!(label(bad).is_err(), "{bad}");
        }
        for bad in ["1.0", "1", "v1.0.0", "01.0.0", "latest", ""] {
            assert!(version(bad).is_err(), "{bad}");
        }
        assert!(version("1.10.0").unwrap() > version("1.9.0").unwrap());
    }
}
