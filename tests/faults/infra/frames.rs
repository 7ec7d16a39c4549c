//! AMQP 0-9-1 as it looks on the wire (sections 2.3 and 4.2 of the specification): bytes come in, where which kind of frame
//! begins and ends goes out.

use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    ToServer,
    ToClient,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `AMQP` and the version, before the first frame.
    Greeting,
    Method {
        class: u16,
        method: u16,
    },
    Header,
    Body,
    Heartbeat,
    Unknown(u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Frame {
    pub way: Way,
    pub kind: Kind,
}

/// Where bytes stand between and within frames.
pub struct FrameReader {
    way: Way,
    /// The first bytes of a frame, until its kind is known.
    head: Vec<u8>,
    /// Bytes of the frame, and how many of them have come.
    length: usize,
    come: usize,
    is_known: bool,
    greets: bool,
}

/// Bytes that belong to one frame.
pub struct Step {
    pub length: usize,
    /// What has just been recognised.
    pub begun: Option<Frame>,
    pub ends: bool,
}

const GREETING_BYTES: usize = 8;
/// Kind, channel and size; then the payload; then an end mark.
const HEAD_BYTES: usize = 7;
const METHOD_BYTES: usize = 4;

impl FrameReader {
    pub fn new(way: Way) -> Self {
        let greets = way == Way::ToServer;
        Self { way, head: Vec::new(), length: 0, come: 0, is_known: false, greets }
    }

    /// Takes as many bytes as belong to one frame; single bytes until its kind is known.
    pub fn step(&mut self, bytes: &[u8]) -> Step {
        let (length, begun) = if self.is_known {
            (bytes.len().min(self.length - self.come), None)
        } else {
            self.head.push(bytes[0]);
            (1, self.recognise())
        };
        self.come += length;
        let ends = self.is_known && self.come == self.length;
        if ends {
            self.head.clear();
            (self.come, self.is_known, self.greets) = (0, false, false);
        }
        Step { length, begun, ends }
    }

    fn recognise(&mut self) -> Option<Frame> {
        if self.greets {
            self.length = GREETING_BYTES;
            return (self.head.len() == 1).then(|| self.known(Kind::Greeting));
        }
        let size = u32::from_be_bytes(self.head.get(3..HEAD_BYTES)?.try_into().unwrap()) as usize;
        self.length = HEAD_BYTES + size + 1;
        let word = |at: usize| Some(u16::from_be_bytes(self.head.get(at..at + 2)?.try_into().unwrap()));
        let kind = match self.head[0] {
            1 if self.head.len() < HEAD_BYTES + METHOD_BYTES => return None,
            1 => Kind::Method { class: word(7)?, method: word(9)? },
            2 => Kind::Header,
            3 => Kind::Body,
            8 => Kind::Heartbeat,
            other => Kind::Unknown(other),
        };
        Some(self.known(kind))
    }

    fn known(&mut self, kind: Kind) -> Frame {
        self.is_known = true;
        Frame { way: self.way, kind }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.way {
            Way::ToServer => "→",
            Way::ToClient => "←",
        };
        match self.kind {
            Kind::Method { class, method } => write!(f, "{arrow} {}", name(class, method)),
            kind => write!(f, "{arrow} {}", format!("{kind:?}").to_lowercase()),
        }
    }
}

/// The names of section 1 of the reference; an unknown one stays a number.
fn name(class: u16, method: u16) -> String {
    let methods: (&str, &[(u16, &str)]) = match class {
        10 => (
            "connection",
            &[
                (10, "start"),
                (11, "start-ok"),
                (30, "tune"),
                (31, "tune-ok"),
                (40, "open"),
                (41, "open-ok"),
                (50, "close"),
                (51, "close-ok"),
                (60, "blocked"),
                (61, "unblocked"),
            ],
        ),
        20 => ("channel", &[(10, "open"), (11, "open-ok"), (40, "close"), (41, "close-ok")]),
        40 => ("exchange", &[(10, "declare"), (11, "declare-ok")]),
        50 => ("queue", &[(10, "declare"), (11, "declare-ok"), (20, "bind"), (21, "bind-ok")]),
        60 => (
            "basic",
            &[
                (10, "qos"),
                (11, "qos-ok"),
                (20, "consume"),
                (21, "consume-ok"),
                (30, "cancel"),
                (31, "cancel-ok"),
                (40, "publish"),
                (50, "return"),
                (60, "deliver"),
                (70, "get"),
                (71, "get-ok"),
                (72, "get-empty"),
                (80, "ack"),
                (90, "reject"),
                (120, "nack"),
            ],
        ),
        85 => ("confirm", &[(10, "select"), (11, "select-ok")]),
        _ => ("class", &[]),
    };
    let known = methods.1.iter().find(|(number, _)| *number == method);
    known.map_or_else(|| format!("{class}.{method}"), |(_, name)| format!("{}.{name}", methods.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 1];
        bytes.extend((payload.len() as u32).to_be_bytes());
        bytes.extend(payload);
        bytes.push(0xce);
        bytes
    }

    #[test]
    fn frames_are_told_apart_however_the_bytes_are_cut() {
        let stream = [
            b"AMQP\0\0\x09\x01".to_vec(),
            frame(1, &[0, 60, 0, 40, 0, 0, 1, 2, 3]),
            frame(2, &[0, 60, 0, 0]),
            frame(3, b"body"),
            frame(8, b""),
        ]
        .concat();
        for pieces in [1, 3, 7, stream.len()] {
            let mut reader = FrameReader::new(Way::ToServer);
            let (mut begun, mut ends) = (Vec::new(), 0);
            for piece in stream.chunks(pieces) {
                let mut at = 0;
                while at < piece.len() {
                    let step = reader.step(&piece[at..]);
                    at += step.length;
                    begun.extend(step.begun.map(|frame| frame.to_string()));
                    ends += usize::from(step.ends);
                }
            }
            assert_eq!(begun, ["→ greeting", "→ basic.publish", "→ header", "→ body", "→ heartbeat"]);
            assert_eq!(ends, 5);
        }
    }
}
