//! stub
use crate::config::BusConfig;
use crate::port::{Bus, BusError};
use std::collections::BTreeMap;
use std::sync::Arc;
pub(crate) fn open(_: &str, _: &BTreeMap<String, String>, _: &BusConfig) -> Result<Arc<dyn Bus>, BusError> {
    Err(BusError::Unreachable("not yet".into()))
}
