//! A webhook's body and the receiver's secrets come in; the signature of Standard Webhooks 1.0, or its verdict, goes out.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use std::{fmt, str::FromStr};

pub const ID_HEADER: &str = "webhook-id";
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// Clocks may differ by this much (the specification leaves it to the receiver).
const TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// A shared secret, written `whsec_<base64>`. It never prints.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WebhookRefusal {
    #[error(
        "a webhook secret is written whsec_ and then the base64 of 24 to 64 bytes, as `echo whsec_$(openssl rand -base64 32)` makes one"
    )]
    Secret,
    #[error("the webhook's timestamp is not a number")]
    Timestamp,
    #[error("the webhook is too old")]
    Stale,
    #[error("the webhook is from the future")]
    FromTheFuture,
    #[error("no signature of the webhook holds")]
    Signature,
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

impl FromStr for WebhookSecret {
    type Err = WebhookRefusal;

    fn from_str(text: &str) -> Result<Self, WebhookRefusal> {
        let encoded = text.strip_prefix("whsec_").ok_or(WebhookRefusal::Secret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| WebhookRefusal::Secret)?;
        match (24..=64).contains(&bytes.len()) {
            true => Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes))),
            false => Err(WebhookRefusal::Secret),
        }
    }
}

/// The value of `webhook-signature`: one signature for each secret, so that secrets can be rotated without a gap.
pub fn sign(secrets: &[WebhookSecret], id: &str, at: Timestamp, body: &[u8]) -> String {
    let content = signed_content(id, &at.as_second().to_string(), body);
    let one = |secret: &WebhookSecret| format!("v1,{}", STANDARD.encode(hmac::sign(&secret.0, &content)));
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Accepts if any signature holds with any secret.
pub fn verify(
    secrets: &[WebhookSecret],
    (id, timestamp, signatures): (&str, &str, &str),
    body: &[u8],
    now: Timestamp,
) -> Result<(), WebhookRefusal> {
    let seconds: i64 = timestamp.parse().map_err(|_| WebhookRefusal::Timestamp)?;
    let at = Timestamp::from_second(seconds).map_err(|_| WebhookRefusal::Timestamp)?;
    match now.duration_since(at) {
        age if age > TOLERANCE => return Err(WebhookRefusal::Stale),
        age if age < -TOLERANCE => return Err(WebhookRefusal::FromTheFuture),
        _ => {}
    }
    let content = signed_content(id, timestamp, body);
    let candidates = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,"));
    let holds = candidates
        .filter_map(|encoded| STANDARD.decode(encoded).ok())
        .any(|tag| secrets.iter().any(|secret| hmac::verify(&secret.0, &content, &tag).is_ok()));
    holds.then_some(()).ok_or(WebhookRefusal::Signature)
}

fn signed_content(id: &str, timestamp: &str, body: &[u8]) -> Vec<u8> {
    [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> WebhookSecret {
        format!("whsec_{}", STANDARD.encode([byte; 24])).parse().unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_specifications_own_example_comes_out() {
        let secret: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap();
        let signature = sign(&[secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", at(1_614_265_330), br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn either_secret_verifies_while_they_are_rotated() {
        let (old, new) = (secret(1), secret(2));
        let signature = sign(&[old.clone(), new.clone()], "id", at(1000), b"body");
        let headers = ("id", "1000", signature.as_str());
        for secrets in [vec![old], vec![new]] {
            assert_eq!(verify(&secrets, headers, b"body", at(1000)), Ok(()));
        }
        assert_eq!(verify(&[secret(3)], headers, b"body", at(1000)), Err(WebhookRefusal::Signature));
    }

    #[test]
    fn another_body_id_or_time_is_refused() {
        let signature = sign(&[secret(1)], "id", at(1000), b"body");
        let verify = |id, time, body, now| verify(&[secret(1)], (id, time, &signature), body, at(now));
        assert_eq!(verify("id", "1000", &b"other"[..], 1000), Err(WebhookRefusal::Signature));
        assert_eq!(verify("other", "1000", b"body", 1000), Err(WebhookRefusal::Signature));
        assert_eq!(verify("id", "1001", b"body", 1000), Err(WebhookRefusal::Signature));
        assert_eq!(verify("id", "1000", b"body", 1301), Err(WebhookRefusal::Stale));
        assert_eq!(verify("id", "1000", b"body", 699), Err(WebhookRefusal::FromTheFuture));
        assert_eq!(verify("id", "x", b"body", 1000), Err(WebhookRefusal::Timestamp));
    }

    #[test]
    fn a_secret_never_prints_and_must_be_long_enough() {
        assert_eq!(format!("{:?}", secret(7)), "WebhookSecret(…)");
        for bad in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!"] {
            let refusal = bad.parse::<WebhookSecret>().unwrap_err().to_string();
            assert!(refusal.contains("openssl rand -base64 32"), "{bad}: {refusal}");
        }
    }
}
