//! A prepared envelope, a profile and an identity come in; the same envelope, signed, goes out.
//!
//! Timestamp, token and SignedInfo are written in their canonical form, so that nothing is canonicalized here.

use super::{
    names,
    prepare::{Prepared, WssError, prepare},
    reference::{Transform, reference},
};
use crate::{
    domain::later,
    trust::{Identity, WssProfile},
    xml,
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;

pub fn sign(envelope: &str, profile: &WssProfile, identity: &Identity, now: Timestamp) -> Result<String, WssError> {
    prepare(&xml::parse(envelope)?, profile)?.sign(profile, identity, now)
}

impl Prepared {
    /// `profile`: the same.
    pub fn sign(self, profile: &WssProfile, identity: &Identity, now: Timestamp) -> Result<String, WssError> {
        let Self { mut text, security_at, soap, unique, references } = self;
        let (timestamp, token) = (timestamp(profile, &unique, now), token_rest(identity));
        let references = of_security(profile, &unique, &timestamp, &token) + &references;
        let signature = signature(&references, profile, identity, &unique)?;
        let token = token_start(profile, &unique, Written::InPlace) + &token;
        text.insert_str(security_at, &security(soap, profile, &token, &timestamp, &signature));
        Ok(text)
    }
}

/// References to what is signed within the Security header.
fn of_security(profile: &WssProfile, unique: &str, timestamp: &str, token_rest: &str) -> String {
    let (_, algorithm) = names::digest_for(profile.algorithm);
    let digested = digest::digest(algorithm, timestamp.as_bytes());
    let mut references = reference(profile, &format!("TS-{unique}"), Transform::Exclusive, digested.as_ref());
    if profile.sign_token {
        let canonical = token_start(profile, unique, Written::Canonical) + token_rest;
        let digested = digest::digest(algorithm, canonical.as_bytes());
        references += &reference(profile, &format!("STR-{unique}"), Transform::Token, digested.as_ref());
    }
    references
}

fn timestamp(profile: &WssProfile, unique: &str, now: Timestamp) -> String {
    let (created, expires) = (written(now), written(later(now, profile.ttl)));
    format!(
        "<wsu:Timestamp xmlns:wsu=\"{}\" wsu:Id=\"TS-{unique}\"><wsu:Created>{created}</wsu:Created><wsu:Expires>{expires}</wsu:Expires></wsu:Timestamp>",
        names::WSU
    )
}

fn written(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

/// The header, with all that it consists of.
fn security(soap: &str, profile: &WssProfile, token: &str, timestamp: &str, signature: &str) -> String {
    let must_understand = match (profile.must_understand, soap == names::SOAP11) {
        (false, _) => String::new(),
        (true, true) => format!(" xmlns:soapenv=\"{soap}\" soapenv:mustUnderstand=\"1\""),
        (true, false) => format!(" xmlns:soapenv=\"{soap}\" soapenv:mustUnderstand=\"true\""),
    };
    format!(
        "<wsse:Security xmlns:wsse=\"{}\" xmlns:wsu=\"{}\"{must_understand}>{token}{timestamp}{signature}</wsse:Security>",
        names::WSSE,
        names::WSU,
    )
}

#[derive(Clone, Copy)]
enum Written {
    /// Below our Security header, which declares the prefixes.
    InPlace,
    /// As STR-Transform makes it.
    Canonical,
}

/// A signed token says that it has no default namespace, so that its canonical form does not depend on the envelope.
fn token_start(profile: &WssProfile, unique: &str, written: Written) -> String {
    let declarations = match written {
        Written::Canonical => format!(" xmlns=\"\" xmlns:wsse=\"{}\" xmlns:wsu=\"{}\"", names::WSSE, names::WSU),
        Written::InPlace if profile.sign_token => " xmlns=\"\"".to_owned(),
        Written::InPlace => String::new(),
    };
    format!(
        "<wsse:BinarySecurityToken{declarations} EncodingType=\"{}\" ValueType=\"{}\" wsu:Id=\"X509-{unique}\">",
        names::BASE64_BINARY,
        names::X509_V3,
    )
}

fn token_rest(identity: &Identity) -> String {
    format!("{}</wsse:BinarySecurityToken>", STANDARD.encode(&identity.certificate.der))
}

fn signature(references: &str, profile: &WssProfile, identity: &Identity, unique: &str) -> Result<String, WssError> {
    let signed_info = format!(
        "<ds:SignedInfo xmlns:ds=\"{}\"><ds:CanonicalizationMethod Algorithm=\"{}\"></ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"{}\"></ds:SignatureMethod>{references}</ds:SignedInfo>",
        names::DS,
        names::EXC_C14N,
        names::uri_of(profile.algorithm),
    );
    let value = STANDARD.encode(identity.signer().sign(profile.algorithm, signed_info.as_bytes())?);
    let identifier = if profile.sign_token { format!(" wsu:Id=\"STR-{unique}\"") } else { String::new() };
    Ok(format!(
        "<ds:Signature xmlns:ds=\"{}\" Id=\"SIG-{unique}\">{signed_info}<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo><wsse:SecurityTokenReference{identifier}><wsse:Reference URI=\"#X509-{unique}\" ValueType=\"{}\"></wsse:Reference></wsse:SecurityTokenReference></ds:KeyInfo></ds:Signature>",
        names::DS,
        names::X509_V3,
    ))
}
