//! What an `amqps://` URL says about certificates, in the query parameters that RabbitMQ's own clients know. The files are read
//! for each connection anew, so that renewed certificates need no restart.

use std::io;
use std::path::{Path, PathBuf};

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};

use crate::port::BusError;

/// Whom to trust besides the authorities that browsers trust, and who we are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tls {
    /// `cacertfile`: certificates of authorities, PEM.
    authorities: Option<PathBuf>,
    /// `certfile` and `keyfile`: our own certificate and its key, PEM.
    identity: Option<(PathBuf, PathBuf)>,
}

/// Those that lapin reads, which ignores all others.
const CONNECTION: [&str; 5] = ["frame_max", "channel_max", "heartbeat", "connection_timeout", "auth_mechanism"];
const CERTIFICATES: [&str; 3] = ["cacertfile", "certfile", "keyfile"];

impl Tls {
    /// Reads the URL's query. The files are looked at, too: a wrong path is told at the start, not at each attempt to connect.
    pub(super) fn of(url: &str) -> Result<Self, BusError> {
        let query = url.split_once('?').map_or("", |(_, query)| query);
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        for (name, _) in &pairs {
            if !CONNECTION.contains(&name.as_str()) && !CERTIFICATES.contains(&name.as_str()) {
                return Err(BusError::Url(format!(
                    "the AMQP URL's query parameter `{name}` is unknown; there are {}, {}",
                    CONNECTION.join(", "),
                    CERTIFICATES.join(", ")
                )));
            }
            if CERTIFICATES.contains(&name.as_str()) && !url.starts_with("amqps:") {
                return Err(BusError::Url(format!(
                    "the AMQP URL's query parameter `{name}` is for amqps:// only; write amqps://, or leave it out"
                )));
            }
        }
        let file = |wanted: &str| pairs.iter().find(|(name, _)| name == wanted).map(|(_, path)| PathBuf::from(path));
        let identity = match (file("certfile"), file("keyfile")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(BusError::Url(
                    "the AMQP URL's query parameters `certfile` and `keyfile` go together; give both or none".into(),
                ));
            }
        };
        let tls = Self { authorities: file("cacertfile"), identity };
        tls.config().map_err(|why| BusError::Url(why.to_string()))?;
        Ok(tls)
    }

    /// Reads the files.
    pub(super) fn config(&self) -> io::Result<OwnedTLSConfig> {
        let authorities = match &self.authorities {
            Some(path) => Some(String::from_utf8(read(path)?).map_err(|_| no_pem(path))?),
            None => None,
        };
        let identity = match &self.identity {
            Some((certificate, key)) => Some(OwnedIdentity::PKCS8 { pem: read(certificate)?, key: read(key)? }),
            None => None,
        };
        Ok(OwnedTLSConfig { identity, cert_chain: authorities })
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let text = std::fs::read(path).map_err(|why| {
        io::Error::new(why.kind(), format!("{}, which the AMQP URL names, can't be read: {why}", path.display()))
    })?;
    if text.windows(11).any(|window| window == b"-----BEGIN ") { Ok(text) } else { Err(no_pem(path)) }
}

fn no_pem(path: &Path) -> io::Error {
    let what = format!("{}, which the AMQP URL names, is not PEM (text that begins with -----BEGIN)", path.display());
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(url: &str) -> String {
        Tls::of(url).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_url_names_certificates_and_its_mistakes_are_told_at_once() {
        assert_eq!(Tls::of("amqp://h/%2f?heartbeat=9"), Ok(Tls::default()));
        assert!(why("amqps://h/%2f?cacertfle=/x").contains("`cacertfle` is unknown"));
        assert!(why("amqp://h/%2f?cacertfile=/x").contains("amqps://"));
        assert!(why("amqps://h/%2f?certfile=/x").contains("`keyfile`"));
        assert!(why("amqps://h/%2f?cacertfile=/no/such/file").contains("/no/such/file"));
        let file = std::env::temp_dir().join(format!("flagstop-pem-{}", std::process::id()));
        std::fs::write(&file, "nothing").unwrap();
        let url = format!("amqps://h/%2f?cacertfile={}", file.display());
        assert!(why(&url).contains("is not PEM"));
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\n").unwrap();
        assert_eq!(Tls::of(&url), Ok(Tls { authorities: Some(file.clone()), identity: None }));
        std::fs::remove_file(&file).unwrap();
    }
}
