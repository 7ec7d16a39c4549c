//! Why something failed: a stable code says whose fault it is, at which stage, and whether another try makes sense.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// Whose fault it is: the first part of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    Office,
    Bus,
    Network,
    Agency,
}

/// The step of the way at which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Accept,
    Queue,
    Transform,
    Seal,
    Send,
    Read,
    Settle,
    Reply,
}

/// Whether another try makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The agency has certainly not acted: another try is safe and sensible.
    Retry,
    /// Another try would fail in the same way.
    DoNotRetry,
    /// It was sent and nobody knows what it did: the operation's effect decides.
    Unknown,
    /// Another try would most likely fail in the same way, but nobody who can be believed has said that the agency has not
    /// acted: the machine gives up, and the doubt stays.
    DoNotRetryInDoubt,
}

impl Verdict {
    /// Whether the agency may have acted for all that is known.
    pub fn leaves_doubt(self) -> bool {
        match self {
            Verdict::Retry | Verdict::DoNotRetry => false,
            Verdict::Unknown | Verdict::DoNotRetryInDoubt => true,
        }
    }
}

macro_rules! codes {
    ($($variant:ident $code:literal $verdict:ident $public:literal)*) => {
        /// Every fault that Punte knows. The code is stable; texts may be improved.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[serde(rename = $code)] $variant,)*
        }

        impl Code {
            pub const ALL: &[Code] = &[$(Code::$variant),*];

            pub fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code,)* }
            }

            /// What an office may read. It names no person and no inner detail.
            pub fn public_text(self) -> &'static str {
                match self { $(Code::$variant => $public,)* }
            }

            pub fn verdict(self) -> Verdict {
                match self { $(Code::$variant => Verdict::$verdict,)* }
            }
        }
    };
}

