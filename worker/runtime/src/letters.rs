//! Dead letters: a message that could not be carried out, kept as it was, with the reason.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use flagstop_bus::port::{Channel, Content, Delivery, Outgoing, RawMessage};
use flagstop_schemas::Hash16;
use flagstop_store::rows::DeadLetter;

/// Headers that a broker adds to a message that it delivers again: they don't make it another message.
const BROKERS_OWN: [&str; 5] = ["x-delivery-count", "x-acquired-count", "x-death", "x-first-death-", "x-last-death-"];

/// What is left of a reason when the rest of a letter's headers is left out.
const OWN_HEADER_BYTES_MAX: usize = 1_000;

/// The letter for a delivery. Its id comes from the message and its place, so that a redelivery makes the same letter.
pub(crate) fn letter(delivery: &Delivery, code: &str, reason: &str) -> DeadLetter {
    let message = &delivery.message;
    let headers: Vec<(&str, String)> =
        message.headers.iter().map(|(name, value)| (name.as_str(), BASE64.encode(value))).collect();
    // Not the origin either: AMQP's delivery tag changes with each delivery.
    let lasting: Vec<_> = headers.iter().filter(|(name, _)| !is_brokers_own(name)).collect();
    let id = Hash16::of("flagstop/letter", &[code.as_bytes(), &json(&lasting), &message.body]);
    let headers = json(&headers);
    let reason = reason.strip_prefix(code).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(reason);
    // Text columns take no NUL, and a letter must always be storable.
    let text = |text: &str| text.replace('\0', "\u{fffd}");
    DeadLetter {
        id,
        code: code.to_owned(),
        reason: text(reason),
        origin: text(&delivery.origin.to_string()),
        content_type: message.content_type.as_deref().map(text),
        headers,
        body: message.body.clone(),
        at_us: 0,
        redriven_us: None,
    }
}

/// Whether a header tells how often a broker has delivered the message, and not what it is.
pub(crate) fn is_brokers_own(name: &str) -> bool {
    BROKERS_OWN.iter().any(|prefix| name.starts_with(prefix))
}

/// The letter for what came from inside: a stored event or command, a letter of the mailbox.
pub(crate) fn inner_letter(origin: String, media: Option<&str>, body: Bytes, code: &str, reason: &str) -> DeadLetter {
    let reason = reason.strip_prefix(code).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(reason);
    DeadLetter {
        id: Hash16::of("flagstop/letter/inner", &[code.as_bytes(), origin.as_bytes(), &body]),
        code: code.to_owned(),
        reason: reason.replace('\0', "\u{fffd}"),
        origin,
        content_type: media.map(str::to_owned),
        headers: Bytes::from_static(b"[]"),
        body,
        at_us: 0,
        redriven_us: None,
    }
}

fn json(headers: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(headers).expect("strings always serialise"))
}

/// The letter as it goes to the bus: body and headers as they were, and three headers that say why.
pub(crate) fn outgoing(letter: &DeadLetter) -> Outgoing {
    let stored: Vec<(String, String)> = serde_json::from_slice(&letter.headers).unwrap_or_default();
    let mut headers: Vec<(String, Bytes)> =
        stored.into_iter().map(|(name, value)| (name, Bytes::from(BASE64.decode(value).unwrap_or_default()))).collect();
    for (name, value) in
        [("flagstop-reason", &letter.reason), ("flagstop-code", &letter.code), ("flagstop-origin", &letter.origin)]
    {
        headers.push((name.to_owned(), Bytes::from(value.clone())));
    }
    Outgoing {
        channel: Channel::Dead,
        routing_key: letter.code.clone(),
        order_key: letter.id.0.to_string(),
        content: Content::Raw(RawMessage {
            content_type: letter.content_type.clone(),
            headers,
            key: None,
            body: letter.body.clone(),
        }),
    }
}

/// The same with less in it, for a broker that finds it too large; the store has it whole. First the body goes, then the
/// headers that it came with; `None`: nothing is left to leave out.
pub(crate) fn smaller(outgoing: &Outgoing) -> Option<Outgoing> {
    const LEFT_OUT: Bytes = Bytes::from_static(b"left out: too large for the broker");
    let mut smaller = outgoing.clone();
    let Content::Raw(message) = &mut smaller.content else { return None };
    if !message.body.is_empty() {
        message.body = Bytes::new();
        message.headers.push(("flagstop-body".to_owned(), LEFT_OUT));
        return Some(smaller);
    }
    if message.headers.iter().any(|(name, _)| name == "flagstop-headers") {
        return None;
    }
    message.headers.retain(|(name, _)| name.starts_with("flagstop-"));
    for (_, value) in &mut message.headers {
        value.truncate(OWN_HEADER_BYTES_MAX);
    }
    message.content_type = None;
    message.headers.push(("flagstop-headers".to_owned(), LEFT_OUT));
    Some(smaller)
}

#[cfg(test)]
mod tests {
    use flagstop_bus::port::{Origin, Token};

    use super::*;

    fn delivery(offset: i64, headers: &[(&str, &str)]) -> Delivery {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), Bytes::from((*value).to_owned())));
        Delivery {
            message: RawMessage {
                headers: headers.collect(),
                body: Bytes::from_static(b"junk"),
                ..RawMessage::default()
            },
            origin: Origin { name: "flagstop.work".into(), partition: None, offset },
            redelivered: offset > 1,
            commands: flagstop_bus::port::Commands::Accept,
            token: Token { consumer: 1, generation: 1, lane: 0, position: 1 },
        }
    }

    #[test]
    fn a_letter_that_is_too_large_loses_its_body_first_and_then_what_it_came_with() {
        let huge = "x".repeat(100_000);
        let whole = outgoing(&letter(&delivery(1, &[("a", &huge)]), "FS-X", &huge));
        let names = |outgoing: &Outgoing| {
            let Content::Raw(message) = &outgoing.content else { panic!("a letter is passed on as it is") };
            let names: Vec<String> = message.headers.iter().map(|(name, _)| name.clone()).collect();
            let bytes: usize = message.headers.iter().map(|(_, value)| value.len()).sum();
            (names.join(" "), message.body.len(), bytes)
        };
        let bodyless = smaller(&whole).expect("it has a body");
        let (told, body_bytes, _) = names(&bodyless);
        assert_eq!((told.as_str(), body_bytes), ("a flagstop-reason flagstop-code flagstop-origin flagstop-body", 0));
        let bare = smaller(&bodyless).expect("it has headers");
        let (told, _, bytes) = names(&bare);
        assert_eq!(told, "flagstop-reason flagstop-code flagstop-origin flagstop-body flagstop-headers");
        assert!(bytes < 2_000, "{bytes}");
        assert!(smaller(&bare).is_none(), "nothing is left to leave out");
    }

    #[test]
    fn a_message_that_is_delivered_again_makes_the_same_letter() {
        let first = letter(&delivery(1, &[("a", "1")]), "FS-X", "why");
        let again = letter(&delivery(7, &[("a", "1"), ("x-delivery-count", "1")]), "FS-X", "why");
        assert_eq!(first.id, again.id);
        assert_ne!(first.id, letter(&delivery(1, &[("a", "2")]), "FS-X", "why").id, "another message, another letter");
        assert_ne!(first.id, letter(&delivery(1, &[("a", "1")]), "FS-Y", "why").id, "another reason, another letter");
    }
}
