//! Effects that wait for a place, so that one slow host leaves the others theirs. Holds no effect back whose host has room.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use flagstop_engine::api::{Effect, Request};
use flagstop_store::rows::EffectLease;
use url::Url;

use super::flight::Call;

/// Where an effect goes: what may not have too many at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// A host with its port.
    Host(String),
    /// This machine's programs.
    Programs,
}

/// How many effects each target may have in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shares {
    pub(super) per_host_max: usize,
    pub(super) programs_max: usize,
}

/// An effect with the right to drive it.
pub(super) struct Submitted {
    pub(super) lease: EffectLease,
    pub(super) effect: Effect,
    pub(super) target: Target,
    /// Of an instance that runs ahead: then the lease is not stored, yet.
    pub(super) call: Option<Arc<Call>>,
}

/// The queue of one worker.
pub(super) struct Queue {
    shares: Shares,
    ready: VecDeque<Submitted>,
    /// Their targets have no room.
    held_back: HashMap<Target, VecDeque<Submitted>>,
    in_flight: HashMap<Target, usize>,
    waiting: usize,
    /// It takes no more.
    closed: bool,
}

impl Target {
    fn of(request: &Request) -> Self {
        match request {
            Request::Process(_) => Self::Programs,
            Request::Http(request) => {
                let url = Url::parse(&request.url).ok();
                let host = url.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default())));
                Self::Host(host.map_or_else(String::new, |(host, port)| format!("{host}:{}", port.unwrap_or_default())))
            }
        }
    }
}

impl Queue {
    pub(super) fn new(shares: Shares) -> Self {
        Self {
            shares,
            ready: VecDeque::new(),
            held_back: HashMap::new(),
            in_flight: HashMap::new(),
            waiting: 0,
            closed: false,
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Whether it is taken.
    #[must_use]
    pub(super) fn push(&mut self, lease: EffectLease, effect: Effect, call: Option<Arc<Call>>) -> bool {
        if self.closed {
            return false;
        }
        self.waiting += 1;
        let target = Target::of(&effect.request);
        self.ready.push_back(Submitted { lease, effect, target, call });
        true
    }

    /// The next one whose target has room; it then has one less until [`Queue::done`].
    pub(super) fn next(&mut self) -> Option<Submitted> {
        while let Some(submitted) = self.ready.pop_front() {
            let max = match submitted.target {
                Target::Host(_) => self.shares.per_host_max,
                Target::Programs => self.shares.programs_max,
            };
            let in_flight = self.in_flight.entry(submitted.target.clone()).or_default();
            if *in_flight < max {
                *in_flight += 1;
                self.waiting -= 1;
                return Some(submitted);
            }
            self.held_back.entry(submitted.target.clone()).or_default().push_back(submitted);
        }
        None
    }

    /// A target has room again.
    pub(super) fn done(&mut self, target: &Target) {
        if let Some(in_flight) = self.in_flight.get_mut(target) {
            *in_flight -= 1;
            if *in_flight == 0 {
                self.in_flight.remove(target);
            }
        }
        if let Some(held_back) = self.held_back.get_mut(target) {
            if let Some(first) = held_back.pop_front() {
                self.ready.push_front(first);
            }
            if held_back.is_empty() {
                self.held_back.remove(target);
            }
        }
    }

    /// Takes no more from now on, and gives up all that wait.
    pub(super) fn close(&mut self) -> Vec<Submitted> {
        self.closed = true;
        self.waiting = 0;
        let held_back = std::mem::take(&mut self.held_back).into_values().flatten();
        self.ready.drain(..).chain(held_back).collect()
    }
}

#[cfg(test)]
mod tests {
    use flagstop_engine::api::HttpRequest;
    use flagstop_schemas::{Hash16, InstanceId};

    use super::*;

    fn push(queue: &mut Queue, slot: i64, host: &str) {
        let request = Request::Http(HttpRequest {
            method: "GET".into(),
            url: format!("https://{host}/x"),
            headers: Vec::new(),
            body: None,
            authentication: None,
        });
        let effect = Effect { slot, pointer: "/do/0/x".into(), idempotency_key: slot.to_string(), request };
        let instance = InstanceId(Hash16::of("test", &[]).0);
        assert!(queue.push(EffectLease { instance, slot, epoch: 1 }, effect, None));
    }

    #[test]
    fn a_host_that_is_full_holds_back_its_own_effects_only_and_in_order() {
        let mut queue = Queue::new(Shares { per_host_max: 2, programs_max: 1 });
        for slot in 0..5 {
            push(&mut queue, slot, "slow.example");
        }
        push(&mut queue, 5, "other.example");
        push(&mut queue, 6, "other.example:8443");
        let mut taken = Vec::new();
        while let Some(next) = queue.next() {
            taken.push((next.lease.slot, next.target));
        }
        assert_eq!(taken.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [0, 1, 5, 6]);
        assert_eq!(queue.len(), 3);
        for expected in [2, 3, 4] {
            queue.done(&taken[0].1);
            let next = queue.next().expect("there is room again");
            assert_eq!(next.lease.slot, expected);
        }
        assert_eq!((queue.len(), queue.next().is_none()), (0, true));
        push(&mut queue, 9, "slow.example");
        assert!(queue.next().is_none(), "two are in flight still");
        assert_eq!(queue.close().len(), 1);
        assert_eq!(queue.len(), 0);
    }
}