codes! {
    CertificateMissing "office.certificate.missing" DoNotRetry "This address asks for a client certificate and none was shown."
    CertificateInvalid "office.certificate.invalid" DoNotRetry "The client certificate cannot be used: it is malformed, or not meant for TLS clients."
    CertificateExpired "office.certificate.expired" DoNotRetry "The client certificate has expired. Ask its issuer for a new one."
    CertificateNotYetValid "office.certificate.not-yet-valid" DoNotRetry "The client certificate is not valid yet. Check its dates and both clocks."
    CertificateRevoked "office.certificate.revoked" DoNotRetry "The client certificate has been revoked by its issuer."
    CertificateUnknownIssuer "office.certificate.unknown-issuer" DoNotRetry "The client certificate was issued by an authority that is not trusted here."
    CertificateUnknownOffice "office.certificate.unknown-office" DoNotRetry "The client certificate is good, but no office is registered for it. Send its SHA-256 fingerprint to the operator."
    RequestNotFound "office.request.not-found" DoNotRetry "There is nothing at this address that this office may see."
    RequestMethod "office.request.method" DoNotRetry "This address does not take this method."
    RequestFraming "office.request.framing" DoNotRetry "The request cannot be told apart from what follows it, or names no host: it is not HTTP as RFC 9112 describes it."
    RequestPlainHttp "office.request.plain-http" DoNotRetry "This port speaks HTTPS: write https:// and show the office's client certificate."
    RequestHeader "office.request.header" DoNotRetry "A header of the request cannot be used."
    RequestParameter "office.request.parameter" DoNotRetry "A parameter of the request cannot be used."
    RequestMediaType "office.request.media-type" DoNotRetry "The body must be sent as the media type that this address takes."
    RequestTooLarge "office.request.too-large" DoNotRetry "The request is larger than this address takes."
    RequestTimeout "office.request.timeout" Retry "The request did not arrive in time."
    RequestNotUtf8 "office.request.not-utf8" DoNotRetry "The body is not UTF-8."
    RequestInvalidJson "office.request.invalid-json" DoNotRetry "The body is not valid JSON."
    RequestTooDeep "office.request.too-deep" DoNotRetry "The JSON body is nested too deeply."
    RequestDuplicateKey "office.request.duplicate-key" DoNotRetry "An object in the JSON body has the same key twice."
    RequestSchema "office.request.schema" DoNotRetry "The body does not fit the schema. Each fault is listed with its place."
    RequestCharacter "office.request.character" DoNotRetry "A text holds a character that no agency's message can carry: a control character, or no character at all."
    RequestExpiresAt "office.request.expires-at" DoNotRetry "`expires_at` must be a moment in the future."
    IdempotencyKeyMissing "office.idempotency-key.missing" DoNotRetry "The header Idempotency-Key is required: 1 to 255 visible ASCII characters, new for each submission."
    IdempotencyKeyReused "office.idempotency-key.reused" DoNotRetry "This Idempotency-Key was used for another request before. Use a new key."
    ServiceUnknown "office.service.unknown" DoNotRetry "There is no such service in this office's catalogue."
    AttachmentUnknown "office.attachment.unknown" DoNotRetry "An attachment that the submission names was not uploaded by this office, or has been erased."
    AttachmentNotTaken "office.attachment.not-taken" DoNotRetry "The service takes no attachments, or other ones, or another number of them, or not so large ones together. The catalogue says which."
    AttachmentTooLarge "office.attachment.too-large" DoNotRetry "The attachment is larger than allowed."
    AttachmentQuota "office.attachment.quota" Retry "This office has uploaded as much as it may without using it. Name the attachments in submissions, or wait a day until unused ones are forgotten."
    AttachmentMediaType "office.attachment.media-type" DoNotRetry "Attachments of this media type are not taken."
    AttachmentDigest "office.attachment.digest" DoNotRetry "The attachment's bytes do not have the digest that the request names."
    NotCancellable "office.submission.not-cancellable" DoNotRetry "The submission has been sent or has ended and can no longer be cancelled."
    RateLimited "office.rate-limited" Retry "This office has sent more requests than it may. Try again after the time named."

    Overloaded "bus.overloaded" Retry "Too much work is under way. Try again after the time named."
    ShuttingDown "bus.shutting-down" Retry "This server is being stopped. Try again."
    JournalUnavailable "bus.journal.unavailable" Retry "The request could not be recorded and was not accepted. Try again with the same Idempotency-Key."
    Internal "bus.internal" DoNotRetry "Something failed inside. The operator finds it under the trace id."
    AgencyUnknown "bus.agency.unknown" DoNotRetry "The agency of this submission is no longer configured."
    OperationUnknown "bus.operation.unknown" DoNotRetry "The agency's adapter no longer has this service."
    TemplateFailed "bus.template.failed" DoNotRetry "The request could not be put into the agency's form."
    ContractBroken "bus.request.contract" DoNotRetry "The request, in the agency's form, does not fit the agency's contract. It was not sent."
    AttachmentLost "bus.attachment.lost" DoNotRetry "The bytes of an attachment are no longer there."
    SealFailed "bus.seal.failed" DoNotRetry "The request could not be signed. It was not sent."
    IdentityUnusable "bus.identity.unusable" Retry "The key or certificate for this agency cannot be used. Nothing was sent."
    CredentialsRefused "bus.credentials.refused" Unknown "The agency's server does not let this installation in: it does not accept the installation's certificate, key or token."
    IdentityRefused "bus.identity.refused" Retry "The agency does not accept the bus's certificate, and has done nothing. The operators have been told."
    IdentityRefusedLate "bus.identity.refused-late" Unknown "The agency refused the bus's certificate after the request had been sent. Whether it has acted is not known."
    JournalRestored "bus.journal.restored" Unknown "The submission may have been sent before the journal was restored from an earlier state, and its outcome is not known."
    Interrupted "bus.worker.interrupted" Unknown "The worker stopped while the request was under way."
    DeadlinePassed "bus.deadline.passed" DoNotRetry "The submission's deadline passed before it could be delivered."
    DeadlineInDoubt "bus.deadline.in-doubt" Unknown "The deadline passed after the request had been sent, and its outcome is not known."
    AnswerMappingFailed "bus.answer.mapping" Unknown "The agency answered, but its answer could not be put into the standard form."
    WebhookFailed "bus.webhook.failed" Retry "The office's webhook did not take the notice."
    WebhookAddress "bus.webhook.address" DoNotRetry "The office's webhook resolves to an address that is not allowed."

    NetworkConnect "network.connect" Retry "No connection to the agency could be made. Nothing was sent."
    NetworkTls "network.tls" Retry "The secure connection to the agency could not be made. Nothing was sent."
    NetworkTimeout "network.timeout" Unknown "The agency did not answer in time."
    NetworkTlsBroken "network.tls-broken" Unknown "The secure connection to the agency broke after the request had been sent."
    NetworkReset "network.reset" Unknown "The connection broke before the answer had arrived."

    AgencyAway "agency.away" Retry "The agency is not well: it has failed again and again, or does not answer a question about its health. Nothing is sent to it until it is well again; the submission waits."
    AgencyCertificate "agency.certificate" Retry "The agency's server certificate is not the one expected. Nothing was sent."
    AgencyRenegotiation "agency.tls.renegotiation" Unknown "The agency asked for a new secure connection in the middle of the exchange, which is not possible. Its operators must ask for the client certificate at the beginning."
    AgencyRateLimited "agency.http.rate-limited" Unknown "The agency asks for fewer requests."
    AgencyUnavailable "agency.http.unavailable" Unknown "The agency says that it is not available now."
    AgencyServerError "agency.http.server-error" Unknown "The agency failed while it handled the request."
    AgencyNoVerdict "agency.http.no-verdict" Unknown "What was answered in the agency's place says nothing of the request itself: a page for people, or a status such as that of an address that is not there."
    AgencyClientError "agency.http.client-error" DoNotRetryInDoubt "The agency does not take the request as it was sent."
    AgencyRedirect "agency.http.redirect" Unknown "The agency answered with a redirect, which is never followed."
    AgencySoapServerFault "agency.soap-fault.server" Unknown "The agency answered with a SOAP fault of its own."
    AgencySoapClientFault "agency.soap-fault.client" DoNotRetryInDoubt "The agency answered that the SOAP request is at fault."
    AgencyFault "agency.fault" DoNotRetry "The agency reported a fault."
    AgencyFaultTransient "agency.fault.transient" Retry "The agency reported a passing fault."
    AgencyLookupUnclear "agency.lookup.unclear" Unknown "The agency was asked for the outcome and gave no clear answer."
    AnswerTooLarge "agency.answer.too-large" Unknown "The agency's answer is larger than allowed."
    AnswerEncoding "agency.answer.encoding" Unknown "The agency's answer is compressed or put together in a way that is not read."
    AnswerMediaType "agency.answer.media-type" Unknown "The agency's answer is not of the expected media type."
    AnswerNotXml "agency.answer.not-xml" Unknown "The agency's answer is not well-formed XML, or breaks a safety limit."
    AnswerNotJson "agency.answer.not-json" Unknown "The agency's answer is not valid JSON, or breaks a safety limit."
    AnswerUnexpected "agency.answer.unexpected" Unknown "The agency's answer is not the one that its contract describes."
    AnswerSignature "agency.answer.signature" Unknown "The signature of the agency's answer could not be verified."
    AnswerMismatched "agency.answer.mismatched" Unknown "The agency's answer belongs to another request."
    AnswerSchema "agency.answer.schema" Unknown "The agency's answer does not fit the service's answer schema."
}

