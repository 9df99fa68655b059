//! The relay's way through the journal (PROTOCOL D13, D14).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use flagstop_schemas::InstanceId;

use super::fixtures::*;
use crate::port::{Ahead, Group, Verdict};
use crate::rows::{JournalRow, Note, RELEASE_ROW, WorkerId};

async fn hold(store: &Shared, worker: WorkerId) {
    let beat = store.beat(worker, LONG_US).await.expect("the store answers a beat");
    assert_eq!(beat.shards.len(), 64);
}

/// Twelve instances with five transitions each, in batches.
async fn write_journal(store: &Shared) {
    for revision in 0..5 {
        apply(store, (0..12).map(|n| group(&format!("i{n}"), revision)).collect()).await;
    }
}

/// Each row once, and each instance's rows in their order.
fn assert_complete(rows: &[JournalRow]) {
    let mut next: BTreeMap<InstanceId, i32> = BTreeMap::new();
    for row in rows {
        let expected = next.entry(row.instance).or_insert(1);
        assert_eq!(row.revision, *expected, "of {}", row.instance);
        *expected += 1;
    }
    assert_eq!(next.len(), 12);
    assert!(next.values().all(|next| *next == 6));
}

/// D13: whatever the size of the pages, every row comes once, and each instance's rows come in order.
pub async fn d13_rows_come_in_order_per_instance_and_none_is_skipped(store: Shared) {
    hold(&store, worker(1)).await;
    write_journal(&store).await;
    let small = drain(&store, worker(1), 1).await;
    assert_complete(&small);
    let row = &small[0];
    let name = (0..12).map(|n| format!("i{n}")).find(|name| id(name) == row.instance).expect("a known instance");
    assert_eq!((row.definition, row.revision), (1, 1));
    assert_eq!(row.events, format!("events of {name} at 1"));
    assert!(row.at_us > 0);

    for revision in 5..7 {
        apply(&store, (0..12).map(|n| group(&format!("i{n}"), revision)).collect()).await;
    }
    let later = drain(&store, worker(1), 1_000).await;
    assert_eq!(later.len(), 24, "what was confirmed does not come again");
    assert!(later.iter().all(|row| row.revision > 5));
}

/// D14: what is read and not saved comes again, the same rows in the same order, and with it what is new.
pub async fn d14_reading_without_saving_repeats(store: Shared) {
    hold(&store, worker(1)).await;
    write_journal(&store).await;
    let flat = |pages: Vec<crate::port::Page>| -> Vec<_> {
        let mut pages: Vec<_> = pages.into_iter().map(|page| (page.shard, page.rows)).collect();
        pages.retain(|(_, rows)| !rows.is_empty());
        pages.sort_by_key(|(shard, _)| *shard);
        pages
    };
    let first = flat(read(&store, worker(1), 100).await);
    let second = flat(read(&store, worker(1), 100).await);
    assert_eq!(first, second);
    apply(&store, vec![group("i0", 5)]).await;
    let third = flat(read(&store, worker(1), 100).await);
    let count = |pages: &[(i16, Vec<JournalRow>)]| pages.iter().map(|(_, rows)| rows.len()).sum::<usize>();
    assert_eq!(count(&third), count(&first) + 1);
    for (shard, rows) in first {
        let now = third.iter().find(|(other, _)| *other == shard).expect("the shard still has rows");
        assert_eq!(rows, now.1[..rows.len()], "what was there stays in front");
    }
}

/// D14: a relay that lost its shard can't move the cursor, not even when it holds the shard again later.
pub async fn d14_only_the_holder_saves(store: Shared) {
    hold(&store, worker(1)).await;
    write_journal(&store).await;
    let old: Vec<_> = read(&store, worker(1), 100).await.into_iter().map(|page| page.next).collect();
    store.leave(worker(1)).await.expect("the store lets leave");
    hold(&store, worker(2)).await;
    store.save(worker(1), &old).await.expect("a late save is no error");
    store.leave(worker(2)).await.expect("the store lets leave");
    hold(&store, worker(1)).await;
    store.save(worker(1), &old).await.expect("a late save is no error");
    assert_complete(&drain(&store, worker(1), 100).await);
}

/// D14: who takes over goes on behind what was confirmed, and repeats what was not.
pub async fn d14_the_successor_goes_on_where_the_holder_stopped(store: Shared) {
    hold(&store, worker(1)).await;
    write_journal(&store).await;
    let pages = read(&store, worker(1), 2).await;
    let (confirmed, unconfirmed) = pages.split_at(pages.len() / 2);
    let cursors: Vec<_> = confirmed.iter().map(|page| page.next.clone()).collect();
    store.save(worker(1), &cursors).await.expect("the store saves cursors");
    let mut rows: Vec<_> = confirmed.iter().flat_map(|page| page.rows.clone()).collect();
    assert!(!rows.is_empty() && !unconfirmed.is_empty());

    store.beat(worker(1), ENDED_US).await.expect("the store answers a beat");
    hold(&store, worker(2)).await;
    rows.extend(drain(&store, worker(2), 3).await);
    assert_complete(&rows);
    assert!(read(&store, worker(1), 10).await.is_empty(), "a shard is read by its holder alone");
}

