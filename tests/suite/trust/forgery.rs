//! Envelopes signed in ways that our own signer never would: the attacker's, and the careless agency's, tools.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use punte::{
    trust::{Algorithm, Identity},
    xml,
};

pub const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
pub const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
pub const WSSE: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
pub const WSU: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd";
pub const DS: &str = "http://www.w3.org/2000/09/xmldsig#";
pub const EXC: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
pub const X509V3: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3";
pub const SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";
pub const SHA1: &str = "http://www.w3.org/2000/09/xmldsig#sha1";
pub const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
pub const RSA_SHA1: &str = "http://www.w3.org/2000/09/xmldsig#rsa-sha1";

/// Everything about a signature that a test may want to be wrong.
pub struct Forgery<'a> {
    pub soap: &'a str,
    pub signer: &'a Identity,
    pub algorithm: Algorithm,
    pub algorithm_uri: &'a str,
    pub references: Vec<&'a str>,
    /// Behind the references.
    pub extra_reference: String,
    pub transforms: String,
    pub digest_uri: &'a str,
    /// Inside of SignatureMethod.
    pub parameters: &'a str,
    /// The `PrefixList` of every canonicalization.
    pub prefixes: &'a [&'a str],
    pub canonicalization: &'a str,
    pub key_info: String,
    pub security_attributes: &'a str,
    pub created: Timestamp,
    pub expires: Timestamp,
    /// What the Timestamp holds instead of Created and Expires.
    pub timestamp: Option<String>,
    pub extra_in_security: String,
    pub extra_in_header: String,
    pub body: String,
}

impl<'a> Forgery<'a> {
    /// In order, as an agency would write it.
    pub fn honest(signer: &'a Identity, now: Timestamp) -> Self {
        Self {
            soap: SOAP11,
            signer,
            algorithm: Algorithm::RsaSha256,
            algorithm_uri: RSA_SHA256,
            references: vec!["TS", "BODY"],
            extra_reference: String::new(),
            transforms: format!("<ds:Transform Algorithm=\"{EXC}\"></ds:Transform>"),
            digest_uri: SHA256,
            parameters: "",
            prefixes: &[],
            canonicalization: EXC,
            key_info: reference_to_token(),
            security_attributes: "",
            created: now,
            expires: now + SignedDuration::from_secs(60),
            timestamp: None,
            extra_in_security: String::new(),
            extra_in_header: String::new(),
            body: format!("<s:Body wsu:Id=\"BODY\">{CONTENT}</s:Body>"),
        }
    }

    pub fn write(&self) -> String {
        let unsigned = self.envelope("");
        let document = roxmltree::Document::parse(&unsigned).unwrap();
        let references: String = self.references.iter().map(|id| self.reference(&document, id)).collect();
        let signed_info = format!(
            "<ds:SignedInfo xmlns:ds=\"{DS}\"><ds:CanonicalizationMethod Algorithm=\"{}\">{}</ds:CanonicalizationMethod><ds:SignatureMethod Algorithm=\"{}\">{}</ds:SignatureMethod>{references}{}</ds:SignedInfo>",
            self.canonicalization,
            self.prefix_list(),
            self.algorithm_uri,
            self.parameters,
            self.extra_reference
        );
        let signature = |value: &str| {
            format!(
                "<ds:Signature xmlns:ds=\"{DS}\">{signed_info}<ds:SignatureValue>{value}</ds:SignatureValue><ds:KeyInfo>{}</ds:KeyInfo></ds:Signature>",
                self.key_info
            )
        };
        let unsigned = self.envelope(&signature(""));
        let document = roxmltree::Document::parse(&unsigned).unwrap();
        let mut canonical = Vec::new();
        let signed_info = document.descendants().find(|node| node.has_tag_name((DS, "SignedInfo"))).unwrap();
        xml::canonicalize(signed_info, self.prefixes, &mut canonical);
        let value = STANDARD.encode(self.signer.signer().sign(self.algorithm, &canonical).unwrap());
        self.envelope(&signature(&value))
    }

    fn prefix_list(&self) -> String {
        match self.prefixes {
            [] => String::new(),
            prefixes => format!(
                "<e:InclusiveNamespaces xmlns:e=\"{EXC}\" PrefixList=\"{}\"></e:InclusiveNamespaces>",
                prefixes.join(" ")
            ),
        }
    }

    fn envelope(&self, signature: &str) -> String {
        let token = STANDARD.encode(&self.signer.certificate.der);
        let written = format!("<wsu:Created>{}</wsu:Created><wsu:Expires>{}</wsu:Expires>", self.created, self.expires);
        let times = self.timestamp.as_ref().unwrap_or(&written);
        format!(
            "<s:Envelope xmlns:s=\"{}\" xmlns:wsu=\"{WSU}\" xmlns:wsse=\"{WSSE}\"><s:Header>{}<wsse:Security{}><wsse:BinarySecurityToken wsu:Id=\"TOKEN\" ValueType=\"{X509V3}\">{token}</wsse:BinarySecurityToken><wsu:Timestamp wsu:Id=\"TS\">{times}</wsu:Timestamp>{signature}{}</wsse:Security></s:Header>{}</s:Envelope>",
            self.soap, self.extra_in_header, self.security_attributes, self.extra_in_security, self.body
        )
    }

    fn reference(&self, document: &roxmltree::Document<'_>, id: &str) -> String {
        let algorithm = if self.digest_uri == SHA1 { &digest::SHA1_FOR_LEGACY_USE_ONLY } else { &digest::SHA256 };
        let mut canonical = Vec::new();
        if let Some(element) = document.descendants().find(|node| node.attribute((WSU, "Id")) == Some(id)) {
            xml::canonicalize(element, self.prefixes, &mut canonical);
        }
        // `=` marks what is to stand there as it is, `-` that there is nothing.
        let uri = match id.strip_prefix('=') {
            None if id == "-" => String::new(),
            Some(exact) => format!(" URI=\"{exact}\""),
            None if id.contains(':') => format!(" URI=\"{id}\""),
            None => format!(" URI=\"#{id}\""),
        };
        let transforms =
            self.transforms.replacen("></ds:Transform>", &format!(">{}</ds:Transform>", self.prefix_list()), 1);
        format!(
            "<ds:Reference{uri}><ds:Transforms>{transforms}</ds:Transforms><ds:DigestMethod Algorithm=\"{}\"></ds:DigestMethod><ds:DigestValue>{}</ds:DigestValue></ds:Reference>",
            self.digest_uri,
            STANDARD.encode(digest::digest(algorithm, &canonical))
        )
    }
}

pub const CONTENT: &str = "<a:Answer xmlns:a=\"urn:demo\"><a:Name>Ana</a:Name></a:Answer>";

pub fn reference_to_token() -> String {
    token_reference(&format!("<wsse:Reference URI=\"#TOKEN\" ValueType=\"{X509V3}\"/>"))
}

pub fn token_reference(inner: &str) -> String {
    format!("<wsse:SecurityTokenReference>{inner}</wsse:SecurityTokenReference>")
}
