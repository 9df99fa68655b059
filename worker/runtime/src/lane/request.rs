//! What a batch asks the store for: computed from its items alone.

use flagstop_schemas::InstanceId;
use flagstop_store::port::LoadRequest;

use crate::catalogue::{Catalogue, Route};
use crate::commands::{Addressee, Command};
use crate::intake::{Item, Says};

pub(super) fn route(catalogue: &Catalogue, item: &Item) -> Route {
    match item {
        Item::Message(message) => match &message.says {
            Says::Event { event, .. } => catalogue.route(event),
            _ => Route::default(),
        },
        Item::Poke(..) => Route::default(),
    }
}

pub(super) fn request(items: &[Item], routes: &[Route]) -> LoadRequest {
    let mut request = LoadRequest::default();
    for (item, route) in items.iter().zip(routes) {
        request.keys.extend(&route.keys);
        request.schedules.extend(route.feeds.iter().map(|feed| feed.row));
        match item {
            Item::Poke(instance, _) => request.instances.push(*instance),
            Item::Message(message) => {
                request.messages.extend(message.says.key());
                match &message.says {
                    Says::Event { event, .. } => {
                        let envelope = event.envelope();
                        request.instances.extend(route.starts.iter().map(|deployed| {
                            let it = deployed.plan.reference();
                            InstanceId::of_trigger(&envelope.source, &envelope.id, &it.namespace, &it.name)
                        }));
                    }
                    Says::Command { command: Command::Start(start), .. } => {
                        let (id, source) = &start.cause;
                        request.instances.push(InstanceId::of_trigger(source, id, &start.namespace, &start.name));
                    }
                    Says::Command { command: Command::Order(order), .. } => match &order.to {
                        Addressee::Instance(instance) => request.instances.push(*instance),
                        Addressee::Business(business) => request.keys.push(business.hash()),
                    },
                    Says::Junk(_) | Says::Status => {}
                }
            }
        }
    }
    sort_unique(&mut request.messages);
    sort_unique(&mut request.keys);
    sort_unique(&mut request.schedules);
    sort_unique(&mut request.instances);
    request
}

pub(super) fn sort_unique<T: Ord>(list: &mut Vec<T>) {
    list.sort_unstable();
    list.dedup();
}
