//! Which offsets of each assigned partition are in somebody's hands, and up to where all are done. Pure. An offset is
//! stored only when every earlier one that was delivered is acknowledged: Kafka can remember nothing else.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::port::Token;

/// A topic's partition.
pub(super) type Place = (Arc<str>, i32);

#[derive(Debug)]
pub(super) struct Lanes {
    /// Whose they are.
    consumer: u64,
    lanes: Vec<Lane>,
    by_place: HashMap<Place, u32>,
}

#[derive(Debug)]
struct Lane {
    place: Place,
    /// The assignment; 0 when the partition is not ours.
    generation: u64,
    /// Delivered and not below the low-water mark, offsets ascending. Compaction and transactions leave gaps.
    window: VecDeque<Slot>,
    /// How many were delivered since the partition was last assigned.
    delivered: usize,
    /// Where a restart would begin, if that has moved since it was last stored.
    to_store: Option<i64>,
    /// What librdkafka was last told.
    paused: bool,
}

#[derive(Debug)]
struct Slot {
    offset: i64,
    done: bool,
}

/// What to tell librdkafka about the flow.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Steering {
    pub(super) pause: Vec<Place>,
    pub(super) resume: Vec<Place>,
}

impl Lanes {
    pub(super) fn new() -> Self {
        Self { consumer: crate::generation::next(), lanes: Vec::new(), by_place: HashMap::new() }
    }

    /// A partition becomes ours: a new generation with nothing in hand.
    pub(super) fn assign(&mut self, place: Place) {
        let generation = crate::generation::next();
        let lane = match self.by_place.get(&place) {
            Some(lane) => *lane,
            None => {
                let lane = u32::try_from(self.lanes.len()).expect("there are far fewer partitions than 2^32");
                self.lanes.push(Lane {
                    place: place.clone(),
                    generation,
                    window: VecDeque::new(),
                    delivered: 0,
                    to_store: None,
                    paused: false,
                });
                self.by_place.insert(place, lane);
                lane
            }
        };
        let lane = &mut self.lanes[lane as usize];
        lane.generation = generation;
        lane.window.clear();
        lane.delivered = 0;
        lane.to_store = None;
        lane.paused = false;
    }

    /// A partition is no longer ours: its tokens are stale from now on.
    pub(super) fn revoke(&mut self, place: &Place) {
        if let Some(lane) = self.lane_mut(place) {
            lane.generation = 0;
            lane.window.clear();
            lane.to_store = None;
        }
    }

    /// Registers a message; none if it isn't ours (any more) or is in hand already.
    pub(super) fn delivered(&mut self, topic: &str, partition: i32, offset: i64) -> Option<(Token, Arc<str>)> {
        // The few lanes are looked through: no key is built per message.
        let index = self.lanes.iter().position(|lane| lane.place.1 == partition && *lane.place.0 == *topic)?;
        let lane = &mut self.lanes[index];
        if lane.generation == 0 || lane.window.back().is_some_and(|last| last.offset >= offset) {
            return None;
        }
        lane.window.push_back(Slot { offset, done: false });
        lane.delivered += 1;
        let lane_number = u32::try_from(index).expect("assigned with this type");
        let (consumer, generation) = (self.consumer, lane.generation);
        let token = Token { consumer, generation, lane: lane_number, position: offset.cast_unsigned() };
        Some((token, Arc::clone(&lane.place.0)))
    }

    /// Is this one, the last that was delivered, among the first of this assignment? Those are what the one who had the
    /// partition before may have had in its hands.
    pub(super) fn may_be_repeated(&self, token: &Token, window_max: usize) -> bool {
        self.lanes.get(token.lane as usize).is_some_and(|lane| lane.delivered <= window_max)
    }

    pub(super) fn is_current(&self, token: &Token) -> bool {
        self.lanes.get(token.lane as usize).is_some_and(|lane| lane.generation == token.generation)
    }

    /// Passes over other consumers' tokens. Answers how many are of an earlier assignment of ours: those come again.
    pub(super) fn acknowledge(&mut self, tokens: &[Token]) -> u64 {
        let mut stale = 0;
        for token in tokens.iter().filter(|token| token.consumer == self.consumer) {
            let lane = self.lanes.get_mut(token.lane as usize).filter(|lane| lane.generation == token.generation);
            let Some(lane) = lane else {
                stale += 1;
                continue;
            };
            let offset = token.position.cast_signed();
            if let Ok(found) = lane.window.binary_search_by_key(&offset, |slot| slot.offset) {
                lane.window[found].done = true;
            }
            while let Some(slot) = lane.window.pop_front_if(|slot| slot.done) {
                lane.to_store = Some(slot.offset + 1);
            }
        }
        stale
    }

    /// Offsets to be stored, each once.
    pub(super) fn take_to_store(&mut self) -> Vec<(Place, i64)> {
        let moved = |lane: &mut Lane| Some((lane.place.clone(), lane.to_store.take()?));
        self.lanes.iter_mut().filter(|lane| lane.generation != 0).filter_map(moved).collect()
    }

    /// Forgets messages that nobody has taken yet, from this one on.
    pub(super) fn cut(&mut self, token: &Token) {
        let offset = token.position.cast_signed();
        if let Some(lane) = self.lanes.get_mut(token.lane as usize)
            && lane.generation == token.generation
        {
            let keep = lane.window.partition_point(|slot| slot.offset < offset);
            lane.window.truncate(keep);
        }
    }

