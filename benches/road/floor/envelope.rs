//! A message as Punte signs them comes in once; copies of it go out, each digested and signed anew. The copies are no
//! valid WS-Security, but as long as such, and as much work for the key.

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use punte::trust::{Algorithm, Identity, SignedHeader, WssProfile, wss};
use std::{ops::Range, path::Path};

pub struct Envelope {
    identity: Identity,
    algorithm: Algorithm,
    template: Vec<u8>,
    /// What is digested, what is signed, and where the results stand.
    body: Range<usize>,
    signed_info: Range<usize>,
    digest: Range<usize>,
    value: Range<usize>,
}

const NAMESPACE: &str = "urn:example:civil-registry:1";
const REQUEST: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:cr="urn:example:civil-registry:1">
  <soap:Header>
    <cr:CallingUser>2000000000900</cr:CallingUser>
    <cr:CallingEntity>1000000000001</cr:CallingEntity>
    <cr:CallBasis>Law 100/2020, art. 5</cr:CallBasis>
    <cr:CallReason>Application 123</cr:CallReason>
  </soap:Header>
  <soap:Body>
    <cr:LookUpPerson>
      <cr:PersonalNumber>2000000000001</cr:PersonalNumber>
      <cr:WithAddress>false</cr:WithAddress>
    </cr:LookUpPerson>
  </soap:Body>
</soap:Envelope>"#;

impl Envelope {
    pub fn new(keys: &Path) -> anyhow::Result<Self> {
        let now = Timestamp::now();
        let identity = Identity::load(&keys.join("signing.pem"), &keys.join("signing.key"), now)?;
        let algorithm = identity.signer().default_algorithm();
        let header = |name: &str| SignedHeader { namespace: NAMESPACE.into(), name: name.into() };
        let sign_headers = ["CallingUser", "CallingEntity", "CallBasis", "CallReason"].map(header).into();
        let profile = WssProfile {
            algorithm,
            ttl: SignedDuration::from_secs(300),
            sign_headers,
            must_understand: true,
            sign_token: false,
        };
        let template = wss::sign(REQUEST, &profile, &identity, now)?;
        let between = |from: &str, to: &str| {
            let begin = template.find(from).with_context(|| format!("{from} is missing"))? + from.len();
            let length = template[begin..].find(to).with_context(|| format!("{to} is missing"))?;
            anyhow::Ok(begin..begin + length)
        };
        Ok(Self {
            body: between("<soap:Body", "</soap:Body>")?,
            signed_info: between("<ds:SignedInfo", "</ds:SignedInfo>")?,
            digest: between("<ds:DigestValue>", "</ds:DigestValue>")?,
            value: between("<ds:SignatureValue>", "</ds:SignatureValue>")?,
            template: template.into_bytes(),
            identity,
            algorithm,
        })
    }

    pub fn sealed(&self, request: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut message = self.template.clone();
        let mut digested = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        digested.update(&message[self.body.clone()]);
        digested.update(request);
        STANDARD.encode_slice(digested.finish().as_ref(), &mut message[self.digest.clone()])?;
        let signature = self.identity.signer().sign(self.algorithm, &message[self.signed_info.clone()])?;
        STANDARD.encode_slice(signature, &mut message[self.value.clone()])?;
        Ok(message)
    }
}
