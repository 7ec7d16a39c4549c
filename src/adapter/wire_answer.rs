//! An answer's body and what stands beside it come in, after whatever is signed was verified; what a filter may see goes
//! out, apart by whether the agency's signature covers it.

use crate::{
    json::{self, JsonFault, Rules},
    soap::{SoapFault, content::HeadersThatCount},
    trust::AnswerKind,
};
use http::HeaderMap;
use serde_json::{Map, Value, json};
use std::borrow::Cow;

/// What the signature of an agency's answers covers, beside the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    /// The agency does not sign its answers: its own connection vouches for all of them, or nothing does.
    Unsigned,
    /// The Body and blocks of the header of a SOAP envelope, and nothing that was sent around it.
    Envelope,
    Body,
    /// The status too, and those headers that the signature names.
    BodyAndStatus,
}

/// What stands beside an answer's body.
#[derive(Clone, Default, PartialEq)]
pub struct Beside {
    pub status: Option<u16>,
    /// Names in lower case; of one that comes twice, the values are joined by a comma and a space.
    pub headers: Map<String, Value>,
    pub soap_headers: Map<String, Value>,
    /// Of a message in parts, those that have no place in its root; empty unless the filter looks at them.
    pub parts: Vec<Value>,
}

/// An answer after its safety, its signature and its form were checked.
#[derive(Clone, PartialEq)]
pub struct WireAnswer {
    /// JSON, or the verified SOAP Body's content as JSON; null if the answer is empty.
    pub body: Value,
    pub soap_fault: Option<SoapFault>,
    /// What the agency vouches for; everything, where it does not sign.
    pub vouched: Beside,
    /// What anybody on the way may have written.
    pub unsigned: Beside,
}

impl Coverage {
    /// Which headers say how an example is read: those of which the signature may speak, or all where what is signed lies
    /// inside.
    pub fn headers_that_count(self) -> HeadersThatCount {
        match self {
            Coverage::Unsigned | Coverage::Envelope | Coverage::BodyAndStatus => HeadersThatCount::ALL,
            Coverage::Body => HeadersThatCount { content_type: false, content_encoding: true },
        }
    }

    pub fn of(kind: &AnswerKind) -> Self {
        match kind {
            AnswerKind::None => Coverage::Unsigned,
            AnswerKind::HttpSignature { components } if components.iter().any(|it| it == "@status") => {
                Coverage::BodyAndStatus
            }
            AnswerKind::Wss => Coverage::Envelope,
            AnswerKind::HttpSignature { .. } | AnswerKind::JwsCompact | AnswerKind::JwsDetached { .. } => {
                Coverage::Body
            }
        }
    }

    pub fn has_status(self) -> bool {
        match self {
            Coverage::Unsigned | Coverage::BodyAndStatus => true,
            Coverage::Envelope | Coverage::Body => false,
        }
    }

    /// Whether it is about what a message in parts has beside its root.
    pub fn has_parts(self) -> bool {
        match self {
            Coverage::Unsigned | Coverage::Body | Coverage::BodyAndStatus => true,
            Coverage::Envelope => false,
        }
    }

    pub fn is_signed(self) -> bool {
        self != Coverage::Unsigned
    }
}

/// A header's value: UTF-8, or else in the octets' own characters, as HTTP once had it (RFC 9110, section 5.5).
fn text_of(value: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => value.iter().copied().map(char::from).collect(),
    }
}

/// Whether a filter's text names the reference, and not only as the name of what it gives.
pub(super) fn names_reference(source: &str) -> bool {
    const NAME: &str = "reference";
    source.match_indices(NAME).any(|(at, _)| {
        let rest = source.get(at + NAME.len()..).unwrap_or_default();
        !rest.strip_prefix('"').unwrap_or(rest).trim_start().starts_with(':')
    })
}

