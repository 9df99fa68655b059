//! Where a topic's partitions end now; an answer also proves that each of them is led. Blocking, as librdkafka is.
//! Must never make a topic.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use super::context::Plain;

/// How long between questions about a topic that is not ready yet, in milliseconds.
pub(super) const AGAIN_MS: u64 = 50;

/// What brokers answer while they learn, one after the other, of a new topic or a new leader.
pub(super) const PASSING: [RDKafkaErrorCode; 9] = [
    RDKafkaErrorCode::NotLeaderForPartition,
    RDKafkaErrorCode::LeaderNotAvailable,
    RDKafkaErrorCode::UnknownTopicOrPartition,
    RDKafkaErrorCode::ReplicaNotAvailable,
    RDKafkaErrorCode::OffsetNotAvailable,
    RDKafkaErrorCode::FencedLeaderEpoch,
    RDKafkaErrorCode::UnknownLeaderEpoch,
    // The client's own words for the same.
    RDKafkaErrorCode::UnknownTopic,
    RDKafkaErrorCode::UnknownPartition,
];

/// The end of each partition. Asks again until `deadline` while the brokers only need a moment.
pub(super) fn ends(consumer: &BaseConsumer<Plain>, topic: &str, deadline: Instant) -> KafkaResult<Vec<(i32, i64)>> {
    let again = Duration::from_millis(AGAIN_MS);
    let mut passed = None;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let why = match look(consumer, topic, left.max(again)) {
            Ok(ends) => return Ok(ends),
            Err(why) => why,
        };
        // A last question that was cut off says less than the answer before it.
        if left <= again {
            return Err(passed.unwrap_or(why));
        }
        if !is_passing(&why) {
            return Err(why);
        }
        passed = Some(why);
        std::thread::sleep(again);
    }
}

fn look(consumer: &BaseConsumer<Plain>, topic: &str, within: Duration) -> KafkaResult<Vec<(i32, i64)>> {
    // Asked anew each time: it is how the client learns of other leaders.
    let metadata = consumer.fetch_metadata(Some(topic), within)?;
    let mut question = TopicPartitionList::new();
    for known in metadata.topics().iter().filter(|known| known.name() == topic) {
        if let Some(why) = known.error() {
            return Err(KafkaError::MetadataFetch(why.into()));
        }
        for partition in known.partitions() {
            // The client would wait for a leader until the time is up, and then not say why.
            if partition.leader() < 0 {
                return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::LeaderNotAvailable));
            }
            question.add_partition_offset(topic, partition.id(), Offset::End)?;
        }
    }
    if question.count() == 0 {
        return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
    }
    let answer = consumer.offsets_for_times(question, within)?;
    let mut ends = Vec::with_capacity(answer.count());
    for partition in answer.elements() {
        partition.error()?;
        let Offset::Offset(end) = partition.offset() else {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::OffsetNotAvailable));
        };
        ends.push((partition.partition(), end));
    }
    Ok(ends)
}

fn is_passing(why: &KafkaError) -> bool {
    why.rdkafka_error_code().is_some_and(|code| PASSING.contains(&code))
}
