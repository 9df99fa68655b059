//! What an operator tells an instance through the store alone, without a bus: a letter in its mailbox, which some worker
//! drains within its next sign of life (PROTOCOL D1).

use flagstop_schemas::InstanceId;
use flagstop_store::port::{Aside, Batch, Group, Store, StoreError, Verdict};
use flagstop_store::rows::{DefinitionNumber, NewMail};

use crate::codec::Mail;

/// An order to one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// To end.
    Cancel,
    /// To begin nothing until it is told to continue.
    Suspend,
    /// To go on.
    Continue,
    /// To go on where it faulted.
    Retry,
}

/// Tells a worker to run an ended instance again; returns the id of the new one.
///
/// # Errors
/// When the store does not take it.
pub async fn rerun(
    store: &dyn Store,
    ended: InstanceId,
    definition: DefinitionNumber,
) -> Result<InstanceId, StoreError> {
    let (source, id) = ("/flagstop/operator".to_owned(), uuid::Uuid::new_v4().to_string());
    let again = InstanceId::of_rerun(&source, &id);
    write(store, ended, definition, &Mail::Rerun { source, id }).await?;
    Ok(again)
}

/// Writes the order into the instance's mailbox. What is set aside is released by whoever tells it to continue, and at once:
/// its mailbox may hold more than a worker reads.
///
/// # Errors
/// When the store does not take it.
pub async fn tell(
    store: &dyn Store,
    instance: InstanceId,
    definition: DefinitionNumber,
    order: Order,
) -> Result<(), StoreError> {
    let mail = match order {
        Order::Cancel => Mail::Cancel,
        Order::Suspend => Mail::Suspend,
        Order::Continue => Mail::Continue,
        Order::Retry => Mail::Retry,
    };
    if order == Order::Continue && store.instance(instance).await?.is_some_and(|it| it.aside.is_some()) {
        // The letter goes with it: it may have been suspended, too.
        let released = Group { aside: Some(Aside { instance, reason: None }), ..letter(instance, definition, &mail) };
        let batch = Batch { worker: None, groups: vec![released] };
        // Or somebody released it meanwhile.
        if store.commit(&batch).await? == [Verdict::Applied] {
            return Ok(());
        }
    }
    write(store, instance, definition, &mail).await
}

fn letter(instance: InstanceId, definition: DefinitionNumber, mail: &Mail) -> Group {
    Group { post: vec![NewMail { instance, definition, stimulus: mail.encode() }], ..Group::default() }
}

async fn write(
    store: &dyn Store,
    instance: InstanceId,
    definition: DefinitionNumber,
    mail: &Mail,
) -> Result<(), StoreError> {
    let batch = Batch { worker: None, groups: vec![letter(instance, definition, mail)] };
    match store.commit(&batch).await?.as_slice() {
        [Verdict::Applied] => Ok(()),
        verdicts => Err(StoreError::Failed(format!("the order was not written: {verdicts:?}"))),
    }
}
