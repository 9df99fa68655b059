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
    config.check_size(&raw).map_err(PublishError::Refused)?;
    Ok(raw)
}

impl BusConfig {
    /// Whether a message is within what may be published.
    ///
    /// # Errors
    /// Says what of it is too large, and which key allows how much.
    pub fn check_size(&self, raw: &RawMessage) -> Result<(), String> {
        let headers_bytes: usize = raw.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        refuse_above("body", raw.body.len(), self.body_bytes_max, "bus.body_bytes_max")?;
        refuse_above("headers", headers_bytes, self.headers_bytes_max, "bus.headers_bytes_max")
    }
}

fn refuse_above(what: &str, bytes: usize, bytes_max: usize, key: &str) -> Result<(), String> {
    if bytes <= bytes_max {
        return Ok(());
    }
    Err(format!("its {what} has {bytes} bytes, more than the {bytes_max} that `{key}` allows"))
}
