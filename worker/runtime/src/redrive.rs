//! A dead letter that is given to the workers again: its message goes back to the input as it came, after the inbox has
//! forgotten it. The relay publishes it, so whoever asks for it needs no bus, and nothing is lost in between.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use flagstop_bus::port::{Bus, Channel, Content, Outgoing, RawMessage};
use flagstop_bus::{BusConfig, CodecLimits};
use flagstop_schemas::{COMMAND_PREFIX, message_key};
use flagstop_store::port::Redrive;
use flagstop_store::rows::DeadLetter;

use crate::blame::{INSTANCE_KILLS, SCHEDULE_KILLS};
use crate::decide::STORED_EVENT;
use crate::letters::is_brokers_own;

/// What the store must forget so that a letter's message can be tried again.
///
/// # Errors
/// It was never a message of the bus, or is too large for it: why, and what to do instead.
pub fn redrive(letter: &DeadLetter, limits: &CodecLimits, bus: &BusConfig) -> Result<Redrive, String> {
    let message = message(letter);
    bus.check_size(&message)
        .map_err(|why| format!("the bus would refuse it: {why}; raise that, or send it smaller"))?;
    match flagstop_bus::decode(&message, limits) {
        Ok(event) => Ok(Redrive { letter: letter.id, message: Some(message_key(&event.source, &event.id)) }),
        // What could not be read had no inbox row. Another build, or a higher limit, may read it.
        Err(_) if letter.origin.contains('@') => Ok(Redrive { letter: letter.id, message: None }),
        // The reason names the instance, and how it is released.
        Err(_) if [INSTANCE_KILLS, SCHEDULE_KILLS].contains(&letter.code.as_str()) => {
            Err(format!("it is no message that came in, but about an instance that was set aside: {}", letter.reason))
        }
        Err(_) => Err(format!(
            "it is no message that came in, but about {}; look at the instance (`flagstop instances why`), and retry or \
             rerun that",
            letter.origin
        )),
    }
}

/// The message as it goes again to where it came from: what was told where commands may come from is a command there again.
pub(crate) fn outgoing(letter: &DeadLetter, bus: &dyn Bus) -> Outgoing {
    let place = letter.origin.rsplit_once('@').map_or("", |(place, _)| place);
    // Kafka's has its partition behind it.
    let from = |own: &str| place.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    // One that waited in vain was taken as a command when it came.
    let waited = letter.origin.strip_prefix("parked ").is_some_and(|ty| ty.starts_with(COMMAND_PREFIX));
    let is_command = bus.own_commands().is_some_and(|own| waited || from(&own));
    Outgoing {
        channel: if is_command { Channel::Commands } else { Channel::In },
        routing_key: letter.code.clone(),
        order_key: letter.id.0.to_string(),
        content: Content::Raw(message(letter)),
    }
}

/// As it came, without what a broker and Flagstop have put on it.
fn message(letter: &DeadLetter) -> RawMessage {
    let stored: Vec<(String, String)> = serde_json::from_slice(&letter.headers).unwrap_or_default();
    let own = |name: &str| is_brokers_own(name) || name.to_ascii_lowercase().starts_with("flagstop-");
    let headers = stored.into_iter().filter(|(name, _)| !own(name));
    let headers = headers.map(|(name, value)| (name, Bytes::from(BASE64.decode(value).unwrap_or_default()))).collect();
    let mut message =
        RawMessage { content_type: letter.content_type.clone(), headers, key: None, body: letter.body.clone() };
    // What expired was kept as an event, and no media type was kept with it.
    if message.content_type.is_none() && message.headers.is_empty() {
        message.content_type = Some(STORED_EVENT.to_owned());
    }
    message
}

#[cfg(test)]
mod tests {
    use flagstop_schemas::Hash16;

    use super::*;

    fn letter(origin: &str, content_type: Option<&str>, headers: &[(&str, &str)], body: &str) -> DeadLetter {
        let headers: Vec<(&str, String)> = headers.iter().map(|(name, value)| (*name, BASE64.encode(value))).collect();
        DeadLetter {
            id: Hash16::of("test", &[body.as_bytes()]),
            code: "FS-TEST".into(),
            reason: "a test".into(),
            origin: origin.into(),
            content_type: content_type.map(str::to_owned),
            headers: Bytes::from(serde_json::to_vec(&headers).expect("texts")),
            body: Bytes::copy_from_slice(body.as_bytes()),
            at_us: 0,
            redriven_us: None,
        }
    }

    const EVENT: &str = r#"{"specversion":"1.0","id":"e","source":"/s","type":"t"}"#;

    #[test]
    fn a_message_goes_back_as_it_came_and_the_inbox_forgets_it() {
        let binary = [("ce_specversion", "1.0"), ("ce_id", "e"), ("ce_source", "/s"), ("ce_type", "t")];
        let more = [("x-delivery-count", "3"), ("Flagstop-Reason", "old"), ("mine", "kept")];
        let headers: Vec<(&str, &str)> = binary.iter().chain(&more).copied().collect();
        let binary = letter("flagstop.in/2@7", Some("application/json"), &headers, r#"{"n":1}"#);
        let key = Some(message_key("/s", "e"));
        let (limits, bus) = (CodecLimits::default(), BusConfig::default());
        assert_eq!(redrive(&binary, &limits, &bus), Ok(Redrive { letter: binary.id, message: key }));
        let message = message(&binary);
        let names: Vec<&str> = message.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ce_specversion", "ce_id", "ce_source", "ce_type", "mine"]);
        assert_eq!((message.body, message.content_type.as_deref()), (binary.body, Some("application/json")));
        // An early event that expired.
        let parked = letter("parked t", None, &[], EVENT);
        assert_eq!(redrive(&parked, &limits, &bus), Ok(Redrive { letter: parked.id, message: key }));
    }

    #[test]
    fn what_was_no_event_is_tried_again_if_it_came_over_the_bus() {
        let (limits, bus) = (CodecLimits::default(), BusConfig::default());
        let junk = letter("flagstop.work@3", None, &[], "junk");
        assert_eq!(redrive(&junk, &limits, &bus), Ok(Redrive { letter: junk.id, message: None }));
        let reason = "… `flagstop instances continue i-1`".to_owned();
        let killer = letter("schedule of t/w", Some("application/json"), &[], "{}");
        let killer = DeadLetter { code: SCHEDULE_KILLS.into(), reason, ..killer };
        assert!(redrive(&killer, &limits, &bus).expect_err("no message").contains("instances continue i-1"));
        let inner = letter("mailbox of instance i-1", Some("application/json"), &[], "{}");
        assert!(redrive(&inner, &limits, &bus).expect_err("no message").contains("instances why"));
        let narrow = BusConfig { body_bytes_max: 3, ..bus };
        let why = redrive(&junk, &limits, &narrow).expect_err("too large for the bus");
        assert!(why.contains("4 bytes") && why.contains("bus.body_bytes_max"), "{why}");
    }
}
