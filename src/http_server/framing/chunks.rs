//! The bytes of a chunked body come in; the same bytes go out until the body's end. From the first byte that is not framed
//! as RFC 9112, section 7.1, says, CR and NUL go out instead of it, which no reader takes for a part of a chunk.

use bytes::BytesMut;

#[derive(Default)]
pub struct Chunks {
    /// What the next byte may be a part of.
    expected: Expected,
    /// The size of the present chunk, or what is left of it.
    size: u64,
    digits: u32,
    /// Bytes of the present line.
    line: usize,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Expected {
    #[default]
    Size,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataEndLf,
    /// At the beginning of a line of trailers.
    Trailer,
    InTrailer,
    TrailerLf,
    LastLf,
    Whole,
    Broken,
}

/// Every decoder refuses these two bytes: CR ends whatever it is reading, even an extension, and NUL is then not the LF that
/// must follow.
const BROKEN: &[u8] = b"\r\0";
const LONGEST_LINE: usize = 8 << 10;

impl Chunks {
    pub fn is_whole(&self) -> bool {
        self.expected == Expected::Whole
    }

    /// Takes out of `unread` what belongs to this body.
    pub fn pass(&mut self, unread: &mut BytesMut) -> BytesMut {
        let mut at = 0;
        while at < unread.len() && !matches!(self.expected, Expected::Whole | Expected::Broken) {
            if self.expected == Expected::Data {
                let here = usize::try_from(self.size).unwrap_or(usize::MAX).min(unread.len() - at);
                self.size -= here as u64;
                at += here;
                if self.size == 0 {
                    self.expected = Expected::DataEnd;
                }
                continue;
            }
            self.expected = self.next(unread[at]);
            if self.expected == Expected::Broken {
                unread.truncate(at);
                unread.extend_from_slice(BROKEN);
                at = unread.len();
                break;
            }
            at += 1;
        }
        if self.expected == Expected::Broken && at == 0 {
            unread.fill(0);
            at = unread.len();
        }
        unread.split_to(at)
    }

    fn next(&mut self, byte: u8) -> Expected {
        self.line += 1;
        if self.line > LONGEST_LINE {
            return Expected::Broken;
        }
        match (self.expected, byte) {
            (Expected::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                self.size = self.size << 4 | u64::from(digit);
                self.digits += 1;
                Expected::Size
            }
            (Expected::Size, b';') if self.digits > 0 => Expected::Extension,
            (Expected::Size, b'\r') if self.digits > 0 => Expected::SizeEnd,
            (Expected::Extension, b'\r') => Expected::SizeEnd,
            (Expected::Extension, b'\t' | b' '..=b'~' | 0x80..) => Expected::Extension,
            (Expected::SizeEnd, b'\n') => self.begin(if self.size == 0 { Expected::Trailer } else { Expected::Data }),
            (Expected::DataEnd, b'\r') => Expected::DataEndLf,
            (Expected::DataEndLf, b'\n') => self.begin(Expected::Size),
            (Expected::Trailer, b'\r') => Expected::LastLf,
            (Expected::Trailer, b'!'..=b'~') => Expected::InTrailer,
            (Expected::InTrailer, b'\r') => Expected::TrailerLf,
            (Expected::InTrailer, b'\t' | b' '..=b'~' | 0x80..) => Expected::InTrailer,
            (Expected::TrailerLf, b'\n') => self.begin(Expected::Trailer),
            (Expected::LastLf, b'\n') => Expected::Whole,
            _ => Expected::Broken,
        }
    }

    fn begin(&mut self, expected: Expected) -> Expected {
        (self.line, self.digits) = (0, 0);
        if expected == Expected::Size {
            self.size = 0;
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(bytes: &[u8]) -> (Vec<u8>, bool) {
        let (mut chunks, mut unread) = (Chunks::default(), BytesMut::from(bytes));
        let here = chunks.pass(&mut unread);
        (here.to_vec(), chunks.is_whole())
    }

    #[test]
    fn chunks_pass_as_they_are_and_end_where_they_end() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "5;a=b\r\nhello\r\n00\r\nx: y\r\nz: \"\"\r\n\r\n",
            "A\r\n0123456789\r\n0\r\n\r\n",
        ] {
            let with_next = format!("{body}GET /");
            assert_eq!(passed(with_next.as_bytes()), (body.as_bytes().to_vec(), true), "{body:?}");
        }
    }

    #[test]
    fn what_is_no_chunk_never_reaches_the_reader() {
        for body in [
            "\r\n",
            "x\r\n",
            "+5\r\nhello",
            "0x5\r\nhello",
            "5 \r\nhello",
            "5\nhello",
            "5\r\nhelloo\r\n",
            "5\r\nhello0\r\n",
            "5;a=\n0\r\n\r\n",
            "10000000000000000\r\n",
            "0\r\nx\ny\r\n\r\n",
            "0\r\n x: y\r\n\r\n",
            "0\r\n\rX",
            "-1\r\n",
        ] {
            let (here, is_whole) = passed(body.as_bytes());
            assert!(!is_whole && here.last() == Some(&0), "{body:?}: {here:?}");
        }
    }
}
