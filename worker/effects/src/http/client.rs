//! The real transport: reqwest, within limits, without redirects.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::hosts::Hosts;
use super::transport::{Answer, HttpTransport, Outgoing};

/// What a client may use up, and whom it may ask.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// How long one exchange may take, in milliseconds.
    pub timeout_ms: u64,
    /// The largest body of an answer that is read, in bytes.
    pub response_bytes_max: usize,
    /// Whom it may ask.
    pub hosts: Hosts,
}

/// Sends requests over the network.
#[derive(Debug)]
pub struct Client {
    client: reqwest::Client,
    response_bytes_max: usize,
    hosts: Arc<Hosts>,
}

/// No client can be made.
#[derive(Debug, thiserror::Error)]
#[error("FS-HTTP-CLIENT: no HTTP client can be made: {0}")]
pub struct ClientError(#[from] reqwest::Error);

impl Client {
    /// A client with its own pool of connections.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        // Fails when there is one already, which is as good.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let hosts = Arc::new(options.hosts);
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_millis(options.timeout_ms))
            .user_agent(concat!("flagstop/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Resolver { hosts: hosts.clone() }))
            .build()?;
        Ok(Self { client, response_bytes_max: options.response_bytes_max, hosts })
    }

    async fn exchange(&self, request: Outgoing) -> Result<Answer, String> {
        let Outgoing { method, url, headers, body } = request;
        let method =
            reqwest::Method::from_bytes(method.as_bytes()).map_err(|_| format!("`{method}` is no HTTP method"))?;
        // Names are looked at when they are resolved; an address in the URL is never resolved.
        if let Some(address) = address_in(&url) {
            self.hosts.check(&address.to_string(), address).map_err(|why| why.to_string())?;
        }
        let mut call = self.client.request(method, &url);
        for (name, value) in &headers {
            call = call.header(name, value.as_bytes());
        }
        if let Some(body) = body {
            call = call.body(body);
        }
        let mut answer = call.send().await.map_err(reason)?;
        let max = self.response_bytes_max;
        let too_large = || format!("the answer is larger than {max} bytes (worker.http_response_bytes_max)");
        if answer.content_length().is_some_and(|length| length > max as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reason)? {
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        let headers = answer.headers().iter();
        let headers = headers.map(|(k, v)| (k.as_str().to_owned(), String::from_utf8_lossy(v.as_bytes()).into_owned()));
        Ok(Answer { status: answer.status().as_u16(), headers: headers.collect(), body: body.into() })
    }
}

#[async_trait]
impl HttpTransport for Client {
    async fn send(&self, request: Outgoing) -> Result<Answer, String> {
        self.exchange(request).await
    }
}

/// Resolves names and leaves out the addresses that may not be asked.
struct Resolver {
    hosts: Arc<Hosts>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let hosts = self.hosts.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let mut refused = None;
            let mut allowed = Vec::new();
            for address in found {
                match hosts.check(name.as_str(), address.ip()) {
                    Ok(()) => allowed.push(address),
                    Err(why) => refused = Some(why),
                }
            }
            match (allowed.is_empty(), refused) {
                (true, Some(why)) => Err(why.into()),
                _ => Ok(Box::new(allowed.into_iter()) as Addrs),
            }
        })
    }
}

fn address_in(url: &str) -> Option<IpAddr> {
    match Url::parse(url).ok()?.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// What went wrong, down to its root: reqwest's own text only says that sending failed. The URL may hold secrets.
fn reason(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
