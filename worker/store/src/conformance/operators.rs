//! What operators do: find instances, follow the journal, give letters to the workers again, disable definitions, count. And
//! marks on what may have killed a worker.

use flagstop_schemas::Hash16;

use super::fixtures::*;
use crate::port::{
    Census, Enabled, Group, InstanceFilter, JournalFrom, JournalPage, LetterFilter, ParkedFilter, Redrive, Verdict,
};
use crate::rows::{DefinitionRow, JournalRow, LETTER_ROW, NewParked, Note, REDRIVE_ROW};

async fn found(store: &Shared, filter: InstanceFilter) -> Vec<String> {
    let rows = store.list_instances(&filter).await.expect("the store lists instances");
    let mut names: Vec<_> = rows
        .iter()
        .map(|row| String::from_utf8_lossy(&row.state).split(' ').nth(2).unwrap_or_default().to_owned())
        .collect();
    names.sort();
    names
}

/// Each filter by itself, and all of them together.
pub async fn instances_are_found_by_definition_key_age_and_error(store: Shared) {
    let make = |name: &str, definition: i32, key: &str, error: Option<&str>| {
        with(group(name, 0), |write| {
            (write.definition, write.business_key) = (definition, Some(key.to_owned()));
            write.error = error.map(str::to_owned);
        })
    };
    apply(&store, vec![make("a", 1, "employee 7", None), make("b", 2, "employee 7", Some("HTTP 503 from Payroll"))])
        .await;
    apply(&store, vec![make("c", 2, "employee 8", Some("timeout"))]).await;
    let all = InstanceFilter::default;
    assert_eq!(found(&store, InstanceFilter { definitions: vec![2], ..all() }).await, ["b", "c"]);
    assert_eq!(found(&store, InstanceFilter { business_key: Some("employee 7".into()), ..all() }).await, ["a", "b"]);
    assert_eq!(found(&store, InstanceFilter { error: Some("payroll".into()), ..all() }).await, ["b"]);
    let created_us =
        store.instance(id("c")).await.expect("the store gives an instance").expect("it is there").created_us;
    assert_eq!(found(&store, InstanceFilter { created_before_us: Some(created_us), ..all() }).await, ["a", "b"]);
    apply(&store, vec![group("a", 1)]).await;
    assert_eq!(found(&store, InstanceFilter { updated_before_us: Some(created_us), ..all() }).await, ["b"]);
    let narrow = InstanceFilter {
        definitions: vec![2],
        business_key: Some("employee 7".into()),
        error: Some("503".into()),
        created_before_us: Some(created_us),
        updated_before_us: Some(created_us),
        ..all()
    };
    assert_eq!(found(&store, narrow).await, ["b"]);
    assert_eq!(found(&store, InstanceFilter { business_key: Some("employee".into()), ..all() }).await, [""; 0]);
    // What faulted and goes on has no error any more.
    apply(&store, vec![group("c", 1)]).await;
    assert_eq!(found(&store, InstanceFilter { error: Some("timeout".into()), ..all() }).await, [""; 0]);
}

