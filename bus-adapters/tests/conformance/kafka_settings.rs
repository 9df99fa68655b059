//! Topics that somebody else has made, with settings of their own.

use flagstop_bus::BusConfig;
use flagstop_bus::port::{BusError, Prepared};
use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};

use crate::kafka::{admin, place};
use crate::place::Place;

async fn make(place: &Place, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    let name = format!("{}{name}", place.config.prefix);
    let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
    let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
    let made = admin(&place.url).create_topics([&topic], &AdminOptions::new()).await.unwrap();
    made.into_iter().for_each(|made| drop(made.unwrap()));
    name
}

async fn prepared(place: &Place, config: &BusConfig) -> Result<Prepared, BusError> {
    let bus = flagstop_bus::open(&place.url, config).await.unwrap();
    let prepared = bus.prepare(true).await;
    assert_eq!(bus.prepare(false).await, prepared, "verifying finds the same");
    bus.close().await;
    prepared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_that_we_make_ourselves_need_no_warning() {
    let place = place("ours").await;
    let prepared = prepared(&place, &place.config).await.unwrap();
    assert_eq!(prepared.warnings, [""; 0]);
    let names: Vec<&str> =
        prepared.kept.iter().map(|kept| kept.name.trim_start_matches(&place.config.prefix)).collect();
    assert_eq!(names, ["flagstop.in", "flagstop.out"], "what workers consume");
    // A broker's seven days, and one for the segment.
    assert!(prepared.kept.iter().all(|kept| kept.longest_ms == Some(8 * 24 * 3_600_000)), "{prepared:?}");
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compacted_topic_and_one_that_takes_too_little_are_refused_by_name_with_the_way_out() {
    let place = place("wrong").await;
    let compacted = make(&place, "flagstop.in", 4, &[("cleanup.policy", "compact")]).await;
    let small = make(&place, "flagstop.status", 4, &[("max.message.bytes", "100000")]).await;
    let Err(BusError::Topology(why)) = prepared(&place, &place.config).await else { panic!("both lose messages") };
    for part in [
        format!("`{compacted}` is compacted"),
        format!("--entity-name {compacted} --add-config cleanup.policy=delete"),
        format!("`{small}` takes messages of at most 100000 bytes"),
        "max.message.bytes=1179648".to_owned(),
    ] {
        assert!(why.contains(&part), "{why} has {part}");
    }
    place.clean_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_with_kafkas_own_settings_is_taken_with_a_warning_for_each_risk() {
    let place = place("default").await;
    let plain = make(&place, "flagstop.in", 1, &[]).await;
    let forgetful = make(&place, "flagstop.status", 4, &[("retention.ms", "60000")]).await;
    let others = make(&place, "others", 3, &[("cleanup.policy", "compact"), ("retention.ms", "-1")]).await;
    let config = BusConfig { extra_inputs: vec![others.clone()], ..place.config.clone() };
    let prepared = prepared(&place, &config).await.unwrap();
    for (topic, part) in [
        (&plain, "has 1 partitions, and bus.partitions says 4"),
        (&plain, "at most 1048588 bytes"),
        (&forgetful, "keeps messages for 60000 ms only"),
        (&others, "is compacted"),
    ] {
        let warning = prepared.warnings.iter().find(|warning| warning.contains(part));
        assert!(warning.is_some_and(|warning| warning.contains(&format!("`{topic}`"))), "{part}: {prepared:#?}");
    }
    let kept = |name: &String| prepared.kept.iter().find(|kept| kept.name == *name).map(|kept| kept.longest_ms);
    assert_eq!(kept(&others), Some(None), "for ever");
    assert_eq!(kept(&plain), Some(Some(14 * 24 * 3_600_000)), "a segment goes as a whole");
    admin(&place.url).delete_topics(&[&others], &AdminOptions::new()).await.unwrap();
    place.clean_up().await;
}
