//! A folder's demonstration, `demo.yaml`: stand-ins for the services that its workflows call, and steps to play.
//!
//! A demonstration is a client like any other: it publishes over HTTP and reads the events that the process prints. It
//! reaches into nothing, so what it shows is what a user gets.

pub mod player;
pub mod script;
pub mod services;
