//! Correlation: what a filter made of an answer comes in; whether that answer belongs to our request goes out, or the
//! refusal.

use super::EarlierReplies;
use crate::{
    adapter::{BodyOf, Correlates, CorrelationFields, Mapped, Reading},
    domain::{Code, Effect, Fault, MessageId, Stage, SubmissionId, Verdict, lower_hex},
};
use aws_lc_rs::digest::{self, SHA256, SHA512};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};

/// What an answer's words about its request are held against.
pub struct SentRequest<'a> {
    pub reference: SubmissionId,
    /// The person that the request is about.
    pub subject: &'a str,
    /// Of the request's body as it was sent; none where no filter asks for it.
    pub digests: &'a [String],
    pub effect: Effect,
    pub correlates: &'a Correlates,
    /// Whether the agency signs its answers.
    pub is_signed: bool,
    /// Which of our messages is answered.
    pub message: MessageId,
    /// Which request the digests name.
    pub body_of: BodyOf,
    /// What may have been said of our reference before.
    pub earlier: EarlierReplies,
}

/// A reading that counts.
pub struct CheckedReading {
    pub reading: Reading,
    /// Nothing in it says to which request it belongs: its like must not have come before.
    pub is_uncorrelated: bool,
}

/// SHA-256 and SHA-512 of a request's body, in the forms in which agencies repeat them.
pub fn digests(body: &[u8]) -> Vec<String> {
    let of = |algorithm| {
        let bytes = digest::digest(algorithm, body);
        [lower_hex(bytes), STANDARD.encode(bytes)]
    };
    [of(&SHA256), of(&SHA512)].concat()
}

/// `signed_at`: by the agency's clock, if its seal tells.
pub fn check(
    mapped: Mapped,
    sent: &SentRequest<'_>,
    signed_at: Option<Timestamp>,
    max_skew: SignedDuration,
) -> Result<CheckedReading, Fault> {
    if let Some(text) = mismatch(&mapped.correlation, sent) {
        return Err(mismatched(text));
    }
    let is_bound = mapped.correlation.binds(sent.effect, sent.body_of);
    match mapped.reading {
        // "Never seen" has it sent again: it must be an answer to this very question, whatever the folder says.
        Reading::NotSeen if !is_bound => {
            Err(mismatched("it says that our reference was never seen, and nothing in it names that reference"))
        }
        Reading::Answered { .. } | Reading::Refused { .. } | Reading::Waiting
            if !is_bound && *sent.correlates == Correlates::Yes =>
        {
            Err(mismatched("it names no reference, and nothing else in it binds it to our request"))
        }
        // Where the agency does not sign, the folder's own filter is what is believed.
        Reading::Failed { code, transient, .. } if !is_bound && sent.is_signed => {
            Err(in_doubt(&code, transient, "nothing in it names our request"))
        }
        // An older one would be just as true of an earlier attempt. A read changes nothing, whatever has come of it.
        Reading::Failed { code, transient, .. }
            if sent.is_signed
                && sent.effect != Effect::Read
                && !names_this_message(&mapped.correlation, sent)
                && !sent.earlier.is_over_before(signed_at, max_skew) =>
        {
            Err(in_doubt(&code, transient, "it may be an older word, of an earlier attempt"))
        }
        reading => {
            let counts = matches!(reading, Reading::Answered { .. } | Reading::Refused { .. } | Reading::Waiting);
            Ok(CheckedReading { reading, is_uncorrelated: counts && !is_bound })
        }
    }
}

