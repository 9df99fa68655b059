//! The commands, one file each: their arguments and what they do.

pub mod asyncapi;
pub mod bench;
pub mod config;
pub mod dead_letters;
pub mod definitions;
pub mod deploy;
pub mod dev;
pub mod events;
pub mod healthcheck;
pub mod instances;
pub mod migrate;
pub mod parked;
pub mod publish;
pub mod run;
pub mod schemas;
pub mod test;
pub mod validate;
pub mod worker;
