//! What the tests share: the services' URLs, a store that stops at named points, a bus in the test's own hands, and the
//! onboarding workload with its expected outcome; and what reads scenarios for the test kit: our own of the language, and the
//! specification's where they are at hand.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

pub mod answers;
pub mod crowd;
pub mod feature;
pub mod hand_bus;
pub mod http;
pub mod language;
pub mod mutation;
pub mod onboarding;
pub mod process;
pub mod random;
pub mod scenario;
pub mod scene;
pub mod services;
pub mod specification;
pub mod stepped;
