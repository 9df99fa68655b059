//! The port to the network: one request, one answer, nothing of authentication.

use async_trait::async_trait;
use bytes::Bytes;

/// Sends requests. Of `flagstop test` it is the script of the case; of everything else, [`super::Client`].
#[async_trait]
pub trait HttpTransport: Send + Sync {
    /// One request, one answer, whatever its status; redirects are answers.
    ///
    /// # Errors
    /// Why no answer came, in words for an error's detail: without what may hold secrets.
    async fn send(&self, request: Outgoing) -> Result<Answer, String>;
}

/// A request as it goes out, with its header `Authorization`. It holds secrets: it is neither stored nor shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Upper case.
    pub method: String,
    /// Absolute, with its query.
    pub url: String,
    /// Names as they were written, and values.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Bytes>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Bytes,
}

impl Answer {
    /// All values of a header, whose name is given in lower case.
    pub(super) fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(set, _)| set == name).map(|(_, value)| value.as_str())
    }
}