/// D8: who is set aside keeps its rows and its revision, says why wherever it is read, and is released once.
pub async fn d8_an_instance_that_is_set_aside_says_why_until_it_is_released(store: Shared) {
    apply(&store, vec![group("a", 0), group("b", 0)]).await;
    assert_eq!(commit_one(&store, aside("a", Some("it killed three Workers"))).await, Verdict::Applied);
    let reason = |row: Option<crate::rows::InstanceRow>| row.expect("it is there").aside;
    assert_eq!(reason(instance(&store, "a").await).as_deref(), Some("it killed three Workers"));
    assert_eq!(reason(instance(&store, "b").await), None);
    let summary = store.instance(id("a")).await.expect("the store gives an instance").expect("it is there");
    assert_eq!((summary.revision, summary.aside.as_deref()), (1, Some("it killed three Workers")));
    assert_eq!(found(&store, InstanceFilter { aside: true, ..InstanceFilter::default() }).await, ["a"]);
    let worded = InstanceFilter { error: Some("three workers".into()), ..InstanceFilter::default() };
    assert_eq!(found(&store, worded).await, ["a"]);
    apply(&store, vec![group("a", 1)]).await;
    assert!(reason(instance(&store, "a").await).is_some(), "a transition does not release it");
    assert_eq!(commit_one(&store, aside("a", None)).await, Verdict::Applied);
    assert_eq!(reason(instance(&store, "a").await), None);
    assert_eq!(commit_one(&store, aside("a", None)).await, Verdict::Conflict, "it was released before");
    assert_eq!(commit_one(&store, aside("nobody", Some("x"))).await, Verdict::Conflict);
    assert_eq!(commit_one(&store, aside("nobody", None)).await, Verdict::Conflict);
}

/// D8: what releases an instance is consumed with the release or not at all, and the next try begins to count anew.
pub async fn d8_a_release_stands_or_falls_with_its_message(store: Shared) {
    apply(&store, vec![group("a", 0)]).await;
    let mark = [Hash16(id("a").0)];
    for tries in 1..=3 {
        assert_eq!(store.suspect(&mark).await.expect("the store marks"), [tries]);
    }
    apply(&store, vec![aside("a", Some("it kills"))]).await;
    assert_eq!(store.suspect(&mark).await.expect("the store marks"), [1], "who is set aside has been judged");
    let release = || Group { inbox: vec![hash("continue")], post: vec![mail("a", "go on")], ..aside("a", None) };
    // Another message of the group was there before: it leaves no trace.
    apply(&store, vec![hearing("b", 0, &["seen"])]).await;
    let torn = Group { inbox: vec![hash("continue"), hash("seen")], ..release() };
    assert_eq!(commit_one(&store, torn).await, Verdict::Duplicate(vec![hash("seen")]));
    assert!(instance(&store, "a").await.expect("it is there").aside.is_some());
    assert!(!seen(&store, "continue").await && load(&store, &["a"]).await.mail.is_empty());
    // Twice in one batch, and then once more.
    let verdicts = commit(&store, vec![release(), Group { inbox: vec![hash("again")], ..aside("a", None) }]).await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Conflict]);
    assert_eq!(commit_one(&store, release()).await, Verdict::Duplicate(vec![hash("continue")]));
    let loaded = load(&store, &["a"]).await;
    assert_eq!((loaded.instances[0].aside.clone(), loaded.instances[0].revision), (None, 1));
    assert_eq!(loaded.mail.len(), 1);
    assert!(!seen(&store, "again").await);
    assert_eq!(store.suspect(&mark).await.expect("the store marks"), [1]);
}

/// D8: what begins to kill before it is there comes into the store set aside.
pub async fn d8_an_instance_may_come_set_aside(store: Shared) {
    let new = Group { post: vec![mail("a", "start")], ..group("a", 0) };
    apply(&store, vec![Group { aside: aside("a", Some("its start kills")).aside, ..new }]).await;
    let loaded = load(&store, &["a"]).await;
    assert_eq!((loaded.instances[0].revision, loaded.instances[0].aside.as_deref()), (1, Some("its start kills")));
    assert_eq!(loaded.mail.len(), 1);
    let again = Group { aside: aside("a", Some("twice")).aside, ..group("a", 0) };
    assert_eq!(commit_one(&store, again).await, Verdict::Conflict);
    let verdicts = commit(&store, vec![group("b", 0), aside("b", Some("at once"))]).await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Applied]);
    assert_eq!(instance(&store, "b").await.expect("it is there").aside.as_deref(), Some("at once"));
}

