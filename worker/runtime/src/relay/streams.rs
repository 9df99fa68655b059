//! What the relay has in hand: a line of rows for each instance, and for each shard the pages that are not wholly confirmed.
//! Plain memory: no store, no bus, and the time is given.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use flagstop_bus::Delays;
use flagstop_bus::port::{Channel, Content, Outgoing, PublishError};
use flagstop_schemas::InstanceId;
use flagstop_store::port::Cursor;

/// The longest pause before a broker that is not there is tried again: a try there costs nobody anything.
const LINK_RETRY_MAX: Duration = Duration::from_secs(1);

/// One journal row on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) revision: i32,
    pub(super) at_us: i64,
    pub(super) load: Load,
    /// The page that waits for it; none for rows of a stream that is released.
    pub(super) page: Option<u64>,
}

/// What is to be done for a row.
#[derive(Debug)]
pub(super) enum Load {
    /// These are to be published, in this order.
    Messages(VecDeque<Outgoing>),
    /// The rows that were withheld are to be published, behind this revision.
    Release { through: i32 },
    /// A newer build wrote it: others can read it (PROTOCOL D16).
    Newer,
    /// Nobody can read it.
    Damaged(String),
}

/// An instance's rows, in order.
#[derive(Debug)]
struct Stream {
    shard: i16,
    parcels: VecDeque<Parcel>,
    /// How often the broker has found its first message wrong.
    refusals: u32,
    /// It waits before it is tried again.
    wait: Option<Wait>,
    /// Something of its first row failed: what is left goes one by one, so that nothing overtakes and nothing more than one
    /// message is published again.
    careful: bool,
}

#[derive(Debug)]
struct Wait {
    delays: Delays,
    due: Instant,
    why: String,
}

/// A shard that has been read beyond its saved cursor.
#[derive(Debug)]
struct Shard {
    epoch: i32,
    pages: VecDeque<OpenPage>,
}

#[derive(Debug)]
struct OpenPage {
    number: u64,
    next: Cursor,
    /// Rows that it brought, and those of them that are not confirmed.
    rows: usize,
    open: usize,
}

/// A row that waits, for people.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) shard: i16,
    pub(super) instance: InstanceId,
    pub(super) revision: i32,
    pub(super) at_us: i64,
    /// The type of its first event.
    pub(super) event_type: String,
    /// Why it is not published yet, if anything is in its way.
    pub(super) why: Option<String>,
}

/// All that is in hand.
#[derive(Debug)]
pub(super) struct Streams {
    streams: HashMap<InstanceId, Stream>,
    /// The streams in the order in which they came.
    line: Vec<InstanceId>,
    shards: BTreeMap<i16, Shard>,
    pages: u64,
    rows: usize,
    retry_max: Duration,
}

impl Streams {
    pub(super) fn new(retry_max_ms: u64) -> Self {
        Self {
            streams: HashMap::new(),
            line: Vec::new(),
            shards: BTreeMap::new(),
            pages: 0,
            rows: 0,
            retry_max: Duration::from_millis(retry_max_ms),
        }
    }

    /// Rows that are not confirmed.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Lets go what belongs to shards that this worker holds no longer.
    pub(super) fn keep(&mut self, held: &[i16]) {
        let gone: Vec<i16> = self.shards.keys().copied().filter(|shard| !held.contains(shard)).collect();
        for shard in gone {
            self.forget(shard);
        }
    }

    /// Lets everything go: it is read again from the saved cursors.
    pub(super) fn forget_all(&mut self) {
        self.streams.clear();
        self.line.clear();
        self.shards.clear();
        self.rows = 0;
    }

    fn forget(&mut self, shard: i16) {
        self.shards.remove(&shard);
        let mut rows = 0;
        self.streams.retain(|_, stream| {
            let stays = stream.shard != shard;
            rows += if stays { 0 } else { stream.parcels.len() };
            stays
        });
        self.rows -= rows;
    }

