//! A fault's code comes in; the HTTP status of the answer to a request that it ends goes out.

use crate::domain::Code;
use http::StatusCode;

/// The only place where a code becomes an HTTP status. Agencies' and networks' codes are told inside a submission and
/// never end a request.
pub fn status_of(code: Code) -> StatusCode {
    match code {
        Code::RequestFraming
        | Code::RequestPlainHttp
        | Code::RequestHeader
        | Code::RequestParameter
        | Code::RequestNotUtf8
        | Code::RequestInvalidJson
        | Code::RequestTooDeep
        | Code::RequestDuplicateKey
        | Code::IdempotencyKeyMissing => StatusCode::BAD_REQUEST,
        Code::CertificateMissing
        | Code::CertificateInvalid
        | Code::CertificateExpired
        | Code::CertificateNotYetValid
        | Code::CertificateRevoked
        | Code::CertificateUnknownIssuer
        | Code::CertificateUnknownOffice => StatusCode::FORBIDDEN,
        Code::RequestNotFound => StatusCode::NOT_FOUND,
        Code::RequestMethod => StatusCode::METHOD_NOT_ALLOWED,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::NotCancellable => StatusCode::CONFLICT,
        Code::RequestTooLarge | Code::AttachmentTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::RequestMediaType | Code::AttachmentMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Code::RequestSchema
        | Code::RequestCharacter
        | Code::RequestExpiresAt
        | Code::IdempotencyKeyReused
        | Code::ServiceUnknown
        | Code::AttachmentUnknown
        | Code::AttachmentNotTaken
        | Code::AttachmentDigest => StatusCode::UNPROCESSABLE_ENTITY,
        Code::RateLimited | Code::AttachmentQuota => StatusCode::TOO_MANY_REQUESTS,
        Code::Overloaded | Code::ShuttingDown | Code::JournalUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal
        | Code::AgencyUnknown
        | Code::OperationUnknown
        | Code::TemplateFailed
        | Code::ContractBroken
        | Code::AttachmentLost
        | Code::SealFailed
        | Code::IdentityUnusable
        | Code::IdentityRefused
        | Code::IdentityRefusedLate
        | Code::Interrupted
        | Code::DeadlinePassed
        | Code::DeadlineInDoubt
        | Code::AnswerMappingFailed
        | Code::WebhookFailed
        | Code::WebhookAddress
        | Code::NetworkConnect
        | Code::NetworkTls
        | Code::NetworkTimeout
        | Code::NetworkTlsBroken
        | Code::NetworkReset
        | Code::AgencyCertificate
        | Code::AgencyRenegotiation
        | Code::AgencyRateLimited
        | Code::AgencyAway
        | Code::AgencyUnavailable
        | Code::AgencyServerError
        | Code::AgencyClientError
        | Code::AgencyRedirect
        | Code::AgencySoapServerFault
        | Code::AgencySoapClientFault
        | Code::AgencyFault
        | Code::AgencyFaultTransient
        | Code::AgencyLookupUnclear
        | Code::AnswerTooLarge
        | Code::AnswerEncoding
        | Code::AnswerMediaType
        | Code::AnswerNotXml
        | Code::AnswerNotJson
        | Code::AnswerUnexpected
        | Code::AnswerSignature
        | Code::AnswerMismatched
        | Code::CredentialsRefused
        | Code::AgencyNoVerdict
        | Code::AnswerSchema
        | Code::JournalRestored => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Origin;

    #[test]
    fn a_fault_of_the_office_is_a_client_error_and_any_other_a_server_error() {
        for code in Code::ALL {
            let status = status_of(*code);
            let is_offices = code.origin() == Origin::Office;
            assert_eq!(status.is_client_error(), is_offices, "{code} → {status}");
            assert_eq!(status.is_server_error(), !is_offices, "{code} → {status}");
        }
    }
}
