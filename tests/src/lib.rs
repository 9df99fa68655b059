//! What the tests share: the services' URLs, a store that stops at named points, a bus in the test's own hands, and the
//! onboarding workload with its expected outcome.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test that can't go on should stop where it is")]

pub mod hand_bus;
pub mod http;
pub mod onboarding;
pub mod process;
pub mod services;
pub mod stepped;