impl Code {
    pub fn origin(self) -> Origin {
        match self.as_str().split('.').next() {
            Some("office") => Origin::Office,
            Some("network") => Origin::Network,
            Some("agency") => Origin::Agency,
            _ => Origin::Bus,
        }
    }

    /// It says that the agency is away or takes nothing now, and nothing of the submission. Whether the agency can have
    /// acted, the verdict says and not this.
    pub fn is_absence(self) -> bool {
        matches!(
            self,
            Code::NetworkConnect
                | Code::NetworkTls
                | Code::AgencyAway
                | Code::AgencyCertificate
                | Code::AgencyRateLimited
                | Code::AgencyUnavailable
                | Code::IdentityRefused
        )
    }

    pub fn from_code(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const MAX_DETAIL_CHARS: usize = 600;
/// Personal numbers are longer than what counts, sizes and codes need: the shortest known here has eight digits between
/// two letters.
const LONGEST_NUMBER: usize = 7;

/// Somebody else's words, fit to be told: one line of bounded length, without control characters and without any number
/// that is long enough to be a person's.
pub fn redact_for_display(text: &str, max_chars: usize) -> String {
    // More than is told, so that no number is cut short before it is seen to be long.
    let line: String =
        text.chars().take(max_chars.saturating_mul(2)).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut told = String::with_capacity(line.len());
    let mut rest = line.as_str();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_numeric()).unwrap_or(rest.len());
        let others = rest.find(char::is_numeric).unwrap_or(rest.len());
        let (part, after) = rest.split_at(digits.max(others));
        told.push_str(if part.chars().take_while(|c| c.is_numeric()).count() > LONGEST_NUMBER { "…" } else { part });
        rest = after;
    }
    told.chars().take(max_chars).collect()
}

