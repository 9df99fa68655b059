//! Limits of different sections that must fit into each other (PROTOCOL D13): what the engine commits must be something that
//! the bus publishes and that workers hear. Looked at once, when all sources are read.

use super::Config;

/// A text of an error may double many times over in JSON, where a control character takes six bytes; and there is more in a
/// status event than that.
const OUTPUT_PART: usize = 8;

/// AMQP's longest routing key, in bytes.
const ROUTING_KEY_BYTES_MAX: usize = 255;

/// Two numbers with their keys: the first must not be above the second.
struct Pair<'a> {
    small: (&'a str, usize),
    large: (&'a str, usize),
    why: &'a str,
}

/// What is wrong, and how to mend it.
pub(super) fn check(config: &Config) -> Result<(), (String, String)> {
    let (engine, codec, bus) = (&config.worker.engine, &config.worker.codec, &config.bus);
    let payload = ("worker.engine.payload_bytes_max", engine.payload_bytes_max);
    let body = ("bus.body_bytes_max", bus.body_bytes_max);
    let pairs = [
        Pair { small: payload, large: body, why: "an event that a workflow emits could never be published" },
        Pair {
            small: payload,
            large: ("worker.codec.body_bytes_max", codec.body_bytes_max),
            why: "an event that a workflow emits could never be heard",
        },
        Pair {
            small: ("worker.engine.output_bytes_max, eightfold", engine.output_bytes_max.saturating_mul(OUTPUT_PART)),
            large: body,
            why: "a status event with such an output, written as JSON, might never be published",
        },
        Pair {
            small: ("worker.engine.event_attribute_bytes_max", engine.event_attribute_bytes_max),
            large: ("worker.codec.attribute_bytes_max", codec.attribute_bytes_max),
            why: "an event that a workflow emits could never be heard",
        },
        Pair {
            small: ("worker.engine.event_extensions_max", engine.event_extensions_max),
            large: ("worker.codec.extensions_max", codec.extensions_max),
            why: "an event that a workflow emits could never be heard",
        },
        Pair {
            small: ("worker.engine.event_attributes_bytes_max", engine.event_attributes_bytes_max),
            large: ("bus.headers_bytes_max", bus.headers_bytes_max),
            why: "an event that a workflow emits could never be published",
        },
    ];
    for Pair { small: (small, low), large: (large, high), why } in pairs {
        if low > high {
            let what = format!("`{small}` ({low}) is more than `{large}` ({high}): {why}");
            return Err((what, "lower the first, or raise the second".to_owned()));
        }
    }
    let is_amqp = config.bus_url.as_deref().is_some_and(|url| url.starts_with("amqp"));
    let type_bytes = engine.event_type_bytes_max;
    if is_amqp && type_bytes > ROUTING_KEY_BYTES_MAX {
        let what = format!(
            "`worker.engine.event_type_bytes_max` ({type_bytes}) is more than the {ROUTING_KEY_BYTES_MAX} bytes of RabbitMQ's \
             routing keys: an event with such a type could never be published"
        );
        return Err((what, "lower it".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::defaults;

    fn told(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::of(&defaults()).expect("the defaults are right");
        change(&mut config);
        check(&config).err().map(|(what, _)| what).unwrap_or_default()
    }

    #[test]
    fn what_is_committed_fits_into_what_is_published_and_heard() {
        assert_eq!(told(|_| {}), "", "the defaults agree");
        let what = told(|config| config.worker.engine.payload_bytes_max = 2 << 20);
        assert!(what.contains("`worker.engine.payload_bytes_max` (2097152)"), "{what}");
        assert!(what.contains("`bus.body_bytes_max` (1048576)") && what.contains("never be published"), "{what}");
        let what = told(|config| {
            config.worker.engine.payload_bytes_max = 2 << 20;
            config.bus.body_bytes_max = 2 << 20;
        });
        assert!(what.contains("worker.codec.body_bytes_max") && what.contains("never be heard"), "{what}");
        let all = |config: &mut Config| {
            config.worker.engine.payload_bytes_max = 2 << 20;
            config.bus.body_bytes_max = 2 << 20;
            config.worker.codec.body_bytes_max = 2 << 20;
        };
        assert_eq!(told(all), "", "raised together");
        assert!(told(|config| config.bus.headers_bytes_max = 1_000).contains("event_attributes_bytes_max"));
        assert!(told(|config| config.worker.engine.output_bytes_max = 1 << 20).contains("eightfold"));
        let long = |url: &str| {
            let url = url.to_owned();
            told(|config| {
                config.bus_url = Some(url);
                config.worker.engine.event_type_bytes_max = 300;
            })
        };
        assert!(long("amqps://h/%2f").contains("routing keys"));
        assert_eq!(long("kafka://h:9092"), "");
    }
}
