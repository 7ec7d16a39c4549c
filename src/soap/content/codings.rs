//! A message's bytes and its `Content-Encoding` come in; the bytes before they were compressed go out, within a bound that
//! holds while they grow.
//!
//! We ask for nothing but `identity`; proxies and old servers compress all the same.

use super::plain;
use crate::domain::grouped;
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::{HeaderMap, header};
use std::io::{self, Read};

/// Nobody compresses what is compressed more often than that.
const MAX_CODINGS: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodingRefusal {
    #[error("it is compressed as `{0}`, which is not read: only gzip and deflate are")]
    Unknown(String),
    #[error("it is compressed more than {MAX_CODINGS} times")]
    TooMany,
    #[error("it is said to be compressed as {coding}, and {problem}")]
    Broken { coding: &'static str, problem: &'static str },
    #[error("it is larger than {} bytes when it is no longer compressed", grouped(*limit_bytes))]
    TooLarge { limit_bytes: usize },
}

#[derive(Clone, Copy)]
enum Coding {
    Gzip,
    Deflate,
}

/// The codings that `Content-Encoding` names, the first one applied first (RFC 9110, section 8.4).
pub fn undo(headers: &HeaderMap, body: &Bytes, limit_bytes: usize) -> Result<Bytes, CodingRefusal> {
    let codings = codings(headers)?;
    // An answer without content is often said to be compressed.
    if body.is_empty() {
        return Ok(Bytes::new());
    }
    codings.into_iter().rev().try_fold(body.clone(), |bytes, coding| coding.undo(&bytes, limit_bytes).map(Bytes::from))
}

/// Whether the headers speak of a coding, be it none.
pub fn is_said_to_be_coded(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_ENCODING)
}

/// Whether the headers say that something is to be undone.
pub fn is_coded(headers: &HeaderMap) -> Result<bool, CodingRefusal> {
    codings(headers).map(|codings| !codings.is_empty())
}

fn codings(headers: &HeaderMap) -> Result<Vec<Coding>, CodingRefusal> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in String::from_utf8_lossy(value.as_bytes()).split(',') {
            codings.push(match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                _ => return Err(CodingRefusal::Unknown(plain(name.trim()).to_owned())),
            });
        }
    }
    match codings.len() > MAX_CODINGS {
        true => Err(CodingRefusal::TooMany),
        false => Ok(codings),
    }
}

impl Coding {
    fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    fn undo(self, bytes: &[u8], limit_bytes: usize) -> Result<Vec<u8>, CodingRefusal> {
        let (mut input, mut inflated) = (bytes, Vec::new());
        match self {
            Coding::Gzip if !is_gzip(bytes) => return Err(self.broken("is not")),
            // Members may follow each other (RFC 1952, section 2.2).
            Coding::Gzip => {
                while is_gzip(input) {
                    self.inflate(GzDecoder::new(&mut input), &mut inflated, limit_bytes)?;
                }
            }
            // It means the zlib format, and some servers send the bare stream (RFC 9110, section 8.4.1.2).
            Coding::Deflate if is_zlib(bytes) => {
                self.inflate(ZlibDecoder::new(&mut input), &mut inflated, limit_bytes)?;
            }
            Coding::Deflate => self.inflate(DeflateDecoder::new(&mut input), &mut inflated, limit_bytes)?,
        }
        match input.is_empty() {
            true => Ok(inflated),
            false => Err(self.broken("bytes follow behind the end of the compressed data")),
        }
    }

    /// One byte more than may be there is enough to know that there are too many.
    fn inflate(self, decoder: impl Read, inflated: &mut Vec<u8>, limit_bytes: usize) -> Result<(), CodingRefusal> {
        let left = (limit_bytes + 1).saturating_sub(inflated.len());
        let read = decoder.take(left as u64).read_to_end(inflated);
        match read {
            _ if inflated.len() > limit_bytes => Err(CodingRefusal::TooLarge { limit_bytes }),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.broken("the compressed data ends before it is complete"))
            }
            Err(_) => Err(self.broken("is damaged, or other bytes follow")),
        }
    }

    fn broken(self, problem: &'static str) -> CodingRefusal {
        CodingRefusal::Broken { coding: self.name(), problem }
    }
}

fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1F, 0x8B])
}

/// RFC 1950, section 2.2.
fn is_zlib(bytes: &[u8]) -> bool {
    matches!(bytes, [first, second, ..] if first & 0x0F == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write};
    use proptest::prelude::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn undone(codings: &[&str], body: Vec<u8>) -> Result<Bytes, CodingRefusal> {
        let mut headers = HeaderMap::new();
        for it in codings {
            headers.append(header::CONTENT_ENCODING, it.parse().unwrap());
        }
        undo(&headers, &body.into(), 100_000)
    }

    #[test]
    fn what_agencies_compress_is_read() {
        let text = b"<answer/>".repeat(100);
        for (codings, body) in [
            (vec![], text.clone()),
            (vec!["identity"], text.clone()),
            (vec!["gzip"], gzip(&text)),
            (vec![" X-GZIP "], gzip(&text)),
            (vec!["deflate"], zlib(&text)),
            (vec!["deflate"], raw(&text)),
            (vec!["deflate, gzip"], gzip(&zlib(&text))),
            (vec!["gzip", "identity, deflate"], zlib(&gzip(&text))),
            (vec!["gzip"], [gzip(&text[..450]), gzip(&text[450..])].concat()),
        ] {
            assert_eq!(undone(&codings, body).unwrap(), text, "{codings:?}");
        }
        assert_eq!(undone(&["gzip"], Vec::new()).unwrap(), Bytes::new());
    }

    #[test]
    fn a_bomb_is_stopped_while_it_grows() {
        let megabyte = vec![b' '; 1 << 20];
        let too_large = Err(CodingRefusal::TooLarge { limit_bytes: 100_000 });
        for (codings, bomb) in [
            ("gzip", gzip(&megabyte)),
            ("deflate", zlib(&megabyte)),
            ("deflate", raw(&megabyte)),
            ("gzip, gzip", gzip(&gzip(&megabyte))),
            ("gzip", gzip(&megabyte[..60_000]).repeat(2)),
        ] {
            assert_eq!(undone(&[codings], bomb), too_large, "{codings}");
        }
        assert_eq!(undone(&["gzip"], gzip(&megabyte[..100_000])).unwrap().len(), 100_000);
    }

    #[test]
    fn what_is_not_read_is_named() {
        for coding in ["br", "zstd", "compress", "utf-8"] {
            let refusal = undone(&[coding], b"x".to_vec()).unwrap_err().to_string();
            assert!(refusal.contains(&format!("`{coding}`")), "{refusal}");
        }
        let refusal = undone(&["gzip;q=1"], b"x".to_vec()).unwrap_err().to_string();
        assert!(refusal.contains("`…`"), "only a plain word is shown: {refusal}");
        assert_eq!(undone(&["gzip,gzip,gzip,gzip"], b"x".to_vec()), Err(CodingRefusal::TooMany));
        let whole = gzip(b"<answer/>");
        let mut spoilt = whole.clone();
        *spoilt.last_mut().unwrap() ^= 1;
        for (body, problem) in [
            (b"<answer/>".to_vec(), "gzip, and is not"),
            (whole[..whole.len() - 1].to_vec(), "ends before it is complete"),
            (spoilt, "is damaged, or other bytes follow"),
            ([whole, b"more than a head".to_vec()].concat(), "bytes follow"),
        ] {
            let refusal = undone(&["gzip"], body).unwrap_err().to_string();
            assert!(refusal.contains("compressed as gzip") && refusal.contains(problem), "{refusal}");
        }
        let followed = undone(&["deflate"], [zlib(b"x"), b"more".to_vec()].concat()).unwrap_err().to_string();
        assert!(followed.contains("bytes follow"), "{followed}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for coding in ["gzip", "deflate", "gzip, deflate"] {
                let _ = undone(&[coding], bytes.clone());
            }
        }
    }
}