/// D13: an instance whose events the broker refuses is left out from that revision on; nothing else is held up, and the
/// history keeps all.
pub async fn d13_a_stream_set_aside_lets_the_others_pass(store: Shared) {
    hold(&store, worker(1)).await;
    write_journal(&store).await;
    store.quarantine(id("i3"), 3, "the broker refuses it").await.expect("the store sets a stream aside");
    store.quarantine(id("i3"), 4, "another reason").await.expect("repeating it is no error");
    let set_aside = store.quarantined(None).await.expect("the store tells what is set aside");
    let told: Vec<_> = set_aside.iter().map(|it| (it.instance, it.revision, it.reason.as_str())).collect();
    assert_eq!(told, [(id("i3"), 3, "the broker refuses it")], "the first time counts");
    assert!(set_aside[0].since_us > 0);
    let rows = drain(&store, worker(1), 1).await;
    let of =
        |name: &str| rows.iter().filter(|row| row.instance == id(name)).map(|row| row.revision).collect::<Vec<_>>();
    assert_eq!(of("i3"), [1, 2]);
    for n in (0..12).filter(|n| *n != 3) {
        assert_eq!(of(&format!("i{n}")), [1, 2, 3, 4, 5], "i{n}");
    }
    assert_eq!(history(&store, "i3").await.len(), 5);
}

/// D13: a stream that is released comes back whole and in order: first what was withheld, wherever it stands, then what
/// follows, and no row is seen by nobody.
pub async fn d13_a_released_stream_comes_back_whole(store: Shared) {
    hold(&store, worker(1)).await;
    write_journal(&store).await;
    store.quarantine(id("i3"), 2, "too large").await.expect("the store sets a stream aside");
    assert_eq!(drain(&store, worker(1), 10).await.iter().filter(|row| row.instance == id("i3")).count(), 1);
    let released = store.release(&[id("i3"), id("i4")]).await.expect("the store releases");
    assert_eq!(released, 1, "the other was not set aside");
    // It stays set aside until what was withheld is out: nothing overtakes that.
    apply(&store, vec![group("i3", 5)]).await;
    let rows = drain(&store, worker(1), 10).await;
    let told: Vec<_> = rows.iter().map(|row| (row.instance, row.revision, row.events.as_ref())).collect();
    assert_eq!(told, [(id("i3"), RELEASE_ROW, b"2".as_ref())]);
    assert_eq!(history(&store, "i3").await.len(), 6, "it is no part of the history");
    let withheld = async |after| {
        let rows = store.withheld(id("i3"), after, 3).await.expect("the store gives what was withheld");
        rows.iter().map(|row| row.revision).collect::<Vec<_>>()
    };
    assert_eq!(withheld(1).await, [2, 3, 4]);
    assert!(!store.rejoin(id("i3"), 4).await.expect("the store answers"), "there is more");
    assert_eq!(store.quarantined(Some(id("i3"))).await.expect("the store tells")[0].revision, 5, "what is out is out");
    assert_eq!(withheld(4).await, [5, 6]);
    assert!(store.rejoin(id("i3"), 6).await.expect("the store answers"));
    assert!(store.rejoin(id("i3"), 6).await.expect("the store answers"), "repeating it changes nothing");
    assert_eq!(store.quarantined(None).await.expect("the store tells"), []);
    apply(&store, vec![group("i3", 6)]).await;
    assert_eq!(drain(&store, worker(1), 10).await.iter().map(|row| row.revision).collect::<Vec<_>>(), [7]);
}

/// D13: a relay reads on beyond a cursor that it can't save yet, and leaves out shards that it has no room for.
pub async fn d13_reading_ahead_repeats_nothing_and_skips_nothing(store: Shared) {
    hold(&store, worker(1)).await;
    write_journal(&store).await;
    let mut ahead = Ahead::default();
    let mut rows = Vec::new();
    loop {
        let pages = store.read(worker(1), 2, &ahead).await.expect("the store gives pages");
        if pages.is_empty() {
            break;
        }
        for page in pages {
            rows.extend(page.rows);
            ahead.cursors.retain(|cursor| cursor.shard != page.shard);
            ahead.cursors.push(page.next);
        }
    }
    assert_complete(&rows);
    apply(&store, vec![group("i0", 5), group("i1", 5)]).await;
    let (here, there) = (id("i0").shard(64), id("i1").shard(64));
    assert_ne!(here, there, "two shards");
    let narrower = Ahead { full: vec![there], ..ahead.clone() };
    let pages = store.read(worker(1), 100, &narrower).await.expect("the store gives pages");
    assert_eq!(pages.iter().map(|page| (page.shard, page.rows.len())).collect::<Vec<_>>(), [(here, 1)]);
    // Of an earlier lease: worth nothing.
    store.leave(worker(1)).await.expect("the store lets leave");
    hold(&store, worker(1)).await;
    let pages = store.read(worker(1), 100, &ahead).await.expect("the store gives pages");
    assert_eq!(pages.iter().map(|page| page.rows.len()).sum::<usize>(), 62, "nothing was saved");
}

