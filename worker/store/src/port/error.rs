//! What can go wrong with a store, and what that means for who called it.

/// Why a call to the store failed as a whole. A single member's failure is a [`Verdict`], not an error.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The URL is not one of a store.
    #[error("FS-STORE-URL: {0}")]
    Url(String),
    /// Not reachable, or the connection broke. After [`Store::commit`](super::Store::commit) the outcome is unknown: do it again (D11).
    #[error("FS-STORE-UNREACHABLE: {0}")]
    Unreachable(String),
    /// The store's user may not do this. Nothing was done; do it again once it is granted.
    #[error("FS-STORE-DENIED: {0}")]
    Denied(String),
    /// The schema is missing, older than this build needs, or no longer allows this build (D16).
    #[error("FS-STORE-SCHEMA: {0}")]
    Schema(String),
    /// A definition with the same name and version but other content is already there.
    #[error(
        "FS-DEPLOY-CONFLICT: {namespace}/{name} {version} is already deployed with other content; give the changed definition a new version"
    )]
    DefinitionConflict {
        /// `document.namespace`.
        namespace: String,
        /// `document.name`.
        name: String,
        /// `document.version`.
        version: String,
    },
    /// The database refused the call for another reason.
    #[error("FS-STORE-FAILED: {0}")]
    Failed(String),
}