    /// Where shards are read on that were read beyond their saved cursors.
    pub(super) fn ahead(&self) -> Vec<Cursor> {
        self.shards.values().filter_map(|shard| shard.pages.back()).map(|page| page.next.clone()).collect()
    }

    /// Shards of which so many rows were read beyond the saved cursor that a crash would repeat too much.
    pub(super) fn full(&self, rows_max: usize) -> Vec<i16> {
        let is_full = |shard: &Shard| shard.pages.iter().map(|page| page.rows).sum::<usize>() >= rows_max;
        self.shards.iter().filter(|(_, shard)| is_full(shard)).map(|(number, _)| *number).collect()
    }

    /// A page was read: its number, for its rows.
    pub(super) fn open_page(&mut self, next: Cursor, rows: usize) -> u64 {
        if self.shards.get(&next.shard).is_some_and(|shard| shard.epoch != next.epoch) {
            // It was somebody else's meanwhile.
            self.forget(next.shard);
        }
        self.pages += 1;
        let number = self.pages;
        let new = || Shard { epoch: next.epoch, pages: VecDeque::new() };
        let shard = self.shards.entry(next.shard).or_insert_with(new);
        shard.pages.push_back(OpenPage { number, next, rows, open: 0 });
        number
    }

    /// Puts a row at the end of its stream.
    pub(super) fn put(&mut self, shard: i16, instance: InstanceId, parcel: Parcel) {
        let nothing = matches!(&parcel.load, Load::Messages(messages) if messages.is_empty());
        if nothing && !self.streams.contains_key(&instance) {
            return;
        }
        if matches!(parcel.load, Load::Release { .. }) && self.is_released(instance) {
            // The one before it goes on to the end.
            return;
        }
        if let Some(page) = self.page(shard, parcel.page) {
            page.open += 1;
        }
        self.rows += 1;
        let line = &mut self.line;
        let stream = self.streams.entry(instance).or_insert_with(|| {
            line.push(instance);
            Stream { shard, parcels: VecDeque::new(), refusals: 0, wait: None, careful: false }
        });
        stream.parcels.push_back(parcel);
    }

    /// Puts rows before the first one of a stream, which releases it, and says up to which revision they go.
    pub(super) fn put_before(&mut self, instance: InstanceId, parcels: Vec<Parcel>, last: i32) {
        let Some(stream) = self.streams.get_mut(&instance) else { return };
        if let Some(Parcel { load: Load::Release { through }, .. }) = stream.parcels.front_mut() {
            *through = last;
        }
        self.rows += parcels.len();
        for parcel in parcels.into_iter().rev() {
            stream.parcels.push_front(parcel);
        }
    }

    fn page(&mut self, shard: i16, number: Option<u64>) -> Option<&mut OpenPage> {
        let pages = &mut self.shards.get_mut(&shard)?.pages;
        pages.iter_mut().find(|page| Some(page.number) == number)
    }

    /// Streams whose first row can be seen to now, in the order in which they came.
    pub(super) fn ready(&mut self, now: Instant) -> Vec<InstanceId> {
        let mut seen = HashSet::new();
        self.line.retain(|instance| self.streams.contains_key(instance) && seen.insert(*instance));
        let is_ready = |stream: &Stream| {
            let newer = matches!(stream.parcels.front(), Some(Parcel { load: Load::Newer, .. }));
            !newer && stream.wait.as_ref().is_none_or(|wait| wait.due <= now)
        };
        self.line.iter().copied().filter(|instance| self.streams.get(instance).is_some_and(is_ready)).collect()
    }

    /// The first row of a stream.
    pub(super) fn first(&self, instance: InstanceId) -> Option<&Parcel> {
        self.streams.get(&instance)?.parcels.front()
    }

    /// Is this stream being released?
    pub(super) fn is_released(&self, instance: InstanceId) -> bool {
        let is_release = |parcel: &Parcel| matches!(parcel.load, Load::Release { .. });
        self.streams.get(&instance).is_some_and(|stream| stream.parcels.iter().any(is_release))
    }

