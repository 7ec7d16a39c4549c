//! Why a SOAP message's signature is refused: each rule has one short, stable reason.

use crate::{
    trust::{SignerRefusal, named::Named},
    xml::XmlRefusal,
};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WssRefusal {
    #[error("xml: {0}")]
    Xml(#[from] XmlRefusal),
    #[error("the root is not a SOAP 1.1 or 1.2 Envelope")]
    NotSoap,
    #[error("the envelope must have exactly one Header and one Body")]
    EnvelopeShape,
    #[error("no Security header is addressed to us")]
    NoSecurityHeader,
    #[error("more than one Security header is addressed to us")]
    SecondSecurityHeader,
    #[error("{0} must stand exactly once where it belongs")]
    Shape(&'static str),
    #[error("an identifier stands twice")]
    DuplicateId,
    #[error("{0} holds something other than text")]
    NotPlainText(&'static str),
    #[error("the canonicalization is {0}: only Exclusive C14N is read")]
    Canonicalization(Named),
    #[error(
        "a reference is transformed by {0}: only Exclusive C14N alone is read, or STR-Transform with it for a token"
    )]
    Transform(Named),
    #[error("the signature algorithm is {0}, which is not allowed")]
    Algorithm(Named),
    #[error("a digest algorithm is {0}, which is not allowed")]
    DigestAlgorithm(Named),
    #[error("a signature has between 1 and 8 references")]
    ReferenceCount,
    #[error("a reference names {0}, which is no identifier in the message")]
    ExternalReference(Named),
    #[error("a reference names an identifier that is not there")]
    DanglingReference,
    #[error("a reference names an element in a place where nothing may be signed")]
    ReferencePlace,
    #[error("a digest does not fit its element")]
    DigestMismatch,
    #[error("the signature does not hold")]
    SignatureMismatch,
    #[error("the key is described by {0}, which is no form that is read")]
    KeyInfo(Named),
    #[error("{0}")]
    Signer(#[from] SignerRefusal),
    #[error("the Body is not signed")]
    BodyNotSigned,
    #[error("the Timestamp is not signed")]
    TimestampNotSigned,
    #[error("{0} is not written as xs:dateTime")]
    TimeFormat(&'static str),
    #[error("{0} names no time zone, so that it may be any of many moments; `Z` at its end means UTC")]
    TimeZone(&'static str),
    #[error("the message is too old or has expired")]
    Stale,
    #[error("the message is from the future")]
    FromTheFuture,
    #[error("the message was seen before")]
    Replayed,
    #[error("a comment splits a text that is signed")]
    CommentInText,
    #[error("the policy does not expect a WS-Security signature")]
    PolicyKind,
}

impl WssRefusal {
    pub fn reason(&self) -> &'static str {
        match self {
            WssRefusal::Xml(_) => "xml",
            WssRefusal::NotSoap => "not-soap",
            WssRefusal::EnvelopeShape => "envelope-shape",
            WssRefusal::NoSecurityHeader => "no-security-header",
            WssRefusal::SecondSecurityHeader => "second-security-header",
            WssRefusal::Shape(_) => "shape",
            WssRefusal::DuplicateId => "duplicate-id",
            WssRefusal::NotPlainText(_) => "not-plain-text",
            WssRefusal::Canonicalization(_) => "canonicalization",
            WssRefusal::Transform(_) => "transform",
            WssRefusal::Algorithm(_) => "algorithm",
            WssRefusal::DigestAlgorithm(_) => "digest-algorithm",
            WssRefusal::ReferenceCount => "reference-count",
            WssRefusal::ExternalReference(_) => "external-reference",
            WssRefusal::DanglingReference => "dangling-reference",
            WssRefusal::ReferencePlace => "reference-place",
            WssRefusal::DigestMismatch => "digest-mismatch",
            WssRefusal::SignatureMismatch => "signature-mismatch",
            WssRefusal::KeyInfo(_) => "key-info",
            WssRefusal::Signer(signer) => signer.reason(),
            WssRefusal::BodyNotSigned => "body-not-signed",
            WssRefusal::TimestampNotSigned => "timestamp-not-signed",
            WssRefusal::TimeFormat(_) | WssRefusal::TimeZone(_) => "time-format",
            WssRefusal::Stale => "stale",
            WssRefusal::FromTheFuture => "from-the-future",
            WssRefusal::Replayed => "replayed",
            WssRefusal::CommentInText => "comment-in-text",
            WssRefusal::PolicyKind => "policy-kind",
        }
    }
}
