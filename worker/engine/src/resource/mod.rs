//! Documents outside of a definition: functions, schemas, API descriptions, scripts.
//!
//! The engine never fetches. A [`crate::Plan`] says which documents it still lacks, the driver fetches them into a
//! [`Bundle`] and compiles again; what is deployed is the text and its bundle, so that all workers compile the same
//! plan for ever (D6).
//!
//! ```text
//! compile ─► missing ─► fetch ─► bundle ─► compile ─► … ─► nothing is missing: store text and bundle
//! ```

mod bundle;
mod location;

use crate::problem::{Problem, ProblemKind};

pub use bundle::{Bundle, BundleError, Document};
pub use location::DEFAULT_CATALOG;
pub(crate) use location::{catalog_function, raw, resolve};

/// A document that a definition names and its bundle lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Its key in the bundle. Absolute (`https:`, `http:`, `file:`), or relative to the definition's own place, or, under
    /// [`DEFAULT_CATALOG`], in the catalog that the driver was configured with.
    pub url: String,
    /// What it is for.
    pub purpose: Purpose,
}

/// What an external document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// `call` of a function that lies elsewhere.
    Function,
    /// `schema.resource`.
    Schema,
    /// `document` of an OpenAPI call.
    OpenApi,
    /// `run.script.source`.
    Script,
}

/// An external document, as the compiler sees it.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    /// It is in the bundle under this location.
    Here(String, Document),
    /// It is to be fetched first.
    Missing(Missing),
}

/// A document that a plan was compiled without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) resource: Resource,
}

impl Missing {
    /// What a task faults with that needs it.
    pub(crate) fn problem(&self) -> Problem {
        let Resource { url, purpose } = &self.resource;
        let detail = format!("{} `{url}` was not fetched when the definition was loaded", purpose.words());
        Problem::new(ProblemKind::Configuration, detail, "")
    }
}

impl Purpose {
    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Function => "the function",
            Self::Schema => "the schema",
            Self::OpenApi => "the OpenAPI document",
            Self::Script => "the script",
        }
    }
}
