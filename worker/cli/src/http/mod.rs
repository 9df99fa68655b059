//! Events over HTTP: the port that `dev` opens, and the client that uses it.

pub mod api;
pub mod client;
