//! A place where tests let the process die, as a defect would that no check foresees. Does nothing unless the environment
//! variable is set; tests set it for workers that they start.

use std::sync::LazyLock;

/// What the process dies of: the text that it meets.
const VARIABLE: &str = "FLAGSTOP_TEST_CRASH";

static DIES_OF: LazyLock<Option<String>> =
    LazyLock::new(|| std::env::var(VARIABLE).ok().filter(|text| !text.is_empty()));

/// Aborts the process if this holds the text that it is to die of.
pub(crate) fn if_it_holds(bytes: &[u8]) {
    if let Some(text) = &*DIES_OF
        && bytes.windows(text.len()).any(|window| window == text.as_bytes())
    {
        tracing::error!("aborting, because {VARIABLE} says so");
        std::process::abort();
    }
}
