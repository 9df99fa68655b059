//! Which delivery tags of one channel are still unacknowledged, and with which frames to acknowledge some of them.
//! Pure. Must never let `multiple` cover a tag that is not done.

use std::collections::BTreeSet;

/// One acknowledgement frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ack {
    pub(super) tag: u64,
    pub(super) multiple: bool,
    /// How many messages it acknowledges.
    pub(super) messages: usize,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    open: BTreeSet<u64>,
}

impl Ledger {
    pub(super) fn delivered(&mut self, tag: u64) {
        self.open.insert(tag);
    }

    /// The frames that acknowledge these tags: one for all below the lowest tag that stays open, and one for each other.
    /// A `multiple` frame names a tag that the broker still knows, or it would close the channel.
    pub(super) fn acknowledge(&mut self, tags: impl Iterator<Item = u64>) -> Vec<Ack> {
        let mut done: Vec<u64> = tags.filter(|tag| self.open.remove(tag)).collect();
        done.sort_unstable();
        let lowest_open = self.open.first().copied().unwrap_or(u64::MAX);
        let below = done.partition_point(|tag| *tag < lowest_open);
        let low = done[..below].last().map(|tag| Ack { tag: *tag, multiple: below > 1, messages: below });
        let single = |tag: &u64| Ack { tag: *tag, multiple: false, messages: 1 };
        low.into_iter().chain(done[below..].iter().map(single)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(ledger: &mut Ledger, tags: &[u64]) -> Vec<(u64, bool)> {
        ledger.acknowledge(tags.iter().copied()).into_iter().map(|ack| (ack.tag, ack.multiple)).collect()
    }

    #[test]
    fn one_frame_covers_all_below_the_lowest_open_tag() {
        let mut ledger = Ledger::default();
        (1..=10).for_each(|tag| ledger.delivered(tag));
        assert_eq!(acked(&mut ledger, &[3, 1, 2]), [(3, true)]);
        assert_eq!(acked(&mut ledger, &[5, 7]), [(5, false), (7, false)], "4 is open");
        assert_eq!(acked(&mut ledger, &[4]), [(4, false)]);
        assert_eq!(acked(&mut ledger, &[6, 8, 10]), [(8, true), (10, false)], "9 is open");
        assert_eq!(acked(&mut ledger, &[10, 99]), [], "never twice, and nothing unknown");
        assert_eq!(acked(&mut ledger, &[9]), [(9, false)]);
    }
}
