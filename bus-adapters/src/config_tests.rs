//! What a user sees of URLs and of the configuration.

use super::*;

fn why(url: &str) -> String {
    Target::parse(url).expect_err("must be refused").to_string()
}

#[test]
fn the_url_chooses_the_driver() {
    assert_eq!(Target::parse("embedded:"), Ok(Target::Embedded { path: None }));
    assert_eq!(Target::parse("embedded:data/bus.db"), Ok(Target::Embedded { path: Some("data/bus.db".into()) }));
    assert_eq!(Target::parse("amqp://h"), Ok(Target::RabbitMq("amqp://h".into())));
    assert_eq!(
        Target::parse("kafka://a:9092,b:9093/?session.timeout.ms=9000&sasl.password=p%26q"),
        Ok(Target::Kafka {
            brokers: "a:9092,b:9093".into(),
            properties: [("session.timeout.ms", "9000"), ("sasl.password", "p&q")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
        })
    );
}

#[test]
fn a_wrong_url_says_how_to_mend_it() {
    for url in ["nats://h:1", "localhost"] {
        let why = why(url);
        assert!(why.starts_with("FS-BUS-URL: "), "{why}");
        for scheme in ["amqp://", "amqps://", "kafka://", "embedded:"] {
            assert!(why.contains(scheme), "{why} names {scheme}");
        }
    }
    assert!(why("kafka://h/").contains("host:port"));
    assert!(why("kafka://h:1/?enable.auto.offset.store=true").contains("enable.auto.offset.store"));
}

#[test]
fn passwords_are_not_shown() {
    assert_eq!(without_password("amqp://me:s3cret@h:5672/v"), "amqp://…@h:5672/v");
    assert_eq!(without_password("kafka://h:1"), "kafka://h:1");
}

#[test]
fn unknown_keys_are_errors_and_everything_has_a_default() {
    let config: BusConfig = serde_json::from_str(r#"{"prefix":"t1.","names":{"work":"w"}}"#).unwrap();
    assert_eq!(config.prefixed(&config.names.work), "t1.w");
    assert_eq!(config.exchange(Channel::Dead), "t1.flagstop.dead");
    assert_eq!(config.topic(Channel::Dead), "t1.flagstop.dead-letters");
    assert_eq!(config.partitions, 4);
    assert!(serde_json::from_str::<BusConfig>(r#"{"prefeth":1}"#).unwrap_err().to_string().contains("prefeth"));
}