    /// Takes what of the first row is to be published in the next burst.
    pub(super) fn take(&mut self, instance: InstanceId) -> Vec<Outgoing> {
        let Some(stream) = self.streams.get_mut(&instance) else { return Vec::new() };
        let careful = stream.careful;
        match stream.parcels.front_mut().map(|parcel| &mut parcel.load) {
            Some(Load::Messages(messages)) => {
                let count = if careful { 1.min(messages.len()) } else { messages.len() };
                let taken: Vec<Outgoing> = messages.drain(..count).collect();
                if taken.is_empty() {
                    self.done(instance);
                }
                taken
            }
            _ => Vec::new(),
        }
    }

    /// What was taken is confirmed.
    pub(super) fn confirmed(&mut self, instance: InstanceId) {
        let Some(stream) = self.streams.get_mut(&instance) else { return };
        (stream.refusals, stream.wait) = (0, None);
        if matches!(stream.parcels.front(), Some(Parcel { load: Load::Messages(left), .. }) if left.is_empty()) {
            self.done(instance);
        }
    }

    /// What was taken is not confirmed from `again` on. Returns how often the broker has found the first of it wrong.
    pub(super) fn failed(
        &mut self,
        instance: InstanceId,
        again: Vec<Outgoing>,
        progress: bool,
        refused: bool,
        why: &PublishError,
    ) -> u32 {
        let Some(stream) = self.streams.get_mut(&instance) else { return 0 };
        if let Some(Load::Messages(left)) = stream.parcels.front_mut().map(|parcel| &mut parcel.load) {
            for message in again.into_iter().rev() {
                left.push_front(message);
            }
        }
        if progress {
            (stream.refusals, stream.wait) = (0, None);
        }
        stream.careful = true;
        stream.refusals += u32::from(refused);
        let delays = stream.wait.take().map(|wait| wait.delays);
        let mut delays = delays.unwrap_or_else(|| Delays::up_to(self.retry_max));
        let longest = match why {
            PublishError::Unavailable(_) => LINK_RETRY_MAX,
            PublishError::Pushback(_) | PublishError::Refused(_) => Duration::MAX,
        };
        let due = Instant::now() + delays.next_delay().min(longest);
        stream.wait = Some(Wait { delays, due, why: why.to_string() });
        stream.refusals
    }

    /// The first row of a stream is seen to.
    pub(super) fn done(&mut self, instance: InstanceId) {
        let Some(stream) = self.streams.get_mut(&instance) else { return };
        let Some(parcel) = stream.parcels.pop_front() else { return };
        (stream.refusals, stream.wait, stream.careful) = (0, None, false);
        let shard = stream.shard;
        if stream.parcels.is_empty() {
            self.streams.remove(&instance);
        }
        self.close(shard, parcel.page);
    }

    /// A stream was set aside: its rows are seen to.
    pub(super) fn drop_stream(&mut self, instance: InstanceId) {
        let Some(stream) = self.streams.remove(&instance) else { return };
        for parcel in stream.parcels {
            self.close(stream.shard, parcel.page);
        }
    }

    fn close(&mut self, shard: i16, page: Option<u64>) {
        self.rows -= 1;
        if let Some(page) = self.page(shard, page) {
            page.open -= 1;
        }
    }

    /// The cursors that can be saved: everything before them is confirmed.
    pub(super) fn finished(&self) -> Vec<Cursor> {
        let last = |shard: &Shard| {
            let finished = shard.pages.iter().take_while(|page| page.open == 0);
            finished.last().map(|page| page.next.clone())
        };
        self.shards.values().filter_map(last).collect()
    }

