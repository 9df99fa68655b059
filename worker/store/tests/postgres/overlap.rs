//! A batch's transaction is held up at a named point by another session's open transaction, which then commits: what the
//! batch found before is no longer true (PROTOCOL D1, D2, D3, D7, D11).

use std::sync::Arc;

use flagstop_store::conformance::fixtures::*;
use flagstop_store::port::{Batch, Group, StoreError, Verdict};
use flagstop_store::postgres::PostgresStore;
use flagstop_store::{Store, StoreConfig};
use tokio::task::JoinHandle;

use crate::server::{Schema, Session, url};

/// Commits in the background.
fn commit_behind(store: &Arc<dyn Store>, groups: Vec<Group>) -> JoinHandle<Result<Vec<Verdict>, StoreError>> {
    let (store, batch) = (store.clone(), Batch { worker: Some(worker(1)), groups });
    tokio::spawn(async move { store.commit(&batch).await })
}

/// Lets `intruder` do something in an open transaction, commits the groups, waits until they are held up, ends the
/// intruder's transaction, and gives the verdicts.
async fn held_up(
    store: &Arc<dyn Store>,
    other: &mut Session,
    intruder: &str,
    groups: Vec<Group>,
    end: &str,
) -> Vec<Verdict> {
    other.run("begin").await;
    other.run(intruder).await;
    let batch = commit_behind(store, groups);
    other.until_it_blocks().await;
    other.run(end).await;
    batch.await.unwrap().unwrap()
}

fn three(messages: [&str; 3]) -> Vec<Group> {
    ["a", "b", "c"].iter().zip(messages).map(|(name, message)| hearing(name, 1, &[message])).collect()
}

/// Three instances with one revision, whatever the order of their ids.
async fn prepared(case: &str) -> (Arc<dyn Store>, Session) {
    let schema = Schema::new(case).await;
    let store = schema.migrated().await;
    apply(&store, ["a", "b", "c"].iter().map(|name| group(name, 0)).collect()).await;
    (store, schema.session().await)
}

/// While the batch waits for a row, that row's revision moves: only its group leaves, with its inbox row, and is decided
/// again.
#[tokio::test]
async fn d2_a_revision_that_moves_while_the_batch_waits_takes_only_its_group_out() {
    let (store, mut other) = prepared("d2 moved").await;
    let moved = format!("update instances set revision = revision + 1 where id = '{}'", id("b"));
    let verdicts = held_up(&store, &mut other, &moved, three(["m1", "m2", "m3"]), "commit").await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Conflict, Verdict::Applied]);
    assert!(seen(&store, "m1").await && !seen(&store, "m2").await && seen(&store, "m3").await);
    assert_eq!(commit_one(&store, hearing("b", 2, &["m2"])).await, Verdict::Applied);
}

/// The one who was waited for gives up: nothing has changed, and all goes.
#[tokio::test]
async fn d2_a_transaction_that_gives_up_changes_no_verdict() {
    let (store, mut other) = prepared("d2 given up").await;
    let moved = format!("update instances set revision = revision + 1 where id = '{}'", id("b"));
    let verdicts = held_up(&store, &mut other, &moved, three(["m1", "m2", "m3"]), "rollback").await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Applied, Verdict::Applied]);
}

/// A message that another session is just recording: the batch is repeated, and only that message's group leaves.
#[tokio::test]
async fn d2_a_duplicate_that_is_being_inserted_takes_only_its_group_out() {
    let (store, mut other) = prepared("d2 concurrent duplicate").await;
    let recorded = format!("insert into inbox values ('{}', day_of(now_us()))", hash("m2").0);
    let groups = vec![hearing("a", 1, &["m1"]), hearing("b", 1, &["fresh", "m2"]), hearing("c", 1, &["m3"])];
    let verdicts = held_up(&store, &mut other, &recorded, groups, "commit").await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Duplicate(vec![hash("m2")]), Verdict::Applied]);
    assert!(!seen(&store, "fresh").await, "a lost message");
    for (name, expected) in [("a", 2), ("b", 1), ("c", 2)] {
        assert_eq!((revision(&store, name).await, history(&store, name).await.len()), (expected, expected as usize));
    }
}

