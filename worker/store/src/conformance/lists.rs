//! What people ask for: lists, histories, letters.

use flagstop_schemas::InstanceId;

use super::fixtures::*;
use crate::port::{Group, InstanceFilter, LetterFilter};
use crate::rows::{InstanceSummary, Parent};

async fn list(store: &Shared, filter: InstanceFilter) -> Vec<InstanceSummary> {
    store.list_instances(&filter).await.expect("the store lists instances")
}

fn ids(rows: &[InstanceSummary]) -> Vec<InstanceId> {
    rows.iter().map(|row| row.id).collect()
}

/// Newest first, then by id; a page goes on after the last id of the one before, and nothing is left out between.
pub async fn lists_show_the_newest_first_in_pages(store: Shared) {
    for batch in 0..3 {
        let groups = (0..5).map(|n| with(group(&format!("{batch}.{n}"), 0), |write| write.status = n)).collect();
        apply(&store, groups).await;
    }
    let all = list(&store, InstanceFilter::default()).await;
    assert_eq!(all.len(), 15);
    assert!(all.is_sorted_by_key(|row| (std::cmp::Reverse(row.created_us), row.id)));
    let newest: Vec<_> = (0..5).map(|n| id(&format!("2.{n}"))).collect();
    assert!(all[..5].iter().all(|row| newest.contains(&row.id)));
    assert_eq!(
        all[0].state,
        format!("state of 2.{} at 1", newest.iter().position(|id| *id == all[0].id).expect("it is there"))
    );

    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = list(&store, InstanceFilter { limit: 4, after, ..InstanceFilter::default() }).await;
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        paged.extend(page);
    }
    assert_eq!(paged, all);

    let some = list(&store, InstanceFilter { statuses: vec![1, 3], ..InstanceFilter::default() }).await;
    assert_eq!(ids(&some), all.iter().filter(|row| [1, 3].contains(&row.status)).map(|row| row.id).collect::<Vec<_>>());
    let filter = InstanceFilter { statuses: vec![3], limit: 2, ..InstanceFilter::default() };
    assert_eq!(list(&store, filter).await.len(), 2);
}

/// Times are the store's; key and parent stay as first written; an end is noted once.
pub async fn a_summary_tells_times_parent_and_key(store: Shared) {
    let first = with(group("a", 0), |write| {
        write.business_key = Some("employee 7".to_owned());
        write.parent = Some(Parent { instance: id("parent"), slot: Some(7) });
    });
    apply(&store, vec![first, group("plain", 0)]).await;
    apply(&store, vec![group("late", 0)]).await;
    apply(&store, vec![with(group("late", 1), |write| write.business_key = Some("employee 8".to_owned()))]).await;
    let get = |name: &'static str| {
        let store = store.clone();
        async move { store.instance(id(name)).await.expect("the store gives an instance") }
    };
    let new = get("a").await.expect("it is there");
    assert_eq!((new.business_key.as_deref(), new.parent), (Some("employee 7"), Some(id("parent"))));
    assert_eq!((new.revision, new.status, new.created_us, new.ended_us), (1, 1, new.updated_us, None));

    // A later transition brings neither, and both stay.
    let ends = with(group("a", 1), |write| (write.ended, write.status, write.definition) = (true, 4, 2));
    apply(&store, vec![ends]).await;
    let ended = get("a").await.expect("it is there");
    assert_eq!((ended.business_key.as_deref(), ended.parent), (Some("employee 7"), Some(id("parent"))));
    assert_eq!((ended.revision, ended.status, ended.definition), (2, 4, 2));
    assert_eq!((ended.created_us, ended.ended_us), (new.created_us, Some(ended.updated_us)));
    assert!(ended.updated_us >= new.updated_us);
    assert_eq!(ended.state, "state of a at 2");

    let late = get("late").await.expect("it is there");
    assert_eq!(late.business_key.as_deref(), Some("employee 8"), "a child is inserted before it starts and has a key");
    let plain = get("plain").await.expect("it is there");
    assert_eq!((plain.business_key, plain.parent), (None, None));
    assert_eq!(get("absent").await, None);
}

/// A history is one instance's, by revision, and does not show letters.
pub async fn history_is_oldest_first_and_complete(store: Shared) {
    for revision in 0..7 {
        apply(&store, vec![group("a", revision), group("b", revision)]).await;
    }
    let rows = history(&store, "a").await;
    assert_eq!(rows.iter().map(|row| row.revision).collect::<Vec<_>>(), (1..=7).collect::<Vec<_>>());
    assert!(rows.iter().all(|row| row.instance == id("a")));
    assert!(rows.is_sorted_by_key(|row| row.at_us));
    assert!(history(&store, "absent").await.is_empty());
    apply(&store, vec![Group { dead: vec![letter("l")], ..Group::default() }]).await;
    assert!(store.history(InstanceId(letter("l").id.0)).await.expect("the store gives a history").is_empty());
}

/// The newest letters first, no more than asked for; 0 asks for all.
pub async fn dead_letters_are_listed_newest_first(store: Shared) {
    for name in ["first", "second", "third"] {
        apply(&store, vec![Group { dead: vec![letter(name)], ..Group::default() }]).await;
    }
    let reasons = |limit| {
        let store = store.clone();
        async move {
            let filter = LetterFilter { limit, ..LetterFilter::default() };
            let letters = store.list_dead_letters(&filter).await.expect("the store lists letters");
            letters.into_iter().map(|letter| letter.origin + ": " + &letter.reason).collect::<Vec<_>>()
        }
    };
    let all = reasons(0).await;
    assert_eq!(all.len(), 3);
    for (got, name) in all.iter().zip(["third", "second", "first"]) {
        assert_eq!(*got, format!("queue flagstop.work: {name} can't be carried out"));
    }
    assert_eq!(reasons(2).await, all[..2]);
}

/// `why` shows what is kept of a type, newest first.
pub async fn parked_events_are_found_by_type(store: Shared) {
    for name in ["e1", "e2", "e3"] {
        apply(&store, vec![Group { park: vec![parked(name, "k")], ..Group::default() }]).await;
    }
    let mut other = parked("e4", "k");
    other.event_type = "com.example.other".to_owned();
    apply(&store, vec![Group { park: vec![other.clone()], ..Group::default() }]).await;
    let found = store.parked_of_type("com.example.early", 2).await.expect("the store lists parked events");
    assert_eq!(found, [parked("e3", "k"), parked("e2", "k")]);
    assert_eq!(store.parked_of_type("com.example.other", 10).await.expect("the store lists parked events"), [other]);
    assert!(store.parked_of_type("com.example.none", 10).await.expect("the store lists parked events").is_empty());
}