impl WireAnswer {
    pub fn of_body(body: Value) -> Self {
        Self { body, soap_fault: None, vouched: Beside::default(), unsigned: Beside::default() }
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self, JsonFault> {
        Ok(Self::of_body(if bytes.is_empty() { Value::Null } else { json::parse(bytes, Rules::AGENCY)? }))
    }

    /// `covered`: the components of an HTTP signature that was verified, in lower case.
    pub fn with_head(mut self, coverage: Coverage, status: u16, headers: &HeaderMap, covered: &[String]) -> Self {
        let is_vouched = |name: &str| match coverage {
            Coverage::Unsigned => true,
            Coverage::Envelope | Coverage::Body | Coverage::BodyAndStatus => covered.iter().any(|it| it == name),
        };
        let of_status = if is_vouched("@status") { &mut self.vouched } else { &mut self.unsigned };
        of_status.status = Some(status);
        for name in headers.keys() {
            let values: Vec<_> = headers.get_all(name).iter().map(|value| text_of(value.as_bytes())).collect();
            let beside = if is_vouched(name.as_str()) { &mut self.vouched } else { &mut self.unsigned };
            beside.headers.insert(name.as_str().to_owned(), values.join(", ").into());
        }
        self
    }

    /// What a filter sees: our reference, headers and what is unsigned only if its text names them, so that no walk over
    /// everything can come upon them unawares.
    pub(super) fn seen(&self, reference: &str, source: &str) -> Value {
        let fault = self.soap_fault.as_ref().map(
            |fault| json!({"code": fault.code, "subcodes": fault.subcodes, "text": fault.text, "detail": fault.detail}),
        );
        let status = self.vouched.status;
        let mut seen = json!({"status": status, "body": self.body, "fault": fault});
        if names_reference(source) {
            seen["reference"] = reference.into();
        }
        if source.contains("headers") {
            seen["headers"] = self.vouched.headers.clone().into();
            seen["soap_headers"] = self.vouched.soap_headers.clone().into();
        }
        if source.contains("parts") {
            seen["parts"] = self.vouched.parts.clone().into();
        }
        if source.contains("unsigned") {
            let Beside { status, headers, soap_headers, parts } = &self.unsigned;
            seen["unsigned"] = json!({"status": status, "headers": headers, "soap_headers": soap_headers});
            if source.contains("parts") {
                seen["unsigned"]["parts"] = parts.clone().into();
            }
        }
        seen
    }

    /// The same answer, had nobody written anything beside what is signed.
    pub(super) fn without_unsigned(&self) -> Self {
        Self { unsigned: Beside::default(), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(coverage: Coverage, covered: &[&str]) -> WireAnswer {
        let headers = HeaderMap::from_iter([
            (http::header::LOCATION, "/a".parse().unwrap()),
            (http::header::ETAG, "b".parse().unwrap()),
        ]);
        let covered: Vec<_> = covered.iter().map(|it| (*it).to_owned()).collect();
        WireAnswer::of_body(json!({})).with_head(coverage, 404, &headers, &covered)
    }

    #[test]
    fn a_header_that_is_not_ascii_is_read_and_not_left_out() {
        let headers: HeaderMap = ["ș".as_bytes(), b"caf\xe9"]
            .into_iter()
            .map(|value| (http::header::WARNING, http::HeaderValue::from_bytes(value).unwrap()))
            .collect();
        let answer = WireAnswer::of_body(json!({})).with_head(Coverage::Unsigned, 200, &headers, &[]);
        assert_eq!(answer.vouched.headers["warning"], "ș, café");
    }

    #[test]
    fn only_what_is_signed_is_seen_as_the_agencys_word() {
        let filter = ".status, .headers, .unsigned";
        let seen = answer(Coverage::Unsigned, &[]).seen("r", filter);
        assert_eq!((&seen["status"], &seen["headers"]["location"]), (&json!(404), &json!("/a")));
        assert_eq!(seen["unsigned"], json!({"status": null, "headers": {}, "soap_headers": {}}));
        let seen = answer(Coverage::Body, &[]).seen("r", filter);
        assert_eq!((&seen["status"], &seen["headers"]), (&json!(null), &json!({})));
        assert_eq!((&seen["unsigned"]["status"], &seen["unsigned"]["headers"]["etag"]), (&json!(404), &json!("b")));
        let seen = answer(Coverage::BodyAndStatus, &["@status", "etag"]).seen("r", filter);
        assert_eq!((&seen["status"], &seen["headers"]), (&json!(404), &json!({"etag": "b"})));
        assert_eq!(seen["unsigned"]["headers"], json!({"location": "/a"}));
    }

    #[test]
    fn a_filter_that_does_not_name_what_is_unsigned_is_not_given_it() {
        let seen = answer(Coverage::Body, &[]).seen("r", "[.. | numbers]");
        assert!(!seen.to_string().contains("404"), "{seen}");
    }

    #[test]
    fn a_filter_that_names_our_reference_only_in_what_it_gives_is_not_given_it() {
        let sees = |source| answer(Coverage::Body, &[]).seen("ours", source).get("reference").is_some();
        for source in
            ["{reference: [.. | strings][0]}", "{\"reference\" : .body.id}", "{ reference:.body.id, answer: {}}"]
        {
            assert!(!sees(source), "{source}");
        }
        for source in [".reference", "{reference}", "{reference: .reference}", ".[\"reference\"]", "$a.reference // 1"]
        {
            assert!(sees(source), "{source}");
        }
    }
}
