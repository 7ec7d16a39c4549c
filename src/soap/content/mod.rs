//! A message as it arrived comes in; its content goes out, no longer compressed, its root part found, its characters read.
//!
//! What is undone, and in which order: the coding, the parts, the character encoding. A signature in a header is about the
//! bytes before or after the coding is undone, one inside XML is about characters.

pub mod charset;
mod codings;
mod media_type;
mod multipart;
mod xop;

use charset::CharsetRefusal;
pub use charset::TextKind;
pub use media_type::{MediaType, plain};
pub use multipart::Part;

use bytes::Bytes;
use http::HeaderMap;
use std::borrow::Cow;

/// Which headers of a message may say how its content is to be read. Where the content is signed, those that are not could have
/// other bytes read than the signer meant, or other characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadersThatCount {
    /// Whether it is in parts, and in which character encoding it is.
    pub content_type: bool,
    /// Whether it is compressed.
    pub content_encoding: bool,
}

impl HeadersThatCount {
    pub const ALL: Self = Self { content_type: true, content_encoding: true };
}

/// Of an answer. Nothing in it has been believed yet.
pub struct Content {
    /// The whole content, no longer compressed.
    pub whole: Bytes,
    /// Of the root part, or of the whole if it has no parts.
    pub media_type: MediaType,
    root: Bytes,
    /// Beside the root.
    parts: Vec<Part>,
    /// By the Content-Type, if that counts.
    charset: Option<String>,
    limit_bytes: usize,
}

/// The root's characters, and the parts that have no place in it.
pub struct Text<'a> {
    pub text: Cow<'a, str>,
    pub parts: Vec<&'a Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContentRefusal {
    #[error(transparent)]
    MediaType(#[from] media_type::MediaTypeRefusal),
    #[error(transparent)]
    Coding(#[from] codings::CodingRefusal),
    #[error(transparent)]
    Multipart(#[from] multipart::MultipartRefusal),
    #[error(transparent)]
    Charset(#[from] CharsetRefusal),
    #[error(transparent)]
    Xop(#[from] xop::XopRefusal),
    #[error("it is in parts by its Content-Type, which its signature does not cover")]
    UnsignedParts,
    #[error("it is compressed by its Content-Encoding, which its signature does not cover")]
    UnsignedCoding,
}

impl ContentRefusal {
    /// Whether it was too large only when it was unpacked.
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            ContentRefusal::Coding(codings::CodingRefusal::TooLarge { .. })
                | ContentRefusal::Xop(xop::XopRefusal::TooLarge { .. })
        )
    }
}

/// No more than `limit_bytes`, however well it was compressed.
pub fn open_content(
    headers: &HeaderMap,
    body: &Bytes,
    limit_bytes: usize,
    count: HeadersThatCount,
) -> Result<Content, ContentRefusal> {
    let media_type = MediaType::of(headers)?;
    let is_coded = codings::is_coded(headers)?;
    if is_coded && !count.content_encoding {
        return Err(ContentRefusal::UnsignedCoding);
    }
    let whole = codings::undo(headers, body, limit_bytes)?;
    let is_in_parts = media_type.essence == "multipart/related";
    if is_in_parts && !count.content_type {
        return Err(ContentRefusal::UnsignedParts);
    }
    let (media_type, root, parts) = match is_in_parts {
        false => (media_type, whole.clone(), Vec::new()),
        true => {
            let (root, parts) = multipart::related(&whole, &media_type)?;
            (root.media_type, root.content, parts)
        }
    };
    let charset = media_type.parameter("charset").filter(|_| count.content_type).map(str::to_owned);
    Ok(Content { whole, media_type, root, parts, charset, limit_bytes })
}

/// Whether there is nothing to unpack, so that it is as large as it looks.
pub fn is_plain(headers: &HeaderMap) -> bool {
    let is_whole = |media_type: MediaType| !media_type.essence.starts_with("multipart/");
    !codings::is_said_to_be_coded(headers) && MediaType::of(headers).is_ok_and(is_whole)
}

impl Content {
    /// Whether it says nothing: servers end an empty answer with a line's end, or begin it with a mark.
    pub fn is_blank(&self) -> bool {
        charset::is_blank(&self.whole)
    }

    /// The root's bytes, before anything is known of their characters.
    pub fn root(&self) -> &[u8] {
        &self.root
    }

    /// The root's characters. In XML, binary contents that were sent as parts take their places.
    pub fn text(&self, kind: TextKind) -> Result<Text<'_>, ContentRefusal> {
        let text = charset::decode(&self.root, self.charset.as_deref(), kind)?;
        // In base64 they are larger by a third.
        let included = match kind {
            TextKind::Xml if !self.parts.is_empty() => xop::included(&text, &self.parts, self.limit_bytes / 3 * 4 + 4)?,
            TextKind::Xml | TextKind::Json => None,
        };
        Ok(match included {
            None => Text { text, parts: self.parts.iter().collect() },
            Some((text, used)) => {
                let unused = self.parts.iter().zip(used).filter(|(_, is_used)| !is_used).map(|(part, _)| part);
                Text { text: text.into(), parts: unused.collect() }
            }
        })
    }
}
