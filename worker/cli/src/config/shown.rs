//! The configuration as it may be shown: without what only its owner may know.

use serde_json::Value;

/// What stands where a secret was.
const HIDDEN: &str = "…";

/// Parts of names behind which secrets stand.
const SECRET_WORDS: [&str; 9] =
    ["password", "passphrase", "secret", "token", "jaas", "key.pem", "ssl_key", "credential", "oauthbearer.config"];

/// A URL that may be shown: without its password, and without the values of parameters that hold one.
pub fn shown_url(url: &str) -> String {
    let url = without_parameters(url);
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    match rest.rsplit_once('@') {
        Some((user, place)) => match user.split_once(':') {
            Some((name, _)) => format!("{scheme}://{name}:{HIDDEN}@{place}"),
            None => url,
        },
        None => url,
    }
}

/// The whole tree, to be printed. Where the secrets are is no secret.
pub fn shown(mut tree: Value) -> Value {
    redact("", &mut tree);
    tree
}

fn redact(name: &str, value: &mut Value) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(name, value)| redact(name, value)),
        Value::Array(items) => items.iter_mut().for_each(|item| redact(name, item)),
        Value::String(text) if is_secret(name) && name != "secrets" => HIDDEN.clone_into(text),
        Value::String(text) if text.contains("://") => *text = shown_url(text),
        _ => {}
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

fn without_parameters(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else { return url.to_owned() };
    let hide = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(name) => format!("{name}={HIDDEN}"),
        _ => pair.to_owned(),
    };
    let pairs: Vec<String> = query.split('&').map(hide).collect();
    format!("{place}?{}", pairs.join("&"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(shown_url("postgres://flag:s3:cr@t@h:5432/d"), "postgres://flag:…@h:5432/d");
        assert_eq!(shown_url("postgres://flag@h/d"), "postgres://flag@h/d");
        assert_eq!(shown_url("postgres://h/d?user=u&password=p@x"), "postgres://h/d?user=u&password=…");
        assert_eq!(
            shown_url("kafka://h:9092,i:9092/?sasl.username=u&sasl.password=p&linger.ms=5"),
            "kafka://h:9092,i:9092/?sasl.username=u&sasl.password=…&linger.ms=5"
        );
        assert_eq!(shown_url("sqlite:a@b.db"), "sqlite:a@b.db");
    }

    /// All that librdkafka 2.12 marks as sensitive (`_RK_SENSITIVE` in its `rdkafka_conf.c`).
    #[test]
    fn what_librdkafka_calls_sensitive_is_hidden_unless_it_is_a_name_a_path_or_public() {
        let hidden = [
            "ssl.key.password",
            "ssl.key.pem",
            "ssl_key",
            "ssl.keystore.password",
            "sasl.password",
            "sasl.oauthbearer.config",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.client.credentials.client.secret",
            "sasl.oauthbearer.assertion.private.key.passphrase",
            "sasl.oauthbearer.assertion.private.key.pem",
        ];
        let plain = [
            "sasl.username",
            "ssl.key.location",
            "ssl.ca.pem",
            "sasl.oauthbearer.assertion.private.key.file",
            "security.protocol",
        ];
        for (names, expected) in [(&hidden[..], HIDDEN), (&plain[..], "v4lue")] {
            for name in names {
                assert_eq!(shown(json!({ "consumer": { *name: "v4lue" } }))["consumer"][*name], expected, "{name}");
                assert_eq!(
                    shown_url(&format!("kafka://h:9092/?{name}=v4lue&linger.ms=5")),
                    format!("kafka://h:9092/?{name}={expected}&linger.ms=5")
                );
            }
        }
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let tree = json!({
            "bus": {
                "url": "amqp://u:p@h:5672",
                "producer": { "sasl.password": "p", "linger.ms": "5", "sasl.jaas.config": "x", "ssl.key.pem": "k" },
            },
            "worker": { "batch_max": 1, "http_deny": ["10.0.0.0/8"], "secrets": "/etc/secrets" },
        });
        let shown = shown(tree);
        assert_eq!(shown["bus"]["url"], "amqp://u:…@h:5672");
        let producer = json!({ "sasl.password": "…", "linger.ms": "5", "sasl.jaas.config": "…", "ssl.key.pem": "…" });
        assert_eq!(shown["bus"]["producer"], producer);
        assert_eq!(shown["worker"], json!({ "batch_max": 1, "http_deny": ["10.0.0.0/8"], "secrets": "/etc/secrets" }));
    }
}
