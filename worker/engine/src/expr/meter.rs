//! What an evaluation may use up, and how it is stopped.
//!
//! jaq has no fuel of its own. But it asks our data type for its lookup table at every term that it runs, and our value
//! type does every operation on values; both report here. When a limit is hit the evaluation is unwound at once: an
//! error value could be caught by the expression itself (`try`, `?`, `//`) or be lost inside the interpreter.

use super::LimitHit;
use crate::limits::Limits;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

#[cfg(not(panic = "unwind"))]
compile_error!("expressions are stopped by unwinding: build with panic = \"unwind\"");

/// What is left for the evaluation that runs on this thread.
struct Meter {
    steps: Cell<u64>,
    bytes: Cell<u64>,
    /// An address near the evaluation's first stack frame.
    stack_start: Cell<usize>,
    stack_bytes: Cell<usize>,
    depth: Cell<u16>,
}

thread_local! {
    static METER: Meter = const {
        Meter {
            steps: Cell::new(u64::MAX),
            bytes: Cell::new(u64::MAX),
            stack_start: Cell::new(0),
            stack_bytes: Cell::new(usize::MAX),
            depth: Cell::new(u16::MAX),
        }
    };
}

/// Runs an evaluation within the limits.
pub(super) fn run<T>(limits: &Limits, evaluation: impl FnOnce() -> T) -> Result<T, LimitHit> {
    METER.with(|meter| {
        meter.steps.set(limits.expression_steps_max);
        meter.bytes.set(limits.expression_bytes_built_max);
        meter.stack_start.set(stack_address());
        meter.stack_bytes.set(limits.expression_stack_bytes_max);
        meter.depth.set(u16::try_from(limits.expression_depth_max).unwrap_or(u16::MAX));
    });
    // Nothing of the evaluation is used after it was stopped.
    catch_unwind(AssertUnwindSafe(evaluation))
        .map_err(|reason| reason.downcast::<LimitHit>().map_or(LimitHit::Broken, |limit| *limit))
}

/// One step. Also looks at the stack: whatever recurses must take steps.
#[inline]
pub(super) fn step() {
    charge(1);
}

/// Several steps.
#[inline]
pub(super) fn charge(steps: usize) {
    METER.with(|meter| {
        match meter.steps.get().checked_sub(steps as u64) {
            Some(left) => meter.steps.set(left),
            None => stop(LimitHit::Steps),
        }
        if meter.stack_start.get().abs_diff(stack_address()) > meter.stack_bytes.get() {
            stop(LimitHit::Stack);
        }
    });
}

/// Bytes of data that are about to be built.
pub(super) fn build(bytes: usize) {
    METER.with(|meter| match meter.bytes.get().checked_sub(bytes as u64) {
        Some(left) => meter.bytes.set(left),
        None => stop(LimitHit::Bytes),
    });
}

/// Bytes that may still be built.
pub(super) fn bytes_left() -> usize {
    METER.with(|meter| usize::try_from(meter.bytes.get()).unwrap_or(usize::MAX))
}

/// The deepest value that may be built.
pub(super) fn depth_max() -> u16 {
    METER.with(|meter| meter.depth.get())
}

/// Ends the evaluation, without the panic hook's message.
#[cold]
pub(super) fn stop(limit: LimitHit) -> ! {
    resume_unwind(Box::new(limit))
}

#[inline]
fn stack_address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}
