//! What every driver does with a message before it leaves: write it in the driver's binding and check its size, so that
//! one message that is too large is refused alone and never reaches a broker that would punish its neighbours.

use std::borrow::Cow;

use flagstop_schemas::CloudEvent;

use crate::config::BusConfig;
use crate::port::{Content, Outgoing, PublishError, RawMessage};

pub(crate) fn on_the_wire<'a>(
    message: &'a Outgoing,
    config: &BusConfig,
    encode: fn(&CloudEvent) -> RawMessage,
) -> Result<Cow<'a, RawMessage>, PublishError> {
    let raw = match &message.content {
        Content::Event(event) => Cow::Owned(encode(event)),
        Content::Raw(raw) => Cow::Borrowed(raw),
    };
    let headers_bytes: usize = raw.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    refuse_above("body", raw.body.len(), config.body_bytes_max, "bus.body_bytes_max")?;
    refuse_above("headers", headers_bytes, config.headers_bytes_max, "bus.headers_bytes_max")?;
    Ok(raw)
}

fn refuse_above(what: &str, bytes: usize, bytes_max: usize, key: &str) -> Result<(), PublishError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(PublishError::Refused(format!("its {what} has {bytes} bytes, more than the {bytes_max} that `{key}` allows")))
}