/// D8: each try is counted before it is made, and whoever made progress begins anew.
pub async fn d8_tries_are_counted_until_the_mark_is_taken_off(store: Shared) {
    let ids = [hash("m1"), hash("m2")];
    assert_eq!(store.suspect(&ids).await.expect("the store marks"), [1, 1]);
    assert_eq!(store.suspect(&ids[1..]).await.expect("the store marks"), [2]);
    assert_eq!(store.suspect(&[ids[1], ids[0]]).await.expect("the store marks"), [3, 2]);
    store.clear(&ids[1..]).await.expect("the store takes marks off");
    assert_eq!(store.suspect(&ids).await.expect("the store marks"), [3, 1]);
}

/// A letter's message is new again, the relay is told to publish it, and the letter says when.
pub async fn a_redriven_letters_message_is_new_again(store: Shared) {
    store.beat(worker(1), LONG_US).await.expect("the store takes a sign of life");
    let refused = |name: &str| Group { inbox: vec![hash(name)], dead: vec![letter(name)], ..Group::default() };
    apply(&store, vec![refused("a"), refused("b")]).await;
    assert_eq!(drain(&store, worker(1), 100).await.len(), 2);
    let redrive = |name: &str| Redrive { letter: letter(name).id, message: Some(hash(name)) };
    let unknown = Redrive { letter: hash("nothing"), message: Some(hash("b")) };
    assert_eq!(store.redrive(&[redrive("a"), unknown]).await.expect("the store redrives"), 1);
    assert!(!seen(&store, "a").await, "it may be applied now");
    assert!(seen(&store, "b").await, "an unknown letter moves nothing");
    let told = drain(&store, worker(1), 100).await;
    assert_eq!(
        told.iter().map(|row| (row.revision, row.instance.0)).collect::<Vec<_>>(),
        [(REDRIVE_ROW, letter("a").id.0)]
    );
    let letters = store.list_dead_letters(&LetterFilter::default()).await.expect("the store lists letters");
    let redriven: Vec<_> =
        letters.iter().filter(|letter| letter.redriven_us.is_some()).map(|letter| letter.id).collect();
    assert_eq!(redriven, [letter("a").id]);
    // It fails again: the same letter is there anew, and is published again.
    apply(&store, vec![refused("a"), Group { dead: vec![letter("a"), letter("b")], ..Group::default() }]).await;
    let told = drain(&store, worker(1), 100).await;
    let rows = told.iter().map(|row| (row.revision, row.instance.0)).collect::<Vec<_>>();
    assert_eq!(rows, [(LETTER_ROW, letter("a").id.0)]);
    let letters = store.list_dead_letters(&LetterFilter::default()).await.expect("the store lists letters");
    assert!(letters.len() == 2 && letters.iter().all(|letter| letter.redriven_us.is_none()));
    assert_eq!(store.redrive(&[redrive("a")]).await.expect("the store redrives"), 1);
    assert_eq!(commit_one(&store, hearing("i", 0, &["a"])).await, Verdict::Applied);
}

/// By code, and page by page.
pub async fn dead_letters_are_found_by_code_in_pages(store: Shared) {
    for n in 0..5 {
        let mut one = letter(&n.to_string());
        one.code = if n % 2 == 0 { "FS-EVEN" } else { "FS-ODD" }.to_owned();
        apply(&store, vec![Group { dead: vec![one], ..Group::default() }]).await;
    }
    let list = |filter: LetterFilter| {
        let store = store.clone();
        async move {
            let letters = store.list_dead_letters(&filter).await.expect("the store lists letters");
            letters.iter().map(|it| (0..5).find(|n| letter(&n.to_string()).id == it.id).expect("one of them")).collect()
        }
    };
    let even = LetterFilter { code: Some("FS-EVEN".into()), limit: 2, after: None };
    let page: Vec<i32> = list(even.clone()).await;
    assert_eq!(page, [4, 2]);
    let page: Vec<i32> = list(LetterFilter { after: Some(letter("2").id), ..even }).await;
    assert_eq!(page, [0]);
}

