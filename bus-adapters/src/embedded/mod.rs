//! stub
use crate::config::BusConfig;
use crate::port::{Bus, BusError};
use std::sync::Arc;
pub(crate) async fn open(_: Option<&str>, _: &BusConfig) -> Result<Arc<dyn Bus>, BusError> {
    Err(BusError::Unreachable("not yet".into()))
}
