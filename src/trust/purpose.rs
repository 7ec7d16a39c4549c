//! What a certificate is shown for comes in; why the other side would not take it goes out, in words.

use super::CertificateFacts;

/// What somebody shows a certificate for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    TlsServer,
    TlsClient,
    Signatures,
}

impl Purpose {
    /// What whoever is shown this certificate for this purpose would have against it, dates apart.
    pub fn objections_to(self, facts: &CertificateFacts) -> Vec<String> {
        let mut all: Vec<String> = facts.flaws.iter().map(ToString::to_string).collect();
        if facts.is_authority && self != Purpose::Signatures {
            all.push("it is an authority's own certificate (CA:TRUE), and no server's or client's".into());
        }
        let (usage, holder) = match self {
            Purpose::TlsServer => ("serverAuth", "servers"),
            Purpose::TlsClient => ("clientAuth", "clients"),
            Purpose::Signatures => {
                let text = "its key usage names neither digitalSignature nor nonRepudiation";
                return all.into_iter().chain((!facts.may_sign()).then(|| text.to_owned())).collect();
            }
        };
        if !facts.extended_key_usages.is_empty()
            && !facts.extended_key_usages.iter().any(|it| it == usage || it == "any")
        {
            let named = facts.extended_key_usages.join(", ");
            all.push(format!("it is not for TLS {holder}: its extended key usage names {named} and not {usage}"));
        }
        if !facts.may_sign_handshakes() {
            all.push("its key usage does not name digitalSignature, which a TLS handshake needs".into());
        }
        let has_names = !facts.dns_names.is_empty() || !facts.ip_addresses.is_empty();
        if self == Purpose::TlsServer && !has_names {
            let text = "it has no DNS name or address in subjectAltName: a server's name that stands in the common name alone is read by nobody";
            all.push(format!("{text} (RFC 9525)"));
        }
        all
    }
}
