//! Whom workflows may ask: an allow and a deny list of hosts and networks.
//!
//! Link-local addresses are denied unless the allow list names them: there clouds keep the credentials of their machines.

use std::net::IpAddr;

/// Which hosts may be asked. Deny wins; an empty allow list allows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hosts {
    allow: Vec<Rule>,
    deny: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Any,
    Name(String),
    /// `*.example.com`: whatever stands before the last part.
    Below(String),
    Network(IpAddr, u8),
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("FS-HOSTS: `{0}` names no host: write `example.com`, `*.example.com`, `10.1.2.3`, `10.0.0.0/8` or `*`")]
pub struct HostRuleError(String);

/// A host may not be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host {0} is not allowed by this worker's configuration")]
pub(super) struct NotAllowed(String);

impl Hosts {
    /// From the texts of a configuration.
    ///
    /// # Errors
    /// The first text that names no host.
    pub fn new(allow: &[String], deny: &[String]) -> Result<Self, HostRuleError> {
        let rules = |texts: &[String]| texts.iter().map(|text| Rule::parse(text)).collect::<Result<Vec<_>, _>>();
        Ok(Self { allow: rules(allow)?, deny: rules(deny)? })
    }

    /// Whether a host at this address may be asked.
    pub(super) fn check(&self, host: &str, address: IpAddr) -> Result<(), NotAllowed> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let address = address.to_canonical();
        let is_named = |rule: &Rule| rule.takes(&host, address);
        let is_network = |rule: &Rule| matches!(rule, Rule::Network(..)) && rule.takes(&host, address);
        let denied = self.deny.iter().any(is_named)
            || !self.allow.is_empty() && !self.allow.iter().any(is_named)
            || is_link_local(address) && !self.allow.iter().any(is_network);
        if denied { Err(NotAllowed(host)) } else { Ok(()) }
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, HostRuleError> {
        let wrong = || HostRuleError(text.to_owned());
        let trimmed = text.trim().to_ascii_lowercase();
        if trimmed == "*" {
            return Ok(Self::Any);
        }
        if let Some((network, bits)) = trimmed.split_once('/') {
            let network: IpAddr = network.parse().map_err(|_| wrong())?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(network)).ok_or_else(wrong)?;
            return Ok(Self::Network(network, bits));
        }
        if let Ok(address) = trimmed.parse::<IpAddr>() {
            return Ok(Self::Network(address, width(address)));
        }
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        match trimmed.strip_prefix("*.") {
            Some(name) if is_name(name) => Ok(Self::Below(format!(".{name}"))),
            None if is_name(&trimmed) => Ok(Self::Name(trimmed)),
            _ => Err(wrong()),
        }
    }

    fn takes(&self, host: &str, address: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Name(name) => host == name,
            Self::Below(end) => host.ends_with(end),
            Self::Network(network, bits) => {
                let shift = u32::from(width(*network) - bits);
                width(*network) == width(address)
                    && number(*network).checked_shr(shift) == number(address).checked_shr(shift)
            }
        }
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(allow: &[&str], deny: &[&str]) -> Hosts {
        let texts = |rules: &[&str]| rules.iter().map(|rule| (*rule).to_owned()).collect::<Vec<_>>();
        Hosts::new(&texts(allow), &texts(deny)).unwrap()
    }

    fn is_allowed(hosts: &Hosts, host: &str, address: &str) -> bool {
        hosts.check(host, address.parse().unwrap()).is_ok()
    }

    #[test]
    fn everything_but_link_local_is_allowed_by_default() {
        let open = Hosts::default();
        assert!(is_allowed(&open, "a.example", "93.184.216.34") && is_allowed(&open, "localhost", "127.0.0.1"));
        for link_local in ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1"] {
            assert!(!is_allowed(&open, "metadata.example", link_local), "{link_local}");
            // A wildcard is not meant to open it.
            assert!(!is_allowed(&hosts(&["*"], &[]), "metadata.example", link_local));
        }
        assert!(is_allowed(&hosts(&["*", "169.254.0.0/16"], &[]), "x", "169.254.169.254"));
    }

    #[test]
    fn names_and_networks_are_allowed_and_denied() {
        let some = hosts(&["*.example.com", "api.other", "10.0.0.0/8"], &["bad.example.com", "10.9.0.0/16"]);
        for (host, address, allowed) in [
            ("a.example.com", "1.2.3.4", true),
            ("A.B.Example.com.", "1.2.3.4", true),
            ("example.com", "1.2.3.4", false),
            ("bad.example.com", "1.2.3.4", false),
            ("api.other", "1.2.3.4", true),
            ("else.where", "1.2.3.4", false),
            ("else.where", "10.1.2.3", true),
            ("else.where", "10.9.2.3", false),
            ("a.example.com", "10.9.2.3", false),
        ] {
            assert_eq!(is_allowed(&some, host, address), allowed, "{host} {address}");
        }
        for wrong in ["", "a b", "10.0.0.0/33", "*example.com", "http://a"] {
            assert!(Hosts::new(&[wrong.to_owned()], &[]).is_err(), "{wrong}");
        }
    }
}
