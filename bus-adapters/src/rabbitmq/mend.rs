//! Makes what the broker sends readable for the client library. AMQP's short strings are UTF-8 and its tables nest, but the
//! broker checks neither the one nor how deep: the library answers text that isn't UTF-8 by ending the connection, and a table
//! that nests ten thousand deep by overflowing its stack. One such message would come again for ever and stop every worker.
//! Here each byte that is no text becomes a `?`, and what nests too deep becomes bytes; lengths never change. All else passes as
//! it is. Pure.

/// How deep tables and arrays may nest before what is within them is taken for bytes.
const DEPTH_MAX: usize = 32;
/// A frame's type, channel and size.
const HEAD_BYTES: usize = 7;
/// The octet behind each frame.
const END_BYTES: usize = 1;
/// Largest frame that is looked into, in bytes: more than any broker is configured for. Larger ones pass as they are.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;

const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;
/// Class and method of a delivery.
const DELIVER: [u8; 4] = [0, 60, 0, 60];
/// Class, weight and size of the body stand before the flags of the properties.
const BEFORE_FLAGS: usize = 12;
/// The properties in their order: what each of the flags, from the highest bit on, says is there.
const PROPERTIES: [Property; 14] = {
    use Property::{Number, Short, Table};
    [Short, Short, Table, Number(1), Number(1), Short, Short, Short, Short, Number(8), Short, Short, Short, Short]
};

#[derive(Clone, Copy)]
enum Property {
    Short,
    Table,
    /// Of so many bytes.
    Number(usize),
}

/// A stream of frames, in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Mender {
    /// The beginning of a frame that must be whole before it is passed on.
    held: Vec<u8>,
    /// How much of the present frame passes as it is.
    passing: usize,
    /// This is no AMQP: everything passes.
    foreign: bool,
}

/// A place in bytes. Each step answers `None` where they end too early: then the library says what is wrong.
struct Walk<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

// === impl Mender ===

impl Mender {
    /// Takes what came and adds to `ready` what can be passed on.
    pub(super) fn pass(&mut self, mut came: &[u8], ready: &mut Vec<u8>) {
        while !came.is_empty() {
            if self.foreign {
                ready.extend_from_slice(came);
                return;
            }
            if self.passing > 0 {
                let (now, later) = came.split_at(self.passing.min(came.len()));
                ready.extend_from_slice(now);
                self.passing -= now.len();
                came = later;
                continue;
            }
            let wanted = self.wanted();
            let (now, later) = came.split_at((wanted - self.held.len()).min(came.len()));
            self.held.extend_from_slice(now);
            came = later;
            if self.held.len() == wanted {
                self.step(ready);
            }
        }
    }

    /// How many bytes must be there for the next step: a frame's head, or all of a frame that is looked into.
    fn wanted(&self) -> usize {
        if self.held.len() < HEAD_BYTES { HEAD_BYTES } else { self.frame_bytes() }
    }

    fn frame_bytes(&self) -> usize {
        let size = self.held[3..HEAD_BYTES].iter().fold(0_usize, |size, byte| size << 8 | usize::from(*byte));
        HEAD_BYTES + size + END_BYTES
    }

    fn step(&mut self, ready: &mut Vec<u8>) {
        let (kind, frame_bytes) = (self.held[0], self.frame_bytes());
        if self.held.len() == frame_bytes {
            let payload = HEAD_BYTES..frame_bytes - END_BYTES;
            // Where a frame is not as it should be, the library says so.
            let _told_by_the_library = match kind {
                METHOD => method(&mut self.held[payload]),
                _ => header(&mut self.held[payload]),
            };
            ready.append(&mut self.held);
        } else if !matches!(kind, METHOD | CONTENT_HEADER) || frame_bytes > FRAME_BYTES_MAX {
            self.foreign = !matches!(kind, METHOD | CONTENT_HEADER | BODY | HEARTBEAT);
            self.passing = frame_bytes - HEAD_BYTES;
            ready.append(&mut self.held);
        }
    }
}

/// A delivery's names: its exchange and routing key are its publisher's.
fn method(payload: &mut [u8]) -> Option<()> {
    let mut walk = Walk { bytes: payload, at: 0 };
    if walk.take(4)? != DELIVER {
        return Some(());
    }
    walk.short()?;
    // Delivery tag and redelivered.
    walk.take(8 + 1)?;
    walk.short()?;
    walk.short()
}

fn header(payload: &mut [u8]) -> Option<()> {
    let mut walk = Walk { bytes: payload, at: 0 };
    walk.take(BEFORE_FLAGS)?;
    let flags = walk.take(2)?;
    let flags = u16::from_be_bytes([flags[0], flags[1]]);
    for (index, property) in PROPERTIES.iter().enumerate() {
        if flags & (0x8000 >> index) == 0 {
            continue;
        }
        match property {
            Property::Short => walk.short()?,
            Property::Table => walk.fields(Names::Yes, 0)?,
            Property::Number(bytes) => drop(walk.take(*bytes)?),
        }
    }
    Some(())
}

// === impl Walk ===

/// Do the fields of a table or array have names?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    Yes,
    No,
}

