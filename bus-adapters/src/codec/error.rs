//! Why a message is not an event that we take, for the dead letter's reader.

/// Each text says what is wrong, where, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Neither binary nor structured mode.
    #[error("FS-EVENT-NOT-CLOUDEVENT: the message is not a CloudEvent: {0}")]
    NotCloudEvent(String),
    /// The body says that it is JSON, and is not.
    #[error(
        "FS-EVENT-NOT-JSON: {what} is not well-formed JSON: {why}; correct it, or declare another datacontenttype if the data is not JSON"
    )]
    NotJson {
        /// Which part.
        what: &'static str,
        /// What and where (line, column).
        why: String,
    },
    /// A limit on bytes.
    #[error(
        "FS-EVENT-TOO-LARGE: the {what} has {bytes} bytes, more than the limit of {bytes_max}; make it smaller (store large data elsewhere and send its address) or raise the limit"
    )]
    TooLarge {
        /// Which part.
        what: String,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The limit on nesting.
    #[error(
        "FS-EVENT-TOO-DEEP: {what} nests arrays and objects more than {depth_max} deep at byte {offset}; flatten it"
    )]
    TooDeep {
        /// Which part.
        what: &'static str,
        /// The limit.
        depth_max: usize,
        /// Where the limit is passed.
        offset: usize,
    },
    /// A context attribute is missing or not as the specification has it.
    #[error("FS-EVENT-ATTRIBUTE: attribute `{name}`: {why}")]
    Attribute {
        /// The attribute.
        name: String,
        /// What is wrong and what is right.
        why: String,
    },
}

impl CodecError {
    /// The stable code, as it stands in the text too.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotCloudEvent(_) => "FS-EVENT-NOT-CLOUDEVENT",
            Self::NotJson { .. } => "FS-EVENT-NOT-JSON",
            Self::TooLarge { .. } => "FS-EVENT-TOO-LARGE",
            Self::TooDeep { .. } => "FS-EVENT-TOO-DEEP",
            Self::Attribute { .. } => "FS-EVENT-ATTRIBUTE",
        }
    }

    pub(super) fn attribute(name: &str, why: impl Into<String>) -> Self {
        let name = name.chars().take(64).collect();
        Self::Attribute { name, why: why.into() }
    }
}
