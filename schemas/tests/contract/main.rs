//! What subscribers, operators and the other crates may rely on, test by test.

#![allow(clippy::unwrap_used)]

mod answers;
mod compatible;
mod events;
mod files;
mod journal;
mod random;
mod released;
mod rendered;
mod samples;
mod violations;
