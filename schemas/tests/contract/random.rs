//! Random entries from a seed, with the texts that break careless writers.

use bytes::Bytes;
use flagstop_schemas::{CloudEvent, Data, Entry, Header, InstanceId, JsonText, StatusEvent, StatusKind};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::samples::raw;

const ALPHABET: [&str; 20] = [
    "a", "Z", "0", "-", ".", "/", "~1", " ", "\"", "\\", "\n", "\u{0}", "\u{1f}", "\u{7f}", "\u{85}", "é", "漢", "😀",
    "\u{2028}", "%",
];
const ATTRIBUTES: [&str; 6] = ["causationid", "causationsource", "outputbytes", "attempt", "iteration", "rerunof"];

pub struct Random(StdRng);

impl Random {
    /// From `FLAGSTOP_TEST_SEED`, or a new seed. Prints it.
    pub fn new() -> Self {
        let seed = std::env::var("FLAGSTOP_TEST_SEED").ok().map(|seed| seed.parse().expect("the seed is a number"));
        let seed: u64 = seed.unwrap_or_else(|| rand::rng().random());
        eprintln!("repeat with FLAGSTOP_TEST_SEED={seed}");
        Self(StdRng::seed_from_u64(seed))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    pub fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| self.0.random()).collect()
    }

    /// Never empty.
    pub fn text(&mut self) -> String {
        let length = 1 + self.below(40);
        (0..length).map(|_| ALPHABET[self.below(ALPHABET.len())]).collect()
    }

    pub fn header(&mut self) -> Header {
        Header {
            namespace: self.text(),
            name: self.text(),
            version: self.text(),
            instance: InstanceId(Uuid::from_u128(self.0.random())),
            business_key: self.maybe(Self::text),
        }
    }

    pub fn kind(&mut self) -> StatusKind {
        StatusKind::all()[self.below(StatusKind::all().len())]
    }

    pub fn pointer(&mut self) -> String {
        format!("/do/{}/{}", self.below(100), self.text().replace(['~', '/'], "_"))
    }

    pub fn json(&mut self) -> Value {
        match self.below(5) {
            0 => Value::Null,
            1 => json!(self.0.random::<i64>()),
            2 => json!(self.0.random::<f64>()),
            3 => json!([self.text(), {self.text(): self.text()}]),
            _ => self.text().into(),
        }
    }

    /// Of any kind, with payloads that need not belong to it.
    pub fn status(&mut self) -> StatusEvent {
        StatusEvent {
            kind: self.kind(),
            sequence: self.0.random(),
            at_us: self.0.random(),
            task: self.maybe(Self::pointer),
            output: self.payload(),
            error: self.payload(),
            correlation_keys: self.payload(),
            attributes: (0..self.below(4)).map(|_| (ATTRIBUTES[self.below(6)], self.attribute())).collect(),
        }
    }

    pub fn emitted(&mut self) -> CloudEvent {
        CloudEvent {
            id: self.text(),
            source: self.text(),
            ty: self.text(),
            subject: self.maybe(Self::text),
            time: self.maybe(Self::text),
            datacontenttype: self.maybe(Self::text),
            dataschema: self.maybe(Self::text),
            extensions: (0..self.below(4)).map(|i| (format!("ext{i}"), self.attribute())).collect(),
            data: match self.below(3) {
                0 => Data::Absent,
                1 => Data::Json(Bytes::from(format!(" {:#}\r\n", self.json()))),
                _ => Data::Binary(Bytes::from(self.bytes(300))),
            },
        }
    }

    pub fn entries(&mut self) -> Vec<Entry> {
        let emitted = |random: &mut Self| Entry::Emitted(Box::new(random.emitted()));
        (0..self.below(8)).map(|i| if i % 3 == 2 { emitted(self) } else { Entry::Status(self.status()) }).collect()
    }

    fn attribute(&mut self) -> Value {
        match self.below(3) {
            0 => self.0.random::<u32>().into(),
            1 => self.0.random::<bool>().into(),
            _ => self.text().into(),
        }
    }

    fn payload(&mut self) -> Option<JsonText> {
        self.maybe(Self::json).and_then(|json| raw(&format!("{json:#}")))
    }

    fn maybe<T>(&mut self, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.0.random::<bool>().then(|| value(self))
    }
}
