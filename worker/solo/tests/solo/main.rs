//! The test kit, held against its own description: time, mocks, scripts, kills and expectations.
#![allow(missing_docs, clippy::unwrap_used)]

mod attempts;
mod bench_files;
mod calls;
mod expectations;
mod files;
mod hearing;
mod listen;
mod time;