    /// Is anything of these partitions in somebody's hands?
    pub(super) fn in_hand(&self, places: &[Place]) -> bool {
        let lanes = places.iter().filter_map(|place| self.by_place.get(place));
        lanes.flat_map(|lane| &self.lanes[*lane as usize].window).any(|slot| !slot.done)
    }

    pub(super) fn is_full(&self, token: &Token, window_max: usize) -> bool {
        self.lanes.get(token.lane as usize).is_some_and(|lane| lane.window.len() >= window_max)
    }

    /// What changes for librdkafka: all is held back, or each lane that is full until it is half empty.
    pub(super) fn steer(&mut self, hold_all: HoldAll, window_max: usize) -> Steering {
        let mut steering = Steering::default();
        for lane in self.lanes.iter_mut().filter(|lane| lane.generation != 0) {
            let full_at = if lane.paused { window_max / 2 } else { window_max };
            let pause = hold_all == HoldAll::Yes || lane.window.len() >= full_at.max(1);
            if pause != lane.paused {
                lane.paused = pause;
                let changes = if pause { &mut steering.pause } else { &mut steering.resume };
                changes.push(lane.place.clone());
            }
        }
        steering
    }

    fn lane_mut(&mut self, place: &Place) -> Option<&mut Lane> {
        self.by_place.get(place).map(|lane| &mut self.lanes[*lane as usize])
    }
}

/// Are all partitions held back?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HoldAll {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(partition: i32) -> Place {
        ("in".into(), partition)
    }

    fn delivered(lanes: &mut Lanes, partition: i32, offsets: &[i64]) -> Vec<Token> {
        offsets.iter().map(|offset| lanes.delivered("in", partition, *offset).expect("ours").0).collect()
    }

    #[test]
    fn only_the_contiguous_low_water_mark_is_stored() {
        let mut lanes = Lanes::new();
        lanes.assign(place(0));
        let tokens = delivered(&mut lanes, 0, &[10, 11, 14, 15]);
        lanes.acknowledge(&tokens[1..3]);
        assert_eq!(lanes.take_to_store(), [], "10 is open");
        lanes.acknowledge(&tokens[..1]);
        assert_eq!(lanes.take_to_store(), [(place(0), 15)], "14 is done, 12 and 13 never existed");
        assert_eq!(lanes.take_to_store(), [], "once");
        assert!(lanes.in_hand(&[place(0)]));
        lanes.acknowledge(&tokens);
        assert_eq!(lanes.take_to_store(), [(place(0), 16)]);
        assert!(!lanes.in_hand(&[place(0)]));
    }

    #[test]
    fn tokens_of_an_earlier_assignment_are_stale() {
        let mut lanes = Lanes::new();
        lanes.assign(place(0));
        lanes.assign(place(1));
        let old = delivered(&mut lanes, 0, &[5, 6, 7]);
        lanes.revoke(&place(0));
        assert!(lanes.delivered("in", 0, 6).is_none(), "not ours");
        lanes.assign(place(0));
        let new = delivered(&mut lanes, 0, &[5, 6]);
        assert!(!lanes.is_current(&old[0]) && lanes.is_current(&new[0]));
        assert!(lanes.may_be_repeated(&new[1], 2), "others may have had it meanwhile, however much we had before");
        assert_eq!(lanes.acknowledge(&old), 3, "and counted");
        assert_eq!(lanes.take_to_store(), []);
        lanes.cut(&new[1]);
        lanes.acknowledge(&new);
        assert_eq!(lanes.take_to_store(), [(place(0), 6)], "what nobody took is not in hand");
    }

    #[test]
    fn tokens_of_another_consumer_are_neither_acknowledged_nor_counted() {
        let (mut ours, mut theirs) = (Lanes::new(), Lanes::new());
        ours.assign(place(0));
        theirs.assign(place(0));
        let tokens = [delivered(&mut ours, 0, &[5]), delivered(&mut theirs, 0, &[5])].concat();
        assert_eq!(ours.acknowledge(&tokens[1..]), 0);
        assert_eq!(ours.take_to_store(), []);
        ours.revoke(&place(0));
        assert_eq!((ours.acknowledge(&tokens), theirs.acknowledge(&tokens)), (1, 0), "only what is ours is lost to us");
        assert_eq!(theirs.take_to_store(), [(place(0), 6)]);
    }

    #[test]
    fn the_first_of_each_assignment_may_be_repeated() {
        let mut lanes = Lanes::new();
        for _ in 0..3 {
            lanes.assign(place(0));
            let repeated: Vec<bool> = (0..5)
                .map(|offset| {
                    let token = delivered(&mut lanes, 0, &[offset]);
                    lanes.acknowledge(&token);
                    lanes.may_be_repeated(&token[0], 3)
                })
                .collect();
            assert_eq!(repeated, [true, true, true, false, false]);
            lanes.revoke(&place(0));
        }
    }

    #[test]
    fn a_full_lane_is_held_back_until_half_of_it_is_done() {
        let mut lanes = Lanes::new();
        lanes.assign(place(0));
        lanes.assign(place(1));
        let tokens = delivered(&mut lanes, 0, &[1, 2, 3, 4]);
        assert!(lanes.is_full(&tokens[0], 4));
        assert_eq!(lanes.steer(HoldAll::No, 4), Steering { pause: vec![place(0)], resume: vec![] });
        lanes.acknowledge(&tokens[..2]);
        assert_eq!(lanes.steer(HoldAll::No, 4), Steering::default(), "half full");
        assert_eq!(lanes.steer(HoldAll::Yes, 4).pause, [place(1)]);
        lanes.acknowledge(&tokens);
        assert_eq!(lanes.steer(HoldAll::No, 4).resume, [place(0), place(1)]);
    }
}