/// D12: the same instance is just being started elsewhere.
#[tokio::test]
async fn d12_a_start_that_is_being_made_elsewhere_takes_only_its_group_out() {
    let (store, mut other) = prepared("d12 concurrent start").await;
    let started = format!(
        "insert into instances (id, created_us, updated_us, definition, revision, status, state)
         values ('{}', 0, 0, 1, 1, 1, '')",
        id("new")
    );
    let groups = vec![hearing("a", 1, &["m1"]), hearing("new", 0, &["m2"]), hearing("c", 1, &["m3"])];
    let verdicts = held_up(&store, &mut other, &started, groups, "commit").await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Conflict, Verdict::Applied]);
    assert!(!seen(&store, "m2").await);
}

/// D3: the parked event that a group claims is just being claimed by somebody else.
#[tokio::test]
async fn d3_a_claim_that_is_being_taken_takes_only_its_group_out() {
    let (store, mut other) = prepared("d3 concurrent claim").await;
    apply(&store, vec![Group { park: vec![parked("e1", "k"), parked("e2", "k")], ..Group::default() }]).await;
    let claimed = format!("delete from parked where id = '{}'", hash("parked e2").0);
    let both = Group { claims: vec![hash("parked e1"), hash("parked e2")], ..hearing("b", 1, &["m2"]) };
    let groups = vec![hearing("a", 1, &["m1"]), both];
    let verdicts = held_up(&store, &mut other, &claimed, groups, "commit").await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Gone]);
    assert!(!seen(&store, "m2").await);
    let left = store.parked_of_type("com.example.early", 0).await.unwrap();
    assert_eq!(left.iter().map(|event| event.id).collect::<Vec<_>>(), [hash("parked e1")], "its other claim was lost");
}

/// D1: the mail that a group drains is just being drained by somebody else.
#[tokio::test]
async fn d1_mail_that_is_being_drained_takes_only_its_group_out() {
    let (store, mut other) = prepared("d1 concurrent drain").await;
    apply(&store, vec![Group { post: vec![mail("b", "1"), mail("b", "2")], ..Group::default() }]).await;
    let letters: Vec<i64> = load(&store, &["b"]).await.mail.iter().map(|mail| mail.id).collect();
    let drained = format!("delete from mail where id = {}", letters[1]);
    let groups = vec![hearing("a", 1, &["m1"]), Group { mail: letters, ..hearing("b", 1, &["m2"]) }];
    let verdicts = held_up(&store, &mut other, &drained, groups, "commit").await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Gone]);
    let left = load(&store, &["b"]).await.mail;
    assert_eq!(left.iter().map(|mail| mail.stimulus.clone()).collect::<Vec<_>>(), ["1"], "a letter was lost");
}

/// D7: the effect whose result a group brings is just being adopted.
#[tokio::test]
async fn d7_an_effect_that_is_being_adopted_fences_only_its_group() {
    let (store, mut other) = prepared("d7 concurrent adoption").await;
    let calls = with(group("b", 1), |write| write.effects.add = vec![effect(1)]);
    commit_as(&store, Some(worker(1)), vec![calls]).await;
    let adopted = "update effects set epoch = epoch + 1";
    let result = Group { fences: vec![lease("b", 1, 1)], ..hearing("b", 2, &["m2"]) };
    let verdicts = held_up(&store, &mut other, adopted, vec![hearing("a", 1, &["m1"]), result], "commit").await;
    assert_eq!(verdicts, [Verdict::Applied, Verdict::Fenced(vec![lease("b", 1, 1)])]);
    assert!(!seen(&store, "m2").await);
}