    /// They are saved.
    pub(super) fn saved(&mut self) {
        for shard in self.shards.values_mut() {
            while shard.pages.front().is_some_and(|page| page.open == 0) {
                shard.pages.pop_front();
            }
        }
        self.shards.retain(|_, shard| !shard.pages.is_empty());
    }

    /// Does any stream wait before it is tried again?
    pub(super) fn waits(&self) -> bool {
        self.streams.values().any(|stream| stream.wait.is_some())
    }

    /// Shards with rows that a newer build wrote.
    pub(super) fn unreadable(&self) -> Vec<i16> {
        let newer = |stream: &&Stream| stream.parcels.iter().any(|parcel| matches!(parcel.load, Load::Newer));
        let shards: BTreeSet<i16> = self.streams.values().filter(newer).map(|stream| stream.shard).collect();
        shards.into_iter().collect()
    }

    /// The row that has waited longest for the broker. One that a newer build wrote does not wait for it.
    pub(super) fn oldest(&self) -> Option<Waiting> {
        let waiting = self.streams.iter().filter_map(|(instance, stream)| {
            let first = stream.parcels.front().filter(|parcel| !matches!(parcel.load, Load::Newer))?;
            Some((first.at_us, *instance, stream, first))
        });
        waiting.min_by_key(|(at_us, instance, ..)| (*at_us, *instance)).map(|(.., instance, stream, first)| Waiting {
            shard: stream.shard,
            instance,
            revision: first.revision,
            at_us: first.at_us,
            event_type: first.event_type(),
            why: stream.wait.as_ref().map(|wait| wait.why.clone()),
        })
    }

    /// How many streams wait before they are tried again, by shard.
    pub(super) fn held(&self) -> BTreeMap<i16, usize> {
        let mut held = BTreeMap::new();
        for stream in self.streams.values().filter(|stream| stream.wait.is_some()) {
            *held.entry(stream.shard).or_default() += 1;
        }
        held
    }
}

impl Parcel {
    fn event_type(&self) -> String {
        let Load::Messages(messages) = &self.load else { return String::new() };
        messages.front().map_or_else(String::new, |message| match &message.content {
            Content::Event(event) => event.ty.clone(),
            Content::Raw(_) if message.channel == Channel::Dead => format!("dead letter {}", message.routing_key),
            Content::Raw(_) => format!("redriven letter {}", message.routing_key),
        })
    }
}

#[cfg(test)]
mod tests {
    use flagstop_bus::port::RawMessage;

    use super::*;

    fn instance(n: u128) -> InstanceId {
        InstanceId(uuid::Uuid::from_u128(n))
    }

    fn cursor(shard: i16, place: &str) -> Cursor {
        Cursor { shard, epoch: 1, place: place.to_owned() }
    }

    fn parcel(revision: i32, page: u64, messages: usize) -> Parcel {
        let message = |n: usize| Outgoing {
            channel: Channel::Status,
            routing_key: format!("{revision}.{n}"),
            order_key: String::new(),
            content: Content::Raw(RawMessage::default()),
        };
        let load = Load::Messages((0..messages).map(message).collect());
        Parcel { revision, at_us: i64::from(revision), load, page: Some(page) }
    }

    fn keys(messages: &[Outgoing]) -> Vec<&str> {
        messages.iter().map(|message| message.routing_key.as_str()).collect()
    }

    fn places(cursors: &[Cursor]) -> Vec<&str> {
        cursors.iter().map(|cursor| cursor.place.as_str()).collect()
    }

