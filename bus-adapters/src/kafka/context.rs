//! What all our librdkafka clients have in common: their log lines and errors go to `tracing`, and whether any broker
//! answers is remembered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Do brokers answer?
#[derive(Debug, Default)]
pub(super) struct Health {
    up: AtomicBool,
    /// What librdkafka said last of why not.
    why: Mutex<Option<Why>>,
}

/// Why a broker can't be used.
#[derive(Debug, Clone)]
pub(super) struct Why {
    pub(super) code: RDKafkaErrorCode,
    pub(super) said: String,
}

/// The context of clients that have nothing else to say.
pub(super) struct Plain(pub(super) std::sync::Arc<Health>);

impl Health {
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    pub(super) fn set_up(&self) {
        self.up.store(true, Ordering::Relaxed);
    }

    pub(super) fn why(&self) -> Option<Why> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// librdkafka says so only when it has lost every broker.
    pub(super) fn on_error(&self, error: &KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.up.store(false, Ordering::Relaxed),
            Some(code) => {
                let why = Why { code, said: reason.to_owned() };
                *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
            }
            None => {}
        }
        tracing::warn!(%error, reason, "Kafka client");
    }

    /// Each second; the text is not parsed, only searched for a broker that is connected.
    pub(super) fn on_statistics(&self, statistics: &[u8]) {
        const UP: &[u8] = br#""state":"UP""#;
        if statistics.windows(UP.len()).any(|window| window == UP) {
            self.set_up();
        }
    }
}

pub(super) fn log(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(facility, message, "librdkafka");
        }
        // Lost connections come as errors; librdkafka mends them itself.
        RDKafkaLogLevel::Error | RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => tracing::info!(facility, message, "librdkafka"),
        RDKafkaLogLevel::Debug => tracing::debug!(facility, message, "librdkafka"),
    }
}

impl ClientContext for Plain {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.on_error(&error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.0.on_statistics(statistics);
    }
}

impl rdkafka::consumer::ConsumerContext for Plain {}
