//! Unpack: an answer as it arrived comes in; its content goes out, or a fault that names what cannot be read.

use super::{AnswerExpectation, Incoming};
use crate::{
    adapter::Form,
    domain::{Code, Fault, Stage},
    soap::content::{Content, HeadersThatCount, Part, Text, TextKind, open_content, plain},
    trust::AnswerKind,
};

/// `covered`: the components of an HTTP signature that was verified. What signs the root part itself, or nothing, needs no
/// header to be covered.
pub fn headers_that_count(kind: &AnswerKind, covered: &[String]) -> HeadersThatCount {
    let is_covered = |name: &str| covered.iter().any(|covered| covered == name);
    match kind {
        AnswerKind::None | AnswerKind::Wss | AnswerKind::JwsCompact => HeadersThatCount::ALL,
        // It is about the bytes that come of it, so that no coding leads to others.
        AnswerKind::JwsDetached { .. } => HeadersThatCount { content_type: false, content_encoding: true },
        AnswerKind::HttpSignature { .. } => HeadersThatCount {
            content_type: is_covered("content-type"),
            content_encoding: is_covered("content-encoding"),
        },
    }
}

/// No longer compressed, and its root part found, within what the agency's answers may be.
pub(super) fn unpack(
    incoming: &Incoming,
    it: &AnswerExpectation<'_>,
    count: HeadersThatCount,
) -> Result<Content, Fault> {
    open_content(&incoming.headers, &incoming.body, it.connection.adapter.limits.answer_max_bytes, count).map_err(
        |refusal| {
            let code = if refusal.is_too_large() { Code::AnswerTooLarge } else { Code::AnswerEncoding };
            Fault::new(code, Stage::Read, format!("{refusal}; it begins {}", beginning(&incoming.body)))
        },
    )
}

/// Its characters. What the agency sent besides is told to the operator, unless the filter looks at it.
pub(super) fn text<'a>(content: &'a Content, it: &AnswerExpectation<'_>) -> Result<Text<'a>, Fault> {
    let (kind, code) = match it.exchange.expects() {
        Form::Xml => (TextKind::Xml, Code::AnswerNotXml),
        Form::Json => (TextKind::Json, Code::AnswerNotJson),
    };
    let read = content.text(kind).map_err(|refusal| {
        let code = if refusal.is_too_large() { Code::AnswerTooLarge } else { code };
        Fault::new(code, Stage::Read, refusal)
    })?;
    if !read.parts.is_empty() && !it.exchange.finds_parts() {
        let parts: Vec<_> = read.parts.iter().take(10).map(|part| title(part)).collect();
        tracing::warn!(
            agency = %it.connection.adapter.agency,
            submission = %it.sent_request.reference,
            parts = parts.join(", "),
            "the answer has parts that its filter does not look at"
        );
    }
    Ok(read)
}

/// What is expected is named by the adapter, or by the seal.
pub(super) fn check_media_type(content: &Content, it: &AnswerExpectation<'_>, kind: &AnswerKind) -> Result<(), Fault> {
    let media_type = content.media_type.essence.as_str();
    let is_expected = match kind {
        AnswerKind::JwsCompact => matches!(media_type, "application/jose" | "application/jwt"),
        _ => it.exchange.expects().is_media_type(media_type),
    };
    if is_expected {
        return Ok(());
    }
    let named = match media_type {
        "" => "it has no Content-Type".to_owned(),
        other => format!("its Content-Type is `{}`", plain(other)),
    };
    let text = format!("{named}, and it begins {}", beginning(content.root()));
    Err(Fault::new(Code::AnswerMediaType, Stage::Read, text))
}

/// No name: what agencies call their files may name a person.
fn title(part: &Part) -> String {
    let Part { number, media_type, content, .. } = part;
    format!("part {number} ({}, {} bytes)", plain(&media_type.essence), content.len())
}

/// Enough to see a proxy's page, an archive or a PDF for what it is; of everything else the shape, without its letters and
/// digits: it may be about a person.
fn beginning(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 32;
    const KNOWN: [&str; 5] = ["<!DOCTYPE html", "<html", "<?xml", "%PDF", "PK"];
    let begins_with = |known: &&&str| {
        bytes.get(..known.len()).is_some_and(|beginning| beginning.eq_ignore_ascii_case(known.as_bytes()))
    };
    if let Some(known) = KNOWN.iter().find(begins_with) {
        return format!("`{known}…`");
    }
    let masked = |byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' => 'a',
        b'0'..=b'9' => '0',
        b' '..=b'~' => char::from(*byte),
        _ => '.',
    };
    let shown: String = bytes.iter().take(SHOWN_BYTES).map(masked).collect();
    format!("`{shown}{}`", if bytes.len() > SHOWN_BYTES { "…" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::content::MediaType;

    #[test]
    fn a_header_counts_where_the_signature_covers_it_or_stands_in_what_is_read() {
        let signature = AnswerKind::HttpSignature { components: Vec::new() };
        let of = |kind: &AnswerKind, covered: &[&str]| {
            let covered: Vec<_> = covered.iter().map(|name| (*name).to_owned()).collect();
            let HeadersThatCount { content_type, content_encoding } = headers_that_count(kind, &covered);
            (content_type, content_encoding)
        };
        assert_eq!(of(&signature, &["@status", "content-digest"]), (false, false));
        assert_eq!(of(&signature, &["content-type"]), (true, false));
        assert_eq!(of(&signature, &["content-encoding"]), (false, true));
        assert_eq!(of(&AnswerKind::JwsDetached { header: "x".into() }, &[]), (false, true));
        for kind in [AnswerKind::Wss, AnswerKind::JwsCompact, AnswerKind::None] {
            assert_eq!(of(&kind, &[]), (true, true));
        }
    }

    #[test]
    fn a_part_is_told_without_its_name() {
        let part = |media_type: &str| Part {
            number: 2,
            id: Some("Maria Ionescu, certificat de deces.pdf".into()),
            media_type: MediaType::parse(media_type).unwrap(),
            content: vec![0; 30].into(),
        };
        assert_eq!(title(&part("text/plain; name=Maria")), "part 2 (text/plain, 30 bytes)");
        assert_eq!(title(&part("Maria Ionescu")), "part 2 (\u{2026}, 30 bytes)");
    }

    #[test]
    fn the_beginning_shows_what_it_is_and_no_word_of_it() {
        for (bytes, shown) in [
            (&b"<!doctype HTML><p>Maria"[..], "`<!DOCTYPE html…`"),
            (b"<html>Maria", "`<html…`"),
            (b"<?xml version='1.0'?><Maria/>", "`<?xml…`"),
            (b"%PDF-1.7 Maria", "`%PDF…`"),
            (b"PK\x03\x04Maria", "`PK…`"),
            (b"{\"nume\": \"Maria Ionescu\", \"x\": 2000000000001}", "`{\"aaaa\": \"aaaaa aaaaaaa\", \"a\": 0…`"),
            (b"<Maria/>", "`<aaaaa/>`"),
            ("Șt".as_bytes(), "`..a`"),
            (b"", "``"),
        ] {
            assert_eq!(beginning(bytes), shown);
        }
    }
}