/// D16: shards that a worker can't read go to another one that lives, and as many come back.
pub async fn d16_shards_are_handed_over_to_another_worker(store: Shared) {
    hold(&store, worker(1)).await;
    store.hand_over(worker(1), &[3]).await.expect("the store hands over");
    hold(&store, worker(1)).await;
    store.beat(worker(2), LONG_US).await.expect("the store answers a beat");
    let one = store.beat(worker(1), LONG_US).await.expect("the store answers a beat").shards;
    let two = store.beat(worker(2), LONG_US).await.expect("the store answers a beat").shards;
    assert_eq!((one.len(), two.len()), (32, 32));
    let given = [one[0], one[31]];
    store.hand_over(worker(1), &given).await.expect("the store hands over");
    let one = store.beat(worker(1), LONG_US).await.expect("the store answers a beat").shards;
    let two = store.beat(worker(2), LONG_US).await.expect("the store answers a beat").shards;
    assert_eq!((one.len(), two.len()), (32, 32), "as many for as many");
    assert!(given.iter().all(|shard| two.contains(shard) && !one.contains(shard)), "{given:?} in {two:?}");
}

/// D13: where only rows that are set aside are new the cursor passes them, so that no poll reads them again; what comes
/// later is found behind them.
pub async fn d13_the_cursor_passes_rows_that_are_set_aside(store: Shared) {
    hold(&store, worker(1)).await;
    store.quarantine(id("held"), 1, "the broker refuses it").await.expect("the store sets a stream aside");
    for revision in 0..3 {
        apply(&store, vec![group("held", revision)]).await;
    }
    let mut polls = 0;
    loop {
        let pages = read(&store, worker(1), 2).await;
        if pages.is_empty() {
            break;
        }
        polls += 1;
        assert!(polls <= 3, "the cursor does not move");
        assert!(pages.iter().all(|page| page.rows.is_empty() && page.shard == id("held").shard(64)));
        let cursors: Vec<_> = pages.into_iter().map(|page| page.next).collect();
        store.save(worker(1), &cursors).await.expect("the store saves cursors");
    }
    assert!(polls >= 1, "there was nothing to save");
    apply(&store, vec![group("held", 3), group("free", 0)]).await;
    let rows = drain(&store, worker(1), 2).await;
    assert_eq!(rows.iter().map(|row| row.instance).collect::<Vec<_>>(), [id("free")]);
}

/// A note stands in the journal as revision 0 under its own id, with what it says, and stands or falls with its group.
pub async fn a_note_is_written_with_its_group_or_not_at_all(store: Shared) {
    hold(&store, worker(1)).await;
    let note = |name: &str| Note { id: hash(name), events: Bytes::from(format!("note {name}")) };
    let with = |names: &[&str], message: &str| Group {
        inbox: vec![hash(message)],
        notes: names.iter().map(|name| note(name)).collect(),
        ..Group::default()
    };
    let verdicts = commit(&store, vec![with(&["x", "y"], "m1"), with(&["z"], "m2")]).await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Applied]);
    assert_eq!(commit_one(&store, with(&["x"], "m1")).await, Verdict::Duplicate(vec![hash("m1")]));
    let rows = drain(&store, worker(1), 100).await;
    assert!(rows.iter().all(|row| row.revision == 0 && row.definition == 0));
    let mut said: Vec<_> = rows.iter().map(|row| (row.instance, row.events.clone())).collect();
    said.sort_unstable();
    let mut expected: Vec<_> =
        ["x", "y", "z"].iter().map(|name| (InstanceId(hash(name).0), note(name).events)).collect();
    expected.sort_unstable();
    assert_eq!(said, expected);
}

/// A letter stands in the journal as revision 0 under its own id, once, however often and by whomever it is written.
pub async fn a_dead_letter_is_written_and_published_once(store: Shared) {
    hold(&store, worker(1)).await;
    let dead = |names: &[&str]| Group { dead: names.iter().map(|name| letter(name)).collect(), ..Group::default() };
    let verdicts =
        commit(&store, vec![dead(&["x", "y"]), dead(&["y"]), Group { dead: vec![letter("z")], ..group("a", 0) }]).await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Applied, Verdict::Applied]);
    assert_eq!(commit_one(&store, dead(&["x", "z"])).await, Verdict::Applied);
    let rows = drain(&store, worker(1), 100).await;
    let published: Vec<_> = rows.iter().filter(|row| row.revision == 0).map(|row| row.instance).collect();
    let ids = ["x", "y", "z"].map(|name| InstanceId(letter(name).id.0));
    assert_eq!(published.len(), 3);
    assert_eq!(published.into_iter().collect::<BTreeSet<_>>(), ids.into_iter().collect());
    assert!(rows.iter().filter(|row| row.revision == 0).all(|row| row.definition == 0 && row.events.is_empty()));
    let found = store
        .dead_letters(&["x", "y", "z", "absent"].map(|name| letter(name).id))
        .await
        .expect("the store gives letters");
    assert_eq!(found.len(), 3);
}