impl Walk<'_> {
    fn take(&mut self, count: usize) -> Option<&mut [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get_mut(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn long(&mut self) -> Option<usize> {
        Some(self.take(4)?.iter().fold(0, |size, byte| size << 8 | usize::from(*byte)))
    }

    fn short(&mut self) -> Option<()> {
        let length = usize::from(self.take(1)?[0]);
        make_text(self.take(length)?);
        Some(())
    }

    fn fields(&mut self, names: Names, depth: usize) -> Option<()> {
        let length = self.long()?;
        let end = self.at.checked_add(length)?;
        while self.at < end {
            if names == Names::Yes {
                self.short()?;
            }
            self.value(depth)?;
        }
        Some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        let kind = &mut self.take(1)?[0];
        let bytes = match *kind {
            b'A' | b'F' if depth >= DEPTH_MAX => {
                // A byte array has the same form: a length, and as many bytes.
                *kind = b'x';
                self.long()?
            }
            b'A' => return self.fields(Names::No, depth + 1),
            b'F' => return self.fields(Names::Yes, depth + 1),
            b'S' | b'x' => self.long()?,
            b't' | b'b' | b'B' => 1,
            b's' | b'U' | b'u' => 2,
            b'I' | b'i' | b'f' => 4,
            b'D' => 5,
            b'L' | b'l' | b'd' | b'T' => 8,
            b'V' => 0,
            _ => return None,
        };
        self.take(bytes).map(|_| ())
    }
}

/// Each byte that is no part of UTF-8 becomes a `?`.
fn make_text(mut bytes: &mut [u8]) {
    while let Err(why) = std::str::from_utf8(bytes) {
        let from = why.valid_up_to();
        let count = why.error_len().unwrap_or(bytes.len() - from);
        bytes[from..from + count].fill(b'?');
        bytes = &mut bytes[from + count..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &size[..], payload, &[0xce]].concat()
    }

    fn long(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
    }

    /// A content header with these properties, under their flags.
    fn content(flags: u16, properties: &[u8]) -> Vec<u8> {
        frame(CONTENT_HEADER, &[&[0; BEFORE_FLAGS], &flags.to_be_bytes()[..], properties].concat())
    }

    fn passed(stream: &[u8], piece: usize) -> Vec<u8> {
        let (mut mender, mut ready) = (Mender::default(), Vec::new());
        stream.chunks(piece).for_each(|came| mender.pass(came, &mut ready));
        ready
    }

    #[test]
    fn what_is_no_text_becomes_question_marks_whatever_the_pieces() {
        let every_kind = [
            &b"\x01tt\x01\x01bb\xff\x01BB\xff\x01ss\xff\xff\x01uu\xff\xff\x01UU\xff\xff\x01II\xff\xff\xff\xff"[..],
            b"\x01ii\xff\xff\xff\xff\x01ff\xff\xff\xff\xff\x01dd\xff\xff\xff\xff\xff\xff\xff\xff\x01DD\x02\xff\xff\xff\xff",
            b"\x01ll\xff\xff\xff\xff\xff\xff\xff\xff\x01LL\xff\xff\xff\xff\xff\xff\xff\xff\x01TT\0\0\0\0\0\0\0\x01\x01VV",
            b"\x01SS\0\0\0\x02\xff\xfe\x01xx\0\0\0\x01\xff",
        ]
        .concat();
        let headers = |name: &[u8]| {
            let inner = [&every_kind[..], name, b"S\0\0\0\x01\xff"].concat();
            let array = long(&[b"F", &long(&inner)[..], b"S\0\0\0\x01\xff"].concat());
            long(&[&every_kind[..], b"\x01aA", &array, name, b"t\x01"].concat())
        };
        // Content type, headers, delivery mode, priority, then all to the cluster's id.
        let all = |name: &[u8], text: &[u8]| {
            content(
                0xfffc,
                &[text, text, &headers(name), &[2, 9], text, text, text, text, &[0xff; 8], text, text, text, text]
                    .concat(),
            )
        };
        let deliver = |text: &[u8]| frame(METHOD, &[&DELIVER, text, &[0xff; 9], text, text].concat());
        let other = frame(METHOD, b"\0\x0a\0\x0a\xff\xff\xff");
        let body = frame(BODY, &[0xff; 300]);
        let stream = |name: &[u8], text: &[u8]| {
            [&other[..], &deliver(text), &all(name, text), &body, &frame(HEARTBEAT, b""), &all(name, text)].concat()
        };
        let came = stream(b"\x05caf\xe9!", b"\x06\xff\xc3\xa9\xe2\x82x");
        let expected = stream(b"\x05caf?!", b"\x06?\xc3\xa9??x");
        for piece in [1, 2, 7, 8, 100, came.len()] {
            assert!(passed(&came, piece) == expected, "in pieces of {piece}");
            assert!(passed(&expected, piece) == expected, "what is right stays as it is");
        }
    }

    #[test]
    fn what_nests_too_deep_becomes_bytes() {
        let mut value = b"t\x01".to_vec();
        for _ in 0..10_000 {
            value = [b"A", &long(&value)[..]].concat();
        }
        let came = content(0x2000, &long(&[b"\x04deep", &value[..], b"\x02\xffyt\x01"].concat()));
        let mended = passed(&came, 4_096);
        let changed: Vec<(u8, u8)> =
            came.iter().zip(&mended).filter(|(came, mended)| came != mended).map(|(a, b)| (*a, *b)).collect();
        assert_eq!(changed, [(b'A', b'x'), (0xff, b'?')], "one level, and what follows is still seen");
    }

    #[test]
    fn what_ends_too_early_or_is_no_amqp_passes_as_it_is() {
        let early = content(0xfffc, b"\xff");
        let lying = content(0x2000, &[0xff; 30]);
        let unknown = content(0x2000, &long(b"\x01a?\xff"));
        for stream in [&early[..], &lying, &unknown, b"AMQP\0\0\x09\x01 and what not \xff\xff"] {
            assert_eq!(passed(stream, 5), stream);
        }
    }
}
