//! Compiles a definition together with the documents that it names: compile, fetch, compile again (D6).
//!
//! ```text
//! definition ─► plan ─► what is missing ─► file · HTTP ─► bundle ─┐
//!                 ▲                                               │
//!                 └───────────────────────────────────────────────┘ until nothing more can be fetched
//! ```
//! What can't be fetched is no mistake of the definition: it is given back, and the caller decides (`deploy` refuses,
//! `run` goes on, and the task that needs it faults).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use flagstop_engine::api::{EffectOutcome, Value};
use flagstop_engine::resource::{Bundle, DEFAULT_CATALOG, Document, Resource};
use flagstop_engine::{Diagnostics, Limits, Plan};
use url::Url;

use crate::http::{Http, HttpTransport};

/// Where a definition stands: what its relative references begin at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In this folder.
    Folder(PathBuf),
    /// At this URL.
    Url(Url),
    /// Nowhere: it came over the wire, say.
    Nowhere,
}

/// Whether the network may be asked.
#[derive(Clone, Copy)]
pub enum Network<'a> {
    /// Yes, by these.
    Online(&'a Http, &'a dyn HttpTransport),
    /// No: what lies there stays missing, which is no failure.
    Offline,
}

/// Where documents come from.
pub struct Sources<'a> {
    /// Where the definition stands.
    pub place: Place,
    /// The catalog of functions that are called without naming one: a folder or a URL.
    pub default_catalog: Option<String>,
    /// Whether the network may be asked.
    pub network: Network<'a>,
    /// For the authentication of requests.
    pub secrets: &'a BTreeMap<String, Value>,
}

/// A definition with all of its documents that could be fetched.
#[derive(Debug)]
pub struct Loaded {
    /// Compiled with `bundle`.
    pub plan: Plan,
    /// To be stored beside the definition's text.
    pub bundle: Bundle,
    /// What was asked for in vain. What is missing from the plan and not here was not asked for.
    pub failures: Vec<Failure>,
}

/// A document that could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("FS-RESOURCE-FETCH: {} `{}` can't be fetched: {reason}", .resource.purpose.words(), .resource.url)]
pub struct Failure {
    /// Which.
    pub resource: Resource,
    /// Why. Holds no secret.
    pub reason: String,
}

/// Where one document lies.
enum Location {
    File(PathBuf),
    Http(String),
}

/// Compiles a definition with all of its documents that `sources` has.
///
/// # Errors
/// What is wrong in the definition or in one of its documents.
pub async fn load(source: &[u8], sources: &Sources<'_>, limits: &Limits) -> Result<Loaded, Diagnostics> {
    let mut bundle = Bundle::default();
    let mut failures: Vec<Failure> = Vec::new();
    loop {
        let plan = Plan::compile_with(source, &bundle, limits)?;
        let failed = |resource: &Resource| failures.iter().any(|failure| failure.resource.url == resource.url);
        let wanted: Vec<Resource> = plan.missing().iter().filter(|missing| !failed(missing)).cloned().collect();
        let mut asked = 0;
        for resource in wanted {
            let fetched = match sources.fetch(&plan, &resource, limits).await {
                None => continue,
                Some(fetched) => fetched,
            };
            asked += 1;
            let inserted = fetched.and_then(|document| {
                bundle.insert(resource.url.as_str(), document, limits).map_err(|error| error.to_string())
            });
            if let Err(reason) = inserted {
                failures.push(Failure { resource, reason });
            }
        }
        // Every round adds to the bundle or to the failures, and both are bounded by what the documents name.
        if asked == 0 {
            return Ok(Loaded { plan, bundle, failures });
        }
    }
}

impl Place {
    /// The place of a definition's file.
    #[must_use]
    pub fn of_file(file: &Path) -> Self {
        Self::Folder(file.parent().map(Path::to_owned).unwrap_or_default())
    }
}

impl Sources<'_> {
    /// `None`: it may not be asked for.
    async fn fetch(&self, plan: &Plan, resource: &Resource, limits: &Limits) -> Option<Result<Document, String>> {
        match (self.locate(&resource.url), self.network) {
            (Err(why), _) => Some(Err(why)),
            (Ok(Location::File(path)), _) => Some(read(&path, limits.resource_bytes_max)),
            (Ok(Location::Http(_)), Network::Offline) => None,
            (Ok(Location::Http(url)), Network::Online(http, transport)) => {
                let request = match plan.request_for(resource, &url, self.secrets, limits) {
                    Ok(request) => request,
                    Err(problem) => return Some(Err(problem.to_string())),
                };
                Some(document(http.call(transport, &request).await))
            }
        }
    }

    fn locate(&self, url: &str) -> Result<Location, String> {
        if let Some(path) = url.strip_prefix(DEFAULT_CATALOG) {
            let catalog = self.default_catalog.as_deref().ok_or("no default catalog is configured (`catalog`)")?;
            return match Url::parse(catalog) {
                Ok(catalog) if is_url(&catalog) => {
                    located(&format!("{}/{path}", catalog.as_str().trim_end_matches('/')))
                }
                _ => Ok(Location::File(Path::new(catalog).join(path))),
            };
        }
        match (Url::parse(url), &self.place) {
            (Ok(absolute), _) if is_url(&absolute) => located(url),
            (_, Place::Folder(folder)) => Ok(Location::File(folder.join(url))),
            (_, Place::Url(base)) => located(base.join(url).map_err(|error| error.to_string())?.as_str()),
            (_, Place::Nowhere) if url.starts_with('/') => Ok(Location::File(url.into())),
            (_, Place::Nowhere) => {
                Err("it is relative, and where the definition stands is not known; write its full address".to_owned())
            }
        }
    }
}

/// A drive of Windows looks like a scheme.
fn is_url(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https" | "file")
}

fn located(url: &str) -> Result<Location, String> {
    let parsed = Url::parse(url).map_err(|error| error.to_string())?;
    match parsed.scheme() {
        "file" => parsed.to_file_path().map(Location::File).map_err(|()| "it is no local file".to_owned()),
        _ => Ok(Location::Http(parsed.into())),
    }
}

/// Blocks for as long as a small file takes: only while definitions are loaded.
fn read(path: &Path, bytes_max: usize) -> Result<Document, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(std::io::Error::other("it is no file"));
        }
        let mut bytes = Vec::new();
        // One byte more shows that it is too large, which the bundle says.
        std::fs::File::open(path)?.take(bytes_max as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Document { media_type: None, bytes: bytes.into() })
}

fn document(outcome: EffectOutcome) -> Result<Document, String> {
    match outcome {
        EffectOutcome::Http { status: 200..300, headers, body, .. } => {
            let media_type = headers.into_iter().find(|(name, _)| name == "content-type").map(|(_, value)| value);
            Ok(Document { media_type, bytes: body })
        }
        EffectOutcome::Http { status: status @ 300..400, headers, .. } => {
            let target = headers.iter().find(|(name, _)| name == "location").map_or("elsewhere", |(_, to)| to.as_str());
            Err(format!("the answer was {status}, a redirection to {target}; name that address itself"))
        }
        EffectOutcome::Http { status, .. } => Err(format!("the answer was {status}")),
        EffectOutcome::NotAuthenticated { reason } | EffectOutcome::NoAnswer { reason } => Err(reason),
        EffectOutcome::Process { .. } => Err("it was answered by a program".to_owned()),
    }
}
