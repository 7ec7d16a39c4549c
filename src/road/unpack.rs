//! Unpack: an answer as it arrived comes in; its content goes out, or a fault that names what cannot be read.

use super::Answering;
use crate::{
    adapter::Form,
    domain::{Code, Fault, Stage},
    trust::AnswerKind,
    wire::{
        Received,
        content::{Content, Part, Text, TextKind, open_content},
    },
};

/// No longer compressed, and its root part found, within what the agency's answers may be.
pub(super) fn unpack(received: &Received, it: &Answering<'_>) -> Result<Content, Fault> {
    open_content(received, it.line.adapter.limits.answer_max_bytes).map_err(|refusal| {
        let code = if refusal.is_too_large() { Code::AnswerTooLarge } else { Code::AnswerEncoding };
        Fault::new(code, Stage::Read, format!("{refusal}; it begins {}", beginning(&received.body)))
    })
}

/// Its characters. What the agency sent besides is told to the operator, unless the filter looks at it.
pub(super) fn text<'a>(content: &'a Content, it: &Answering<'_>) -> Result<Text<'a>, Fault> {
    let (kind, code) = match it.exchange.expects() {
        Form::Xml => (TextKind::Xml, Code::AnswerNotXml),
        Form::Json => (TextKind::Json, Code::AnswerNotJson),
    };
    let read = content.text(kind).map_err(|refusal| {
        let code = if refusal.is_too_large() { Code::AnswerTooLarge } else { code };
        Fault::new(code, Stage::Read, refusal)
    })?;
    if !read.parts.is_empty() && !it.exchange.reads_parts() {
        let parts: Vec<_> = read.parts.iter().take(10).map(|part| title(part)).collect();
        tracing::warn!(
            agency = %it.line.adapter.agency,
            submission = %it.ours.reference,
            parts = parts.join(", "),
            "the answer has parts that its filter does not look at"
        );
    }
    Ok(read)
}

/// What is expected is named by the adapter, or by the seal.
pub(super) fn check_media_type(content: &Content, it: &Answering<'_>, kind: &AnswerKind) -> Result<(), Fault> {
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
        other => format!("its Content-Type is `{}`", other.chars().take(80).collect::<String>()),
    };
    let text = format!("{named}, and it begins {}", beginning(content.root()));
    Err(Fault::new(Code::AnswerMediaType, Stage::Read, text))
}

fn title(part: &Part) -> String {
    let name = part.id.as_deref().unwrap_or("without a name");
    crate::domain::told(&format!("{name} ({}, {} bytes)", part.media_type.essence, part.content.len()), 120)
}

/// Enough to see a proxy's page, an archive or a PDF for what it is. A fault's text hides numbers that are long enough to be
/// a person's.
fn beginning(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 32;
    let shown: String = bytes.iter().take(SHOWN_BYTES).flat_map(|byte| byte.escape_ascii()).map(char::from).collect();
    format!("`{shown}{}`", if bytes.len() > SHOWN_BYTES { "…" } else { "" })
}