    #[test]
    fn a_cursor_is_saved_as_far_as_all_before_it_is_confirmed_and_reading_goes_on_behind_it() {
        let mut streams = Streams::new(1_000);
        let (a, b) = (instance(1), instance(2));
        for (revision, place) in [(1, "p1"), (2, "p2")] {
            let page = streams.open_page(cursor(7, place), 2);
            streams.put(7, a, parcel(revision, page, 1));
            streams.put(7, b, parcel(revision, page, 1));
        }
        let last = streams.open_page(cursor(7, "p3"), 0);
        assert_eq!((places(&streams.ahead()), streams.rows(), last), (vec!["p3"], 4, 3));
        assert_eq!(streams.ready(Instant::now()), [a, b], "in the order in which they came");
        for _ in 0..2 {
            assert_eq!(streams.take(a).len(), 1);
            streams.confirmed(a);
        }
        assert!(streams.finished().is_empty(), "the other one's first row is open");
        streams.take(b);
        streams.confirmed(b);
        assert_eq!(places(&streams.finished()), ["p1"]);
        streams.saved();
        assert_eq!(places(&streams.ahead()), ["p3"]);
        streams.take(b);
        streams.confirmed(b);
        assert_eq!(places(&streams.finished()), ["p3"], "and the page without rows with it");
        streams.saved();
        assert!(streams.ahead().is_empty() && streams.rows() == 0 && streams.ready(Instant::now()).is_empty());
    }

    #[test]
    fn what_failed_is_tried_again_one_by_one_and_later_and_later() {
        let mut streams = Streams::new(60_000);
        let a = instance(1);
        let page = streams.open_page(cursor(7, "p1"), 1);
        streams.put(7, a, parcel(1, page, 3));
        let mut taken = streams.take(a);
        assert_eq!(keys(&taken), ["1.0", "1.1", "1.2"]);
        let pushback = PublishError::Pushback("full".into());
        let mut due = Vec::new();
        for _ in 0..6 {
            assert_eq!(streams.failed(a, taken, false, false, &pushback), 0);
            let now = Instant::now();
            assert!(streams.ready(now).is_empty() && streams.waits());
            due.push(streams.streams[&a].wait.as_ref().expect("it waits").due - now);
            taken = streams.take(a);
            assert_eq!(keys(&taken), ["1.0"], "alone, so that only one is published again");
        }
        assert!(due[5] > 4 * due[0], "{due:?}");
        assert_eq!(streams.failed(a, taken, false, true, &PublishError::Refused("large".into())), 1);
        for key in ["1.0", "1.1", "1.2"] {
            assert_eq!(keys(&streams.take(a)), [key]);
            streams.confirmed(a);
        }
        assert_eq!(places(&streams.finished()), ["p1"]);
    }

    #[test]
    fn what_belongs_to_a_shard_that_others_had_meanwhile_is_let_go() {
        let mut streams = Streams::new(1_000);
        for shard in [7, 8] {
            let page = streams.open_page(cursor(shard, "p1"), 1);
            streams.put(shard, instance(shard as u128), parcel(1, page, 1));
        }
        streams.keep(&[8]);
        assert_eq!((streams.ready(Instant::now()), streams.rows()), (vec![instance(8)], 1));
        streams.open_page(Cursor { epoch: 2, ..cursor(8, "p2") }, 0);
        assert_eq!((streams.ready(Instant::now()), streams.rows()), (vec![], 0));
    }

    #[test]
    fn rows_that_were_withheld_come_before_what_follows_them() {
        let mut streams = Streams::new(1_000);
        let a = instance(1);
        let page = streams.open_page(cursor(7, "p1"), 2);
        let release = |page| Parcel { load: Load::Release { through: 4 }, ..parcel(-3, page, 0) };
        streams.put(7, a, release(page));
        streams.put(7, a, parcel(7, page, 1));
        streams.put(7, a, release(page));
        let withheld = |revision| Parcel { page: None, ..parcel(revision, page, 1) };
        streams.put_before(a, vec![withheld(5), withheld(6)], 6);
        let mut order = Vec::new();
        while let Some(first) = streams.first(a) {
            order.push(first.revision);
            if let Load::Release { through } = first.load {
                assert_eq!(through, 6);
            }
            streams.done(a);
        }
        assert_eq!(order, [5, 6, -3, 7], "and it is released once");
        assert_eq!((places(&streams.finished()), streams.rows()), (vec!["p1"], 0));
    }
}