/// Only what nobody has heard; by type, by id, and page by page, with the time since when.
pub async fn unheard_events_are_listed_newest_first(store: Shared) {
    for name in ["e1", "e2", "e3"] {
        apply(&store, vec![Group { park: vec![parked(name, name)], ..Group::default() }]).await;
    }
    let heard = NewParked { matched: true, ..parked("heard", "k") };
    let other = NewParked { event_type: "com.example.other".into(), ..parked("other", "k") };
    apply(&store, vec![Group { park: vec![heard, other], ..Group::default() }]).await;
    let list = |filter: ParkedFilter| {
        let store = store.clone();
        async move { store.parked(&filter).await.expect("the store lists parked events") }
    };
    let early = ParkedFilter { event_type: Some("com.example.early".into()), limit: 2, ..ParkedFilter::default() };
    let page = list(early.clone()).await;
    assert_eq!(page.iter().map(|row| row.parked.clone()).collect::<Vec<_>>(), [parked("e3", "e3"), parked("e2", "e2")]);
    assert!(page[0].parked_us >= page[1].parked_us && page[1].parked_us > 0);
    let page = list(ParkedFilter { after: Some(page[1].parked.id), ..early }).await;
    assert_eq!(page.iter().map(|row| row.parked.clone()).collect::<Vec<_>>(), [parked("e1", "e1")]);
    let by_id = ParkedFilter { ids: vec![parked("e2", "e2").id], ..ParkedFilter::default() };
    assert_eq!(list(by_id).await.len(), 1);
    assert_eq!(list(ParkedFilter::default()).await.len(), 4);
}

/// Reads the journal from a place to its end.
async fn follow(store: &Shared, place: &mut Option<String>, since_us: Option<i64>) -> Vec<JournalRow> {
    let mut all = Vec::new();
    loop {
        let from = JournalFrom { place: place.clone(), since_us, limit: 10 };
        let JournalPage { rows, place: next, full } = store.journal(&from).await.expect("the store gives the journal");
        all.extend(rows);
        *place = Some(next);
        if !full {
            return all;
        }
    }
}

/// Page by page back to the beginning; from each page's place on there is all that comes from there, answers to commands, too.
pub async fn the_journal_is_found_again_from_its_end(store: Shared) {
    let end = async |before: Option<&str>, limit: i64| {
        store.journal_end(before, limit).await.expect("the store gives the journal's end")
    };
    let empty = end(None, 10).await;
    assert_eq!((&empty.rows, empty.full), (&vec![], false));
    let note = |n: i32| Note { id: hash(&format!("note {n}")), events: format!("note {n}").into() };
    for n in 0..60 {
        let noted = Group { notes: vec![note(n)], dead: vec![letter(&n.to_string())], ..Group::default() };
        apply(&store, vec![group("a", n), group(&format!("b{n}"), 0), noted]).await;
    }
    let all = follow(&store, &mut None, None).await;
    assert_eq!(all.len(), 180, "letters have no events");
    assert_eq!(follow(&store, &mut Some(empty.place), None).await, all);
    let (mut place, mut found, mut pages) = (None, Vec::new(), 0);
    loop {
        let page = end(place.as_deref(), 10).await;
        found.splice(0..0, page.rows);
        assert_eq!(follow(&store, &mut Some(page.place.clone()), None).await, found);
        (place, pages) = (Some(page.place), pages + 1);
        if !page.full {
            break;
        }
    }
    assert!(found == all && pages > 2, "{} of {} in {pages} pages", found.len(), all.len());
    let mut behind = Some(end(None, 0).await.place);
    assert!(follow(&store, &mut behind, None).await.is_empty());
    apply(&store, vec![group("a", 60)]).await;
    assert_eq!(follow(&store, &mut behind, None).await.len(), 1);
}

