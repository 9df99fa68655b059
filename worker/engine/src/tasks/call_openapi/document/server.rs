//! Where an operation is asked: servers of 3.x, `schemes`, `host` and `basePath` of 2.0.

use url::Url;

use super::{Document, DocumentError, Version, texts};
use crate::value::{self, Value};

impl Document<'_> {
    /// The first server that is named closest to the operation; relative ones lie beside the document.
    pub(super) fn server(&self, item: &Value, operation: &Value) -> Result<String, DocumentError> {
        let url = match self.version {
            Version::Two => self.host(operation)?,
            Version::Three => {
                let servers =
                    [operation, item, self.root].into_iter().filter_map(|holder| value::get(holder, "servers"));
                let server = servers.filter_map(value::as_array).find_map(<[Value]>::first);
                self.absolute(&server.map_or_else(|| "/".to_owned(), filled))?
            }
        };
        if !matches!(url.scheme(), "http" | "https") {
            return Err(DocumentError::Server(format!("`{}:` is neither http nor https", url.scheme())));
        }
        // Neither belongs to a base.
        let mut url = url;
        url.set_query(None);
        url.set_fragment(None);
        Ok(url.as_str().trim_end_matches('/').to_owned())
    }

    fn host(&self, operation: &Value) -> Result<Url, DocumentError> {
        let own = Url::parse(self.location).ok().filter(Url::has_host);
        let text = |key: &str| value::get(self.root, key).and_then(value::as_str).filter(|text| !text.is_empty());
        let schemes = value::get(operation, "schemes").or_else(|| value::get(self.root, "schemes"));
        let schemes = schemes.map(texts).unwrap_or_default();
        let scheme = match (schemes.contains(&"https"), schemes.first(), &own) {
            (true, ..) => "https",
            (false, Some(first), _) => first,
            (false, None, Some(own)) => own.scheme(),
            (false, None, None) => "https",
        };
        let host = match (text("host"), &own) {
            (Some(host), _) => host.to_owned(),
            (None, Some(own)) => own.authority().to_owned(),
            (None, None) => return Err(DocumentError::Server("it has no `host` and lies on none".to_owned())),
        };
        let url = format!("{scheme}://{host}{}", text("basePath").unwrap_or_default());
        Url::parse(&url).map_err(|why| DocumentError::Server(format!("`{url}`: {why}")))
    }

    fn absolute(&self, server: &str) -> Result<Url, DocumentError> {
        match Url::parse(server) {
            Ok(url) => Ok(url),
            Err(_) => Url::parse(self.location).and_then(|own| own.join(server)).map_err(|_| {
                DocumentError::Server(format!("`{server}` is relative, and so is where the document lies"))
            }),
        }
    }
}

/// A server's URL with the defaults of its variables.
fn filled(server: &Value) -> String {
    let mut url = value::get(server, "url").and_then(value::as_str).unwrap_or("/").to_owned();
    for (name, variable) in value::get(server, "variables").into_iter().flat_map(value::entries) {
        let default = value::get(variable, "default").and_then(value::as_str).unwrap_or_default();
        url = url.replace(&format!("{{{name}}}"), default);
    }
    url
}
