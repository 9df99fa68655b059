//! One record as bytes on Kafka's own protocol: what no well-behaved client lets anybody send.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Produce, in the oldest version that Kafka 4 still knows.
const PRODUCE: (i16, i16) = (0, 3);

/// A record without a promise that anything of it is text.
#[derive(Default)]
pub struct Record {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Puts records into the topic's first partition, of a cluster with one broker, and sees that they were taken.
pub async fn produce(broker: &str, topic: &str, records: &[Record]) {
    let batch = batch(records);
    let mut body = Vec::new();
    body.extend_from_slice(&PRODUCE.0.to_be_bytes());
    body.extend_from_slice(&PRODUCE.1.to_be_bytes());
    body.extend_from_slice(&7_i32.to_be_bytes());
    text(&mut body, "test");
    // No transaction; acknowledged by all; within 10 s; one topic, one partition.
    body.extend_from_slice(&(-1_i16).to_be_bytes());
    body.extend_from_slice(&(-1_i16).to_be_bytes());
    body.extend_from_slice(&10_000_i32.to_be_bytes());
    body.extend_from_slice(&1_i32.to_be_bytes());
    text(&mut body, topic);
    body.extend_from_slice(&1_i32.to_be_bytes());
    body.extend_from_slice(&0_i32.to_be_bytes());
    sized(&mut body, &batch);
    let mut request = Vec::new();
    sized(&mut request, &body);

    let mut connection = TcpStream::connect(broker).await.expect("the broker");
    connection.write_all(&request).await.expect("sent");
    let length = connection.read_i32().await.expect("an answer");
    let mut answer = vec![0; usize::try_from(length).expect("a length")];
    connection.read_exact(&mut answer).await.expect("the whole answer");
    // Correlation, one topic with its name, one partition with its number, and then what we are here for.
    let at = 4 + 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[at..at + 2], [0, 0], "the broker's error code: {answer:?}");
}

fn batch(records: &[Record]) -> Vec<u8> {
    let count = i32::try_from(records.len()).expect("few");
    let mut checked = Vec::new();
    // No compression, no transaction, timestamps from the producer.
    checked.extend_from_slice(&0_i16.to_be_bytes());
    checked.extend_from_slice(&(count - 1).to_be_bytes());
    let now_ms = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    let now_ms = i64::try_from(now_ms).expect("this millennium");
    checked.extend_from_slice(&now_ms.to_be_bytes());
    checked.extend_from_slice(&now_ms.to_be_bytes());
    // No producer id, epoch or sequence.
    checked.extend_from_slice(&[0xff; 8 + 2 + 4]);
    checked.extend_from_slice(&count.to_be_bytes());
    for (number, record) in records.iter().enumerate() {
        let mut one = vec![0];
        varint(&mut one, 0);
        varint(&mut one, i64::try_from(number).expect("few"));
        nullable(&mut one, record.key.as_deref());
        nullable(&mut one, record.value.as_deref());
        varint(&mut one, i64::try_from(record.headers.len()).expect("few"));
        for (name, value) in &record.headers {
            nullable(&mut one, Some(name));
            nullable(&mut one, value.as_deref());
        }
        nullable(&mut checked, Some(&one));
    }
    let mut batch = Vec::new();
    batch.extend_from_slice(&0_i64.to_be_bytes());
    batch.extend_from_slice(&i32::try_from(4 + 1 + 4 + checked.len()).expect("small").to_be_bytes());
    batch.extend_from_slice(&(-1_i32).to_be_bytes());
    batch.push(2);
    batch.extend_from_slice(&crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend_from_slice(&i16::try_from(text.len()).expect("short").to_be_bytes());
    into.extend_from_slice(text.as_bytes());
}

fn sized(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&i32::try_from(bytes.len()).expect("small").to_be_bytes());
    into.extend_from_slice(bytes);
}

fn nullable(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    varint(into, bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).expect("small")));
    into.extend_from_slice(bytes.unwrap_or_default());
}

/// Zigzag, seven bits at a time.
fn varint(into: &mut Vec<u8>, number: i64) {
    let mut left = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while left >= 0x80 {
        into.push(u8::try_from(left & 0x7f).expect("seven bits") | 0x80);
        left >>= 7;
    }
    into.push(u8::try_from(left).expect("seven bits"));
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0x82f6_3b78 } else { sum >> 1 })
    })
}
