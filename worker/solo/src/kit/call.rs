//! The effects in flight of a case. What is asked for again after a kill is the same call, not a new one.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use async_trait::async_trait;
use flagstop_effects::http::{Answer, Clock, Http, HttpOptions, HttpTransport, Outgoing};
use flagstop_engine::Limits;
use flagstop_engine::api::{Effect, EffectOutcome, Request};
use flagstop_schemas::InstanceId;

use super::matching::Sent;
use super::mock::Mock;
use super::model::HttpReply;

/// The calls in flight, by instance and slot, in order of their first sending.
pub(super) struct Calls<'m> {
    mock: &'m Mock<'m>,
    limits: &'m Limits,
    /// Keeps tokens across kills: how often they are asked for shall not depend on them.
    http: Arc<Http>,
    calls: BTreeMap<(InstanceId, i64), Call<'m>>,
    /// In the order in which they were begun.
    order: Vec<(InstanceId, i64)>,
    woken: Arc<Woken>,
}

struct Call<'m> {
    request: Request,
    future: Pin<Box<dyn Future<Output = EffectOutcome> + 'm>>,
    outcome: Option<EffectOutcome>,
}

/// Whether a future was woken by another one.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'m> Calls<'m> {
    pub(super) fn new(mock: &'m Mock<'m>, limits: &'m Limits) -> Self {
        let now_us = mock.now_us.clone();
        let clock: Clock = Arc::new(move || now_us.load(Ordering::Relaxed));
        let http = Arc::new(Http::new(clock, HttpOptions::default()));
        Self { mock, limits, http, calls: BTreeMap::new(), order: Vec::new(), woken: Arc::default() }
    }

    /// The executor, for what is fetched before the case begins.
    pub(super) fn http(&self) -> Arc<Http> {
        self.http.clone()
    }

    /// Begins an effect, unless it is in flight already. The error tells that the engine asks for something else.
    pub(super) fn begin(&mut self, instance: InstanceId, effect: Effect) -> Result<(), String> {
        let key = (instance, effect.slot);
        if let Some(known) = self.calls.get(&key) {
            let is_same = known.request == effect.request;
            return if is_same {
                Ok(())
            } else {
                Err(format!("{} asks for something else after a kill", effect.pointer))
            };
        }
        let (mock, limits, http, request) = (self.mock, self.limits, self.http.clone(), effect.request.clone());
        let future = Box::pin(async move {
            match &request {
                Request::Http(request) => http.call(&Line { mock, limits }, request).await,
                Request::Process(process) => mock.run(process).await,
            }
        });
        self.calls.insert(key, Call { request: effect.request, future, outcome: None });
        self.order.push(key);
        Ok(())
    }

    /// Forgets an effect: nobody wants its outcome any more.
    pub(super) fn forget(&mut self, instance: InstanceId, slot: i64) {
        self.calls.remove(&(instance, slot));
        self.order.retain(|key| *key != (instance, slot));
    }

    /// Whether an instance has a call in flight.
    pub(super) fn has(&self, instance: InstanceId) -> bool {
        self.order.iter().any(|(of, _)| *of == instance)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Lets every call get as far as it can at this moment.
    pub(super) fn poll(&mut self) {
        let waker = Waker::from(self.woken.clone());
        let mut context = Context::from_waker(&waker);
        loop {
            self.woken.0.store(false, Ordering::Relaxed);
            for key in &self.order {
                let Some(call) = self.calls.get_mut(key).filter(|call| call.outcome.is_none()) else { continue };
                if let Poll::Ready(outcome) = call.future.as_mut().poll(&mut context) {
                    call.outcome = Some(outcome);
                }
            }
            if !self.woken.0.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// The calls that have ended, each once.
    pub(super) fn take_ended(&mut self) -> Vec<(InstanceId, i64, EffectOutcome)> {
        let mut ended = Vec::new();
        for key in std::mem::take(&mut self.order) {
            match self.calls.get_mut(&key).and_then(|call| call.outcome.take()) {
                Some(outcome) => {
                    self.calls.remove(&key);
                    ended.push((key.0, key.1, outcome));
                }
                None => self.order.push(key),
            }
        }
        ended
    }
}

/// A case's transport: every request goes to the mock, those for tokens and documents too.
pub(super) struct Line<'m> {
    pub(super) mock: &'m Mock<'m>,
    pub(super) limits: &'m Limits,
}

#[async_trait]
impl HttpTransport for Line<'_> {
    async fn send(&self, request: Outgoing) -> Result<Answer, String> {
        let Outgoing { method, url, headers, body } = request;
        match self.mock.send(Sent::new(&method, &url, &headers, body.as_deref(), self.limits)).await {
            HttpReply::Answer { status, headers, body } => Ok(Answer { status, headers, body }),
            HttpReply::Fail(why) => Err(why.to_owned()),
        }
    }
}
