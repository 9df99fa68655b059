//! How a long-running command is told to stop: the first signal asks, the second one ends the process at once.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{Exit, Failure};

/// SIGINT and SIGTERM. Made once, before the work begins, so that no early signal is lost.
#[derive(Debug)]
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on these signals no longer end the process by themselves.
    pub fn catch() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|e| Failure::coded(Exit::Failed, &format!("FS-SIGNALS: {e}"), None));
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for the next one and tells its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// The next one leaves at once: what was under way goes on in another worker.
    pub fn next_leaves(mut self) {
        tokio::spawn(async move {
            let name = self.next().await;
            eprintln!("flagstop: {name} again: leaving at once");
            std::process::exit(i32::from(Exit::Stopped as u8));
        });
    }
}
