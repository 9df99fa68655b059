//! The embedded bus, in memory and in a file.

use flagstop_bus::BusConfig;
use flagstop_bus::port::Commands;

use crate::place::{After, Place, bodies, publish, receive, receive_until, texts, tokens};

mod memory {
    crate::conformance!(crate::embedded::in_memory);
}

mod file {
    crate::conformance!(crate::embedded::in_file);
}

async fn in_memory(case: &str) -> Place {
    Place::new("embedded:".into(), case, After::Gone)
}

async fn in_file(case: &str) -> Place {
    let folder = std::env::temp_dir().join(format!("flagstop-bus-{}", uuid::Uuid::new_v4()));
    let url = format!("embedded:{}", folder.join("bus.db").display());
    let remove = move |_| {
        let folder = folder.clone();
        Box::pin(async move { tokio::fs::remove_dir_all(folder).await.expect("the folder was ours") }) as _
    };
    Place::new(url, case, After::Kept(Box::new(remove)))
}

#[tokio::test]
async fn input_survives_a_process_that_never_said_goodbye() {
    let place = in_file("killed").await;
    let bus = place.bus().await;
    publish(&bus, &texts(0, 4)).await;
    let mut consumer = bus.consume().await.unwrap();
    let deliveries = receive(&mut consumer, 4).await;
    consumer.acker().ack(&tokens(&deliveries[..1])).await;
    publish(&bus, &["after the ack".into()]).await;
    // As a kill does: nothing is closed, everything is gone.
    let path = place.url.trim_start_matches("embedded:").to_owned();
    for ending in ["", "-wal"] {
        std::fs::copy(format!("{path}{ending}"), format!("{path}-copy{ending}")).unwrap();
    }
    let again = Place { url: format!("{}-copy", place.url), config: place.config.clone(), after: After::Gone };
    let survivor = again.bus().await;
    let mut consumer = survivor.consume().await.unwrap();
    let seen = receive(&mut consumer, 4).await;
    assert_eq!(bodies(&seen), ["m1", "m2", "m3", "after the ack"]);
    assert!(seen.iter().all(|delivery| delivery.redelivered), "it can't know");
    survivor.close().await;
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test]
async fn a_file_in_use_says_so() {
    let place = in_file("twice").await;
    let bus = place.bus().await;
    let why = flagstop_bus::open(&place.url, &place.config).await.expect_err("the file is taken").to_string();
    assert!(why.starts_with("FS-BUS-UNREACHABLE") && why.contains("only one process"), "{why}");
    bus.close().await;
    place.clean_up().await;
}

#[tokio::test]
async fn a_full_backlog_refuses_for_now_and_takes_again_when_there_is_room() {
    let mut place = in_memory("full").await;
    place.config.backlog_messages_max = 5;
    let bus = place.bus().await;
    publish(&bus, &texts(0, 4)).await;
    let letters: Vec<_> =
        texts(4, 7).iter().map(|text| crate::place::letter(flagstop_bus::port::Channel::In, "k", text)).collect();
    let results = bus.publish(&letters).await;
    assert_eq!(results[0], Ok(()));
    for result in &results[1..] {
        let why = result.as_ref().expect_err("no room").to_string();
        assert!(why.contains("FS-BUS-UNAVAILABLE") && why.contains("bus.backlog_messages_max"), "{why}");
    }
    let mut consumer = bus.consume().await.unwrap();
    assert_eq!(receive_until(&mut consumer, "m4").await, texts(0, 5));
    publish(&bus, &texts(5, 10)).await;
}

#[tokio::test]
async fn it_has_one_queue_and_says_whether_commands_may_come_through_it() {
    for commands in [Commands::Accept, Commands::Refuse] {
        let config = BusConfig { commands, ..BusConfig::default() };
        let bus = flagstop_bus::open("embedded:", &config).await.unwrap();
        assert!(bus.consume_commands().await.unwrap().is_none());
        publish(&bus, &texts(0, 1)).await;
        let mut consumer = bus.consume().await.unwrap();
        assert_eq!(receive(&mut consumer, 1).await[0].commands, commands);
        bus.close().await;
    }
}