/// A number of our own, which [`redact_for_display`] would take for a person's if its digits were not in groups.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Libraries end some of their errors with the address of their documentation, which helps whoever programs with them and
/// nobody else.
fn without_manuals(text: &str) -> String {
    let mut rest = text;
    let mut kept = String::with_capacity(text.len());
    while let Some(at) = rest.find("https://docs.rs/") {
        let (before, from) = rest.split_at(at);
        kept.push_str(before.trim_end_matches([' ', ':', '(', ',']));
        rest = from.find(char::is_whitespace).map_or("", |end| from.split_at(end).1);
    }
    kept + rest
}

/// One failure. `detail` is for operators: it may name endpoints and places, never a person or a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub code: Code,
    pub stage: Stage,
    pub verdict: Verdict,
    pub detail: String,
    /// How long the other side asked us to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault with the code's own verdict.
    pub fn new(code: Code, stage: Stage, detail: impl fmt::Display) -> Self {
        let detail = redact_for_display(without_manuals(&detail.to_string()).as_str(), MAX_DETAIL_CHARS);
        Self { code, stage, verdict: code.verdict(), detail, retry_after: None }
    }

    pub fn with_retry_after(self, wait: Option<Duration>) -> Self {
        Self { retry_after: wait, ..self }
    }

    pub fn public_text(&self) -> &'static str {
        self.code.public_text()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn somebody_elses_words_are_told_on_one_short_line_without_long_numbers() {
        assert_eq!(redact_for_display("a\nb\u{1b}[31m\u{0}c\u{85}d", 100), "a b [31m c d");
        assert_eq!(redact_for_display("x2000000000001y 1234567 A12345678B", 100), "x…y 1234567 A…B");
        assert_eq!(redact_for_display("٢٠٠٠٠٠٠٠٠٠٠٠١", 100), "…");
        assert_eq!(redact_for_display(&"é".repeat(50), 7), "é".repeat(7));
        assert_eq!(redact_for_display("", 7), "");
        let fault = Fault::new(Code::AgencyFault, Stage::Read, "A\r\nINFO forged 2000000000001".repeat(1000));
        assert!(fault.detail.chars().count() <= MAX_DETAIL_CHARS);
        assert!(!fault.to_string().contains(['\r', '\n']) && !fault.detail.contains("2000000000001"));
    }

    #[test]
    fn our_own_limits_are_told_whole() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (10_000_000, "10,000,000")] {
            let fault = Fault::new(Code::AnswerTooLarge, Stage::Read, format!("{} bytes", grouped(number)));
            assert_eq!(fault.detail, format!("{text} bytes"));
        }
    }

    #[test]
    fn addresses_of_libraries_documentation_are_left_out() {
        let eof = "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/manual/x#eof";
        let fault = Fault::new(Code::AgencyFault, Stage::Send, format!("{eof} and more"));
        assert_eq!(fault.detail, "peer closed connection without sending TLS close_notify and more");
        let plain = Fault::new(Code::AgencyFault, Stage::Send, "https://registry.example/person");
        assert_eq!(plain.detail, "https://registry.example/person");
    }

    #[test]
    fn every_code_is_unique_and_begins_with_its_owner() {
        let texts: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for code in Code::ALL {
            let owner = code.as_str().split('.').next().unwrap_or_default();
            assert!(["office", "bus", "network", "agency"].contains(&owner), "{code}");
            assert_eq!(Code::from_code(code.as_str()), Some(*code));
            assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        }
    }
}
