//! The outside of a case: mocked services and programs in virtual time.
//!
//! A request takes the first rule that fits and is not used up at the moment when it is sent; its answer is due later. Nothing
//! here waits: futures are polled by hand, and the stage asks when the next one is due.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use flagstop_engine::Limits;
use flagstop_engine::api::{EffectOutcome, ProcessKind, ProcessRequest};

use super::matching::Sent;
use super::model::{Case, HttpReply};

pub(super) struct Mock<'c> {
    case: &'c Case,
    limits: &'c Limits,
    /// The virtual time, which the executor's clock reads too.
    pub(super) now_us: Arc<AtomicI64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    http_used: Vec<u32>,
    processes_used: Vec<u32>,
    requests: Vec<Sent>,
    /// Requests and programs for which there is no rule.
    unmatched: Vec<String>,
    /// When pending answers are due, with a number that tells them apart.
    pending: BTreeSet<(i64, u64)>,
    pending_last: u64,
}

/// Ready when the virtual time has come.
struct Until<'m, 'c> {
    mock: &'m Mock<'c>,
    key: (i64, u64),
}

/// Why there is no rule, with what was asked for.
struct NoRule;

impl<'c> Mock<'c> {
    pub(super) fn new(case: &'c Case, limits: &'c Limits) -> Self {
        let state = State {
            http_used: vec![0; case.http.len()],
            processes_used: vec![0; case.processes.len()],
            ..State::default()
        };
        Self { case, limits, now_us: Arc::new(AtomicI64::new(case.clock_us)), state: Mutex::new(state) }
    }

    pub(super) fn set_now(&self, now_us: i64) {
        self.now_us.store(now_us, Ordering::Relaxed);
    }

    /// When the next answer is due.
    pub(super) fn next_due_us(&self) -> Option<i64> {
        self.state().pending.first().map(|(due_us, _)| *due_us)
    }

    /// All requests so far, in order of sending.
    pub(super) fn requests(&self) -> Vec<Sent> {
        self.state().requests.clone()
    }

    pub(super) fn requests_count(&self) -> usize {
        self.state().requests.len()
    }

    /// What no rule fits.
    pub(super) fn unmatched(&self) -> Vec<String> {
        self.state().unmatched.clone()
    }

    /// Sends a request. One that no rule fits never gets an answer: the case ends there.
    pub(super) async fn send(&self, sent: Sent) -> HttpReply {
        match self.take_http(sent) {
            Ok((reply, after_us)) => {
                self.wait(after_us).await;
                reply
            }
            Err(NoRule) => std::future::pending().await,
        }
    }

    /// Runs a program.
    pub(super) async fn run(&self, request: &ProcessRequest) -> EffectOutcome {
        match self.take_process(request) {
            Ok((outcome, after_us)) => {
                self.wait(after_us).await;
                outcome
            }
            Err(NoRule) => std::future::pending().await,
        }
    }

    fn take_http(&self, sent: Sent) -> Result<(HttpReply, i64), NoRule> {
        let mut state = self.state();
        let found = self
            .case
            .http
            .iter()
            .enumerate()
            .find(|(at, rule)| rule.times.is_none_or(|times| state.http_used[*at] < times) && rule.fits(&sent));
        let taken = match found {
            Some((at, rule)) => {
                state.http_used[at] += 1;
                Ok((rule.reply.clone(), rule.after_us))
            }
            None => {
                let body = sent.body.as_ref().map(|body| format!(" {}", flagstop_engine::value::to_json(body)));
                state.unmatched.push(format!("{} {}{}", sent.method, sent.url, body.unwrap_or_default()));
                Err(NoRule)
            }
        };
        state.requests.push(sent);
        taken
    }

    fn take_process(&self, request: &ProcessRequest) -> Result<(EffectOutcome, i64), NoRule> {
        let mut state = self.state();
        let found = self.case.processes.iter().enumerate().find(|(at, rule)| {
            rule.times.is_none_or(|times| state.processes_used[*at] < times) && rule.fits(request, self.limits)
        });
        let Some((at, rule)) = found else {
            let kind = match &request.kind {
                ProcessKind::Shell => "shell",
                ProcessKind::Script { language } => language,
            };
            state.unmatched.push(format!("{kind}: {}", request.code));
            return Err(NoRule);
        };
        state.processes_used[at] += 1;
        let (code, stdout, stderr) = (rule.exit_code, rule.stdout.clone(), rule.stderr.clone());
        Ok((EffectOutcome::Process { code, stdout, stderr }, rule.after_us))
    }

    fn wait(&self, after_us: i64) -> Until<'_, 'c> {
        let mut state = self.state();
        state.pending_last += 1;
        let key = (self.now().saturating_add(after_us), state.pending_last);
        state.pending.insert(key);
        Until { mock: self, key }
    }

    fn now(&self) -> i64 {
        self.now_us.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Future for Until<'_, '_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        // Polled again by the stage whenever time moves.
        if self.mock.now() >= self.key.0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Until<'_, '_> {
    fn drop(&mut self) {
        self.mock.state().pending.remove(&self.key);
    }
}
