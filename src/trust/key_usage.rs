//! The extension keyUsage comes in (RFC 5280, section 4.2.1.3); the names of its uses go out.

use x509_parser::prelude::KeyUsage;

pub(super) fn names_of(usage: &KeyUsage) -> Vec<&'static str> {
    let all = [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ];
    all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect()
}