/// What the answer says of its request and is not true of ours: the answer is somebody else's.
fn mismatch(correlation: &CorrelationFields, sent: &SentRequest<'_>) -> Option<&'static str> {
    let is_other = |named: &Option<String>, is_ours: &dyn Fn(&str) -> bool| {
        named.as_deref().is_some_and(|named| !is_ours(named.trim()))
    };
    if is_other(&correlation.reference, &|named| named.parse() == Ok(sent.reference)) {
        return Some("it names another reference");
    }
    if is_other(&correlation.subject, &|named| named == sent.subject) {
        return Some("it is about somebody else");
    }
    // Hexadecimal digits may be of either case; in base64 each case is a digit of its own.
    let is_ours = |named: &str| {
        let hex = is_hex(named).then(|| named.to_ascii_lowercase());
        sent.digests.iter().any(|digest| digest == named || Some(digest) == hex.as_ref())
    };
    if is_other(&correlation.request_digest, &is_ours) {
        return Some("it names the digest of another request");
    }
    let message = sent.message.to_string();
    is_other(&correlation.message_id, &|named| named == message).then_some("it answers another message")
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// `correlation`: nothing in it is another's.
fn names_this_message(correlation: &CorrelationFields, sent: &SentRequest<'_>) -> bool {
    correlation.message_id.is_some() || (correlation.request_digest.is_some() && sent.body_of == BodyOf::Message)
}

/// A signed fault that might be about another request, or another attempt, is as good as an unsigned one.
fn in_doubt(code: &str, transient: bool, why: &str) -> Fault {
    let (kind, verdict) = match transient {
        true => (Code::AgencyFaultTransient, Verdict::Unknown),
        false => (Code::AgencyFault, Verdict::DoNotRetryInDoubt),
    };
    let detail = format!("the agency's code is {code}; {why}");
    Fault { verdict, ..Fault::new(kind, Stage::Read, detail) }
}

fn mismatched(text: &str) -> Fault {
    Fault::new(Code::AnswerMismatched, Stage::Read, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn verdict(written: serde_json::Value, effect: Effect, correlates: Correlates, is_signed: bool) -> String {
        let reference = SubmissionId::from(uuid::Uuid::max());
        let digests = digests(b"request");
        let (subject, correlates) = ("2000000000001", &correlates);
        let (message, earlier) = (uuid::Uuid::nil().into(), EarlierReplies::Nothing);
        let body_of = BodyOf::Submission;
        let sent = SentRequest {
            reference,
            subject,
            digests: &digests,
            effect,
            correlates,
            is_signed,
            message,
            body_of,
            earlier,
        };
        told(written, &sent, None)
    }

    fn told(written: serde_json::Value, sent: &SentRequest<'_>, signed_at: Option<Timestamp>) -> String {
        match check(Mapped::from_json(Some(written)).unwrap(), sent, signed_at, SignedDuration::from_secs(60)) {
            Ok(CheckedReading { is_uncorrelated: true, .. }) => "uncorrelated".into(),
            Ok(_) => "ours".into(),
            Err(fault) => format!("{} {:?}", fault.code, fault.verdict),
        }
    }

    const MISMATCHED: &str = "agency.answer.mismatched Unknown";

    #[test]
    fn reference_digest_and_for_reads_the_subject_bind_an_answer() {
        let reference = uuid::Uuid::max().to_string();
        let another = digests(b"another request");
        let own = digests(b"request");
        let (hex, base64) = (&own[0], &own[1]);
        for effect in Effect::ALL {
            let of = |correlation: serde_json::Value| {
                let mut written = json!({"answer": {}});
                written.as_object_mut().unwrap().extend(correlation.as_object().unwrap().clone());
                verdict(written, effect, Correlates::Yes, true)
            };
            assert_eq!(of(json!({"reference": reference})), "ours");
            assert_eq!(of(json!({"reference": "another"})), MISMATCHED);
            assert_eq!(of(json!({"reference": reference, "subject": "another"})), MISMATCHED);
            for digest in digests(b"request") {
                assert_eq!(of(json!({"request_digest": digest})), "ours");
                assert_eq!(of(json!({"request_digest": digest, "reference": "another"})), MISMATCHED);
            }
            assert_eq!(of(json!({"request_digest": hex.to_uppercase()})), "ours");
            assert_eq!(of(json!({"reference": reference.to_uppercase()})), "ours");
            for other in another.iter().chain([&base64.to_lowercase(), &base64.to_uppercase()]) {
                assert_eq!(of(json!({"request_digest": other})), MISMATCHED, "{other}");
            }
            let by_subject = if effect == Effect::Read { "ours" } else { MISMATCHED };
            assert_eq!(of(json!({"subject": "2000000000001"})), by_subject, "{effect:?}");
            assert_eq!(of(json!({})), MISMATCHED);
        }
    }

    #[test]
    fn what_cannot_be_bound_is_uncorrelated_and_never_seen_is_then_believed_of_nobody() {
        let cannot = || Correlates::Cannot("no field".into());
        assert_eq!(verdict(json!({"answer": {}}), Effect::Once, cannot(), true), "uncorrelated");
        assert_eq!(verdict(json!({"answer": {}, "reference": "another"}), Effect::Once, cannot(), true), MISMATCHED);
        for is_signed in [true, false] {
            assert_eq!(verdict(json!({"not_seen": true}), Effect::Lookup, cannot(), is_signed), MISMATCHED);
        }
    }

    #[test]
    fn a_fault_that_names_no_request_makes_nothing_certain_unless_the_agency_never_signs() {
        let fault = |transient: bool| json!({"fault": {"code": "c", "text": "t", "transient": transient}});
        let of = |transient, is_signed| verdict(fault(transient), Effect::Once, Correlates::Yes, is_signed);
        assert_eq!(of(true, true), "agency.fault.transient Unknown");
        assert_eq!(of(false, true), "agency.fault DoNotRetryInDoubt");
        assert_eq!((of(true, false), of(false, false)), ("ours".into(), "ours".into()));
    }

    #[test]
    fn a_second_nothing_was_done_is_certain_only_if_it_cannot_be_an_older_one() {
        let (subject, correlates, digests) = ("2000000000001", &Correlates::Yes, digests(b"request"));
        let (reference, message) = (SubmissionId::from(uuid::Uuid::nil()), MessageId::new());
        let at = |second| Timestamp::from_second(second).unwrap();
        let sent = |effect, earlier, body_of| SentRequest {
            reference,
            subject,
            digests: &digests,
            effect,
            correlates,
            is_signed: true,
            message,
            body_of,
            earlier,
        };
        let fault = |transient: bool, key: &str, value: &str| json!({"fault": {"code": "c", "text": "t", "transient": transient}, key: value});
        let by_reference = |transient| fault(transient, "reference", &reference.to_string());
        let earlier = EarlierReplies::Until(at(1000));
        for effect in [Effect::Once, Effect::Lookup, Effect::Idempotent] {
            let of = |earlier, signed_at| told(by_reference(true), &sent(effect, earlier, BodyOf::Message), signed_at);
            assert_eq!(of(EarlierReplies::Nothing, None), "ours");
            assert_eq!(of(earlier, None), "agency.fault.transient Unknown");
            assert_eq!(of(earlier, Some(at(1060))), "agency.fault.transient Unknown");
            assert_eq!(of(earlier, Some(at(1061))), "ours");
            assert_eq!(of(EarlierReplies::Unknown, Some(Timestamp::MAX)), "agency.fault.transient Unknown");
            let lasting = told(by_reference(false), &sent(effect, earlier, BodyOf::Message), None);
            assert_eq!(lasting, "agency.fault DoNotRetryInDoubt");
            let digest = |of| told(fault(true, "request_digest", &digests[0]), &sent(effect, earlier, of), None);
            assert_eq!(digest(BodyOf::Message), "ours");
            for other in [BodyOf::NoBody, BodyOf::NotUnique, BodyOf::Submission] {
                assert_eq!(digest(other), "agency.fault.transient Unknown", "{other:?}");
            }
            let named = |id: MessageId| {
                told(fault(true, "message_id", &id.to_string()), &sent(effect, earlier, BodyOf::Submission), None)
            };
            assert_eq!((named(message).as_str(), named(MessageId::new()).as_str()), ("ours", MISMATCHED));
        }
        let read = told(by_reference(true), &sent(Effect::Read, EarlierReplies::Unknown, BodyOf::Submission), None);
        assert_eq!(read, "ours");
    }

    #[test]
    fn a_digest_that_other_requests_have_binds_nothing_but_the_same_question() {
        let digests = digests(b"");
        let all = Effect::ALL.into_iter().flat_map(|effect| EVERY.map(|body_of| (effect, body_of)));
        for (effect, body_of) in all {
            for mut written in [json!({"answer": {}}), json!({"not_seen": true})] {
                let sent = SentRequest {
                    reference: SubmissionId::from(uuid::Uuid::nil()),
                    subject: "2000000000001",
                    digests: &digests,
                    effect,
                    correlates: &Correlates::Yes,
                    is_signed: true,
                    message: MessageId::new(),
                    body_of,
                    earlier: EarlierReplies::Nothing,
                };
                written["request_digest"] = digests[0].as_str().into();
                let is_bound = match body_of {
                    BodyOf::NoBody => false,
                    BodyOf::NotUnique => effect == Effect::Read,
                    BodyOf::Submission | BodyOf::Message => true,
                };
                let expected = if is_bound { "ours" } else { MISMATCHED };
                assert_eq!(told(written, &sent, None), expected, "{effect:?} {body_of:?}");
            }
        }
    }

    const EVERY: [BodyOf; 4] = [BodyOf::NoBody, BodyOf::NotUnique, BodyOf::Submission, BodyOf::Message];
}