/// D11: the connection breaks in the middle of the commit; the same batch, done again, is written once.
#[tokio::test]
async fn d11_a_commit_that_broke_off_is_done_again() {
    let (store, mut other) = prepared("d11 broken commit").await;
    other.run("begin").await;
    other.run(&format!("select from instances where id = '{}' for update", id("b"))).await;
    let batch = commit_behind(&store, three(["m1", "m2", "m3"]));
    let waiting = other.until_it_blocks().await;
    other.run(&format!("select pg_terminate_backend({waiting})")).await;
    let error = batch.await.unwrap().unwrap_err();
    assert!(matches!(error, StoreError::Unreachable(_)), "{error}");
    other.run("rollback").await;
    for round in 0..2 {
        let verdicts = commit(&store, three(["m1", "m2", "m3"])).await;
        let expected = |message| if round == 0 { Verdict::Applied } else { Verdict::Duplicate(vec![hash(message)]) };
        assert_eq!(verdicts, ["m1", "m2", "m3"].map(expected));
    }
    assert_eq!(history(&store, "b").await.len(), 2);
}

/// D11: the answer is lost, not the commit: the call's future is dropped while the statement goes on.
#[tokio::test]
async fn d11_a_commit_whose_answer_was_lost_is_not_written_twice() {
    let (store, mut other) = prepared("d11 lost answer").await;
    other.run("begin").await;
    other.run(&format!("select from instances where id = '{}' for update", id("b"))).await;
    let batch = commit_behind(&store, three(["m1", "m2", "m3"]));
    other.until_it_blocks().await;
    batch.abort();
    assert!(batch.await.unwrap_err().is_cancelled());
    // The zombie is still waiting for the row; the second try waits with it.
    let again = commit_behind(&store, three(["m1", "m2", "m3"]));
    tokio::task::yield_now().await;
    other.run("rollback").await;
    let verdicts = again.await.unwrap().unwrap();
    for (place, name) in ["a", "b", "c"].iter().enumerate() {
        assert!(
            matches!(verdicts[place], Verdict::Applied | Verdict::Duplicate(_) | Verdict::Conflict),
            "{:?}",
            verdicts[place]
        );
        // Whoever of the two was first: it is there, or can be done now, and then it is there once.
        commit_one(&store, hearing(name, 1, &[["m1", "m2", "m3"][place]])).await;
        assert_eq!((revision(&store, name).await, history(&store, name).await.len()), (2, 2), "{name}");
    }
}

/// A migration that builds an index on early events holds up whoever commits, early event or not. That passes: no group is
/// blamed for it.
#[tokio::test]
async fn commits_wait_while_an_index_is_built_on_early_events_and_go_through_afterwards() {
    const BUILDS: &str = "create index on parked (expires_us, id)";
    let schema = Schema::new("index is built").await;
    let store = schema.migrated().await;
    let mut other = schema.session().await;
    let verdicts = held_up(&store, &mut other, BUILDS, vec![group("a", 0)], "commit").await;
    assert_eq!(verdicts, [Verdict::Applied]);

    let config = StoreConfig { lock_timeout_ms: 50, ..schema.config() };
    let hasty: Arc<dyn Store> = Arc::new(PostgresStore::open(&url(), &config).unwrap());
    other.run("begin").await;
    other.run(BUILDS).await;
    let refused = commit_behind(&hasty, vec![hearing("a", 1, &["m"])]).await.unwrap().unwrap_err();
    assert!(matches!(&refused, StoreError::Unreachable(why) if why.contains("a lock")), "{refused}");
    other.run("commit").await;
    assert_eq!(commit_one(&hasty, hearing("a", 1, &["m"])).await, Verdict::Applied);
}

/// Who has many early events builds the index before, by the guide's own statement.
#[tokio::test]
async fn an_index_that_an_operator_has_built_before_is_taken_over_by_the_migration() {
    let schema = Schema::new("index before").await;
    let store = schema.migrated().await;
    let mut owner = schema.session().await;
    owner.run("drop index parked_newest; delete from flagstop_migrations where version = 4").await;
    let guide = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md")).unwrap();
    let statement = guide.lines().find(|line| line.starts_with("create index concurrently")).expect("the guide has it");
    owner.run(&statement.replace("flagstop.", "")).await;
    assert_eq!(store.migrate().await.unwrap().len(), 1, "the step is done");
}
