//! The stored form of the journal.

use bytes::Bytes;
use flagstop_schemas::journal::{JournalError, decode, encode};
use flagstop_schemas::{Data, Entry, Header, StatusKind, render};

use crate::random::Random;
use crate::samples::{emitted, full, header, least, raw};

/// Entries have no equality, because raw JSON has none; their debug form shows every byte.
fn shown(entries: &[Entry]) -> String {
    format!("{entries:?}")
}

fn round_trip(header: &Header, entries: &[Entry]) {
    let (header_again, entries_again) = decode(&encode(header, entries)).unwrap();
    assert_eq!(&header_again, header);
    assert_eq!(shown(&entries_again), shown(entries));
}

#[test]
fn random_entries_come_back_byte_for_byte() {
    let mut random = Random::new();
    for _ in 0..2_000 {
        round_trip(&random.header(), &random.entries());
    }
}

#[test]
fn a_status_event_is_the_same_event_each_time_it_is_published() {
    for (sequence, kind) in (1..).zip(StatusKind::every()) {
        let event = full(kind, sequence);
        let row = encode(&header(), &[Entry::Status(event.clone())]);
        let (header_again, entries) = decode(&row).unwrap();
        let [Entry::Status(event_again)] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(render(&header_again, event_again), render(&header(), &event));
    }
}

#[test]
fn emitted_data_keeps_its_bytes_be_it_json_with_blanks_binary_or_absent() {
    let binary: Bytes = (0..=255).collect::<Vec<u8>>().into();
    for data in
        [Data::Absent, Data::Json("\n {\"a\" : 1.0}\t".into()), Data::Binary(binary), Data::Binary(Bytes::new())]
    {
        let event = emitted(data);
        let (_, entries) = decode(&encode(&header(), &[Entry::Emitted(Box::new(event.clone()))])).unwrap();
        let [Entry::Emitted(event_again)] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(**event_again, event);
    }
}

#[test]
fn the_least_and_the_largest_round_trip() {
    round_trip(&header(), &[]);
    let mut event = least(StatusKind::WorkflowCompleted, u64::MAX);
    event.at_us = i64::MIN;
    event.output = raw(&format!("[{}\"{}\"]", "1e999, ".repeat(1_000), "é".repeat(500_000)));
    round_trip(&header(), &[Entry::Status(event)]);
}

#[test]
fn a_row_is_compact() {
    let kinds = [StatusKind::TaskCreated, StatusKind::TaskStarted, StatusKind::TaskCompleted];
    let entries: Vec<Entry> = (1..).zip(kinds).map(|(sequence, kind)| Entry::Status(least(kind, sequence))).collect();
    let row = encode(&header(), &entries);
    assert!(row.len() < 160, "three task events take {} bytes", row.len());
}

#[test]
fn rows_of_the_first_format_stay_readable() {
    let row: &[u8] = b"\x01\x02hr\x0aonboarding\x051.0.0\
        \x8f\x14\xe4\x5f\xce\xea\x46\x7f\xa1\xd2\x3c\x5b\x7e\x9f\x0a\x11\x01\x03e-1\x02\
        \x01\x08\x81\x01\x00\x06\x60\xc6\xe2\x80\x71\x40\x00\x01\x0f{\"hired\": true}\x00\x00\
        \x01\x0boutputbytes\x01\x0215\
        \x02\x03b-1\x03/hr\x19com.example.badge.ordered\x00\x01\x142026-11-21T10:33:00Z\x00\x00\
        \x02\x08priority\x01\x013\x06urgent\x01\x04true\x02\x02\xff\x00";
    let mut completed = full(StatusKind::WorkflowCompleted, 129);
    completed.attributes = vec![("outputbytes", 15.into())];
    let entries =
        [Entry::Status(completed), Entry::Emitted(Box::new(emitted(Data::Binary(Bytes::from_static(b"\xff\x00")))))];
    assert_eq!(encode(&header(), &entries).escape_ascii().to_string(), row.escape_ascii().to_string());
    assert_eq!(shown(&decode(row).unwrap().1), shown(&entries));
}

#[test]
fn a_newer_builds_attributes_are_read_and_its_formats_refused() {
    let known = encode(&header(), &[Entry::Status(full(StatusKind::WorkflowStarted, 1))]);
    let at = known.windows(11).position(|window| window == b"causationid").unwrap();
    let mut row = known.to_vec();
    row[at..at + 11].copy_from_slice(b"somethingxx");
    let (_, entries) = decode(&row).unwrap();
    let [Entry::Status(event)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(event.attributes[0], ("somethingxx", "m-1".into()));

    row[0] = 3;
    let refused = decode(&row).unwrap_err();
    assert_eq!(refused, JournalError::Format(3));
    assert!(refused.to_string().starts_with("FS-JOURNAL-FORMAT: "), "{refused}");
}

#[test]
fn a_damaged_row_is_an_error_never_a_panic() {
    let mut random = Random::new();
    for _ in 0..300 {
        let row = encode(&random.header(), &random.entries());
        for cut in 0..row.len() {
            assert!(decode(&row[..cut]).is_err(), "a row cut at {cut} was read");
        }
        let mut longer = row.to_vec();
        longer.push(0);
        assert!(matches!(decode(&longer), Err(JournalError::Damaged { .. })));
        // A flipped bit may give another well-formed row; it must only never do harm.
        let mut flipped = row.to_vec();
        let at = random.below(flipped.len());
        flipped[at] ^= 1 << random.below(8);
        let _ = decode(&flipped);
        let _ = decode(&random.bytes(200));
    }
}