/// Every transition once, each instance's in order, whatever the pages' size; what comes later is found from the last place.
pub async fn the_journal_is_followed_without_a_gap(store: Shared) {
    for revision in 0..4 {
        apply(&store, (0..30).map(|n| group(&format!("i{n}"), revision)).collect()).await;
        apply(&store, vec![Group { dead: vec![letter(&revision.to_string())], ..Group::default() }]).await;
    }
    let mut place = None;
    let rows = follow(&store, &mut place, None).await;
    for n in 0..30 {
        let of: Vec<_> =
            rows.iter().filter(|row| row.instance == id(&format!("i{n}"))).map(|row| row.revision).collect();
        assert_eq!(of, [1, 2, 3, 4]);
    }
    assert_eq!(rows.len(), 120, "letters are not shown");
    assert!(follow(&store, &mut place, None).await.is_empty());
    apply(&store, vec![group("i0", 4)]).await;
    assert_eq!(follow(&store, &mut place, None).await.len(), 1);
    let newest_us = rows.iter().map(|row| row.at_us).max().expect("there are rows");
    assert!(follow(&store, &mut None, Some(newest_us + 1)).await.len() <= 1);
}

/// Disabling raises the catalogue's version once, and only when something changes.
pub async fn definitions_are_disabled_and_enabled_again(store: Shared) {
    let row = |name: &str| DefinitionRow {
        number: 0,
        namespace: "tests".to_owned(),
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        content: hash(name),
        source: "source".into(),
        bundle: "".into(),
        deployed_us: 0,
        enabled: true,
    };
    let deployed = store.deploy(&[row("a"), row("b")]).await.expect("the store deploys");
    let number = deployed[0].number;
    let state = || {
        let store = store.clone();
        async move {
            let (version, rows) = store.definitions(0).await.expect("the store lists definitions");
            let enabled: Vec<_> = rows.iter().map(|row| row.enabled).collect();
            (version, enabled, store.disabled().await.expect("the store lists them"))
        }
    };
    let (version, enabled, disabled) = state().await;
    assert_eq!((enabled, disabled), (vec![true, true], vec![]));
    for _ in 0..2 {
        store.enable(&[number], Enabled::No).await.expect("the store disables");
        assert_eq!(state().await, (version + 1, vec![false, true], vec![number]));
    }
    store.enable(&[number], Enabled::Yes).await.expect("the store enables");
    assert_eq!(state().await, (version + 2, vec![true, true], vec![]));
}

/// What metrics are made of.
pub async fn everything_is_counted(store: Shared) {
    let empty = store.census().await.expect("the store counts");
    assert_eq!(empty, Census { now_us: empty.now_us, ..Census::default() });
    store.beat(worker(1), LONG_US).await.expect("the store takes a sign of life");
    let busy = with(group("a", 0), |write| {
        write.effects.add = vec![effect(1), effect(2)];
        write.timers.add =
            vec![crate::rows::TimerRow { due_us: 1, slot: 3 }, crate::rows::TimerRow { due_us: i64::MAX, slot: 4 }];
    });
    apply(&store, vec![busy, with(group("b", 0), |write| write.status = 4), parking("e", "k")]).await;
    apply(&store, vec![Group { dead: vec![letter("l")], post: vec![mail("a", "x")], ..Group::default() }]).await;
    apply(&store, vec![aside("b", Some("x"))]).await;
    let census = store.census().await.expect("the store counts");
    let since_us = census.unpublished_since_us.expect("nothing is published");
    assert!(since_us <= census.now_us);
    let expected = Census {
        now_us: census.now_us,
        instances: vec![(1, 1), (4, 1)],
        aside: 1,
        parked: 1,
        letters: vec![("FS-TEST".to_owned(), 1)],
        mail: 1,
        effects: 2,
        timers_due: 1,
        unpublished_since_us: Some(since_us),
        quarantined: 0,
        workers: 1,
    };
    assert_eq!(census, expected);
    drain(&store, worker(1), 100).await;
    assert_eq!(store.census().await.expect("the store counts").unpublished_since_us, None);
}
