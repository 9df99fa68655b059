//! Follows the bus and prints each event that leaves, in the order in which it arrives.

use std::sync::Arc;
use std::time::Duration;

use flagstop_bus::CodecLimits;
use flagstop_bus::port::{Bus, Channel, RawMessage};
use flagstop_schemas::CloudEvent;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Format;
use crate::exit::Failure;
use crate::live;
use crate::term::{Paint, Style, print_line, tame};

/// Messages that one look takes.
const TAKEN_MAX: usize = 256;

/// After the worker has left, a channel that is silent for this long has been printed to its end.
const SILENCE: Duration = Duration::from_millis(200);

/// The live log.
#[derive(Debug)]
pub struct Trace {
    stop: CancellationToken,
    followers: Vec<JoinHandle<()>>,
}

impl Trace {
    /// Follows from now on. To be started before the worker, so that nothing is missed.
    pub async fn start(bus: &Arc<dyn Bus>, format: Format) -> Result<Self, Failure> {
        let stop = CancellationToken::new();
        let mut followers = Vec::new();
        for channel in [Channel::Status, Channel::Out, Channel::Dead] {
            let mut subscription = bus.subscribe(channel).await?;
            let stop = stop.clone();
            followers.push(tokio::spawn(async move {
                loop {
                    let messages = tokio::select! {
                        messages = subscription.next(TAKEN_MAX) => messages,
                        () = quiet(&stop) => return,
                    };
                    if messages.is_empty() {
                        return;
                    }
                    messages.iter().for_each(|message| print(message, channel, format));
                }
            }));
        }
        Ok(Self { stop, followers })
    }

    /// Prints what is still coming, then ends.
    pub async fn finish(self) {
        self.stop.cancel();
        for follower in self.followers {
            let _ = follower.await;
        }
    }
}

async fn quiet(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(SILENCE).await;
}

fn print(message: &RawMessage, channel: Channel, format: Format) {
    if channel == Channel::Dead {
        return dead(message);
    }
    match flagstop_bus::decode(message, &CodecLimits::default()) {
        Ok(event) => event_line(&event, format),
        Err(error) => tracing::error!(%error, "a published event can't be read"),
    }
}

/// Prints one event.
pub fn event_line(event: &CloudEvent, format: Format) {
    match format {
        Format::Text => print_line(&live::line(event, Paint::stdout())),
        Format::Json => print_line(&event.to_json()),
    }
}

/// A dead letter is talk: what was in it need not be an event.
fn dead(message: &RawMessage) {
    let header = |name: &str| {
        let found = message.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| tame(&String::from_utf8_lossy(value))).unwrap_or_default()
    };
    let title = Paint::stderr().on(Style::Bad, &format!("dead letter {}", header("flagstop-code")));
    eprintln!("{title}: {} (from {})", header("flagstop-reason"), header("flagstop-origin"));
}
