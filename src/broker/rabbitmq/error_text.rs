//! What RabbitMQ, its client library or the network says about a failure comes in; plain words that name the key and the way
//! out go out. No name of a library's own reaches a person.

use super::settings::Target;
use crate::{
    broker::BrokerError,
    network_errors::{in_words, sources},
};
use lapin::{
    Error, ErrorKind,
    protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError},
    uri::AMQPScheme,
};
use rustls::{AlertDescription as Alert, CertificateError};
use std::io;

/// While a connection lives.
pub(super) fn failure(error: &Error) -> BrokerError {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => of_protocol(refusal),
        ErrorKind::IOError(error) | ErrorKind::RuntimeShutdownError(error) => {
            BrokerError::Unavailable(format!("the connection broke: {}", in_words(&**error)))
        }
        ErrorKind::MissingHeartbeatError => BrokerError::Unavailable("it has been silent for too long".into()),
        ErrorKind::ChannelsLimitReached => {
            let text = "it allows no more channels on one connection: raise `channel_max` in rabbitmq.conf";
            BrokerError::Refused(text.into())
        }
        ErrorKind::InvalidProtocolVersion(version) => {
            BrokerError::Refused(format!("it speaks AMQP {version}; Punte speaks 0-9-1, as RabbitMQ does"))
        }
        ErrorKind::ParsingError(_) | ErrorKind::SerialisationError(_) => {
            BrokerError::Unavailable("what it says is not AMQP".into())
        }
        // What is left says that a channel or a connection has ended, and the reason has been told before.
        _ => BrokerError::Unavailable("the connection or its channel has ended".into()),
    }
}

/// While a connection is made.
pub(super) fn not_connected(error: &Error, target: &Target) -> BrokerError {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => not_admitted(refusal, target),
        ErrorKind::IOError(error) | ErrorKind::RuntimeShutdownError(error) => not_reached(error, target),
        ErrorKind::ParsingError(_) | ErrorKind::SerialisationError(_) => BrokerError::Refused(not_amqp(target)),
        _ => failure(error),
    }
}

/// RabbitMQ's own sentence, without the code in front of it.
pub(super) fn said(refusal: &AMQPError) -> String {
    let text = refusal.get_message().as_str();
    let text = match text.split_once(" - ") {
        Some((code, text)) if code.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') => text,
        _ => text,
    };
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// As many as somebody allows are there already: of queues, exchanges or connections.
pub(super) fn is_about_a_limit(said: &str) -> bool {
    said.contains("limit") && (said.contains("is reached") || said.contains("has reached"))
}

fn of_protocol(refusal: &AMQPError) -> BrokerError {
    let said = said(refusal);
    match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => BrokerError::Refused(format!(
            "a right is missing; give it with `rabbitmqctl set_permissions` (RabbitMQ says: {said})"
        )),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => BrokerError::Refused(format!("RabbitMQ says: {said}")),
        AMQPErrorKind::Hard(AMQPHardError::CONNECTIONFORCED) => {
            BrokerError::Unavailable(format!("it has closed the connection (RabbitMQ says: {said})"))
        }
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => BrokerError::Unavailable(format!("RabbitMQ says: {said}")),
    }
}

fn not_admitted(refusal: &AMQPError, target: &Target) -> BrokerError {
    let (said, vhost, user) = (said(refusal), &target.uri.vhost, &target.uri.authority.userinfo.username);
    let text = match refusal.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => format!(
            "the user or the password is wrong: mend them in broker.uri, or in the file that broker.uri_file names, \
             percent-encoded; `guest` may come from RabbitMQ's own machine only (RabbitMQ says: {said})"
        ),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if vhost.is_empty() => format!(
            "broker.uri ends with an empty virtual host: end it with /%2f for the default one (RabbitMQ says: {said})"
        ),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if said.contains("not found") => format!(
            "there is no virtual host `{vhost}`: mend the end of broker.uri{}, or make it with `rabbitmqctl add_vhost` \
             (RabbitMQ says: {said})",
            encoding(vhost)
        ),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if is_about_a_limit(&said) => format!(
            "it takes no more connections: raise the limit with `rabbitmqctl set_vhost_limits -p {vhost}` or \
             `set_user_limits {user}`, or end connections that nobody needs (RabbitMQ says: {said})"
        ),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) if said.contains("access to vhost") => format!(
            "the user may not use the virtual host `{vhost}`: give it rights with `rabbitmqctl set_permissions -p {vhost} \
             {user} ...`, or mend the end of broker.uri{} (RabbitMQ says: {said})",
            encoding(vhost)
        ),
        _ => return of_protocol(refusal),
    };
    BrokerError::Refused(text)
}

/// A name with a `%` was encoded once too often, and one with a `/` at its beginning once too little.
fn encoding(vhost: &str) -> &'static str {
    match vhost {
        _ if vhost.contains('%') => ", where it is percent-encoded twice",
        _ if vhost.len() > 1 && vhost.contains('/') => ", where `/` inside of a name is written %2f",
        _ => "",
    }
}

fn not_reached(error: &io::Error, target: &Target) -> BrokerError {
    let place = place(target);
    if let Some(tls) = sources(error).find_map(|source| source.downcast_ref::<rustls::Error>()) {
        return BrokerError::Refused(of_tls(tls, target));
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => BrokerError::Unavailable(format!(
            "nobody listens at {place}: is RabbitMQ running there, and are host and port of broker.uri right?"
        )),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => BrokerError::Unavailable(format!(
            "{place} hung up before the greeting was over: RabbitMQ may be starting or stopping, or {}",
            wrong_port(target)
        )),
        _ if error.to_string().contains("lookup") => BrokerError::Unavailable(format!(
            "the host `{}` of broker.uri is not known to this machine's resolver",
            target.uri.authority.host
        )),
        _ => BrokerError::Unavailable(format!("{place} cannot be reached: {}", in_words(error))),
    }
}

fn of_tls(error: &rustls::Error, target: &Target) -> String {
    use rustls::Error as Tls;
    let (place, host) = (place(target), &target.uri.authority.host);
    match error {
        Tls::InvalidCertificate(fault) => format!("the certificate of {place} {}", of_certificate(fault, host)),
        Tls::AlertReceived(Alert::CertificateRequired) => {
            format!("{place} wants a certificate of ours: name broker.certificate and broker.key")
        }
        Tls::AlertReceived(Alert::ProtocolVersion) | Tls::PeerIncompatible(_) => {
            format!("{place} has no version of TLS or no algorithm in common with Punte, which speaks TLS 1.2 and 1.3")
        }
        Tls::AlertReceived(Alert::HandshakeFailure) => format!(
            "{place} refuses the TLS handshake: it may want a certificate of ours (broker.certificate and broker.key)"
        ),
        Tls::AlertReceived(alert) if is_about_certificate(*alert) => format!(
            "{place} refuses our certificate (broker.certificate): is it of an authority that RabbitMQ trusts, in its \
             dates, and for a client?"
        ),
        Tls::AlertReceived(alert) => format!("{place} has ended TLS with alert {}", u8::from(*alert)),
        Tls::InvalidMessage(_) => format!("what answers at {place} does not speak TLS; {}", wrong_port(target)),
        _ => format!("TLS with {place} failed"),
    }
}

fn of_certificate(fault: &CertificateError, host: &str) -> String {
    match fault {
        CertificateError::UnknownIssuer => "is of an authority that broker.ca does not hold".into(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("does not name `{host}`, the host of broker.uri")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "is not valid yet: are the clocks right?".into()
        }
        CertificateError::Revoked => "is revoked".into(),
        _ => "is not made for a server, or is malformed".into(),
    }
}

fn is_about_certificate(alert: Alert) -> bool {
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

fn not_amqp(target: &Target) -> String {
    format!("what answers at {} does not speak AMQP; {}", place(target), wrong_port(target))
}

/// For who can name certificates.
pub const TO_TLS_PORT: &str = "for its TLS port (5671) write amqps:// in broker.uri, and name broker.ca";

/// The scheme and the port of an address are easily mixed up.
fn wrong_port(target: &Target) -> String {
    match target.uri.scheme {
        AMQPScheme::AMQP => format!("amqp:// is for RabbitMQ's plain port (5672 by default): {TO_TLS_PORT}"),
        AMQPScheme::AMQPS => {
            "amqps:// is for RabbitMQ's TLS port (5671 by default): mend the port of broker.uri".into()
        }
    }
}

fn place(target: &Target) -> String {
    format!("{}:{}", target.uri.authority.host, target.uri.authority.port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::rabbitmq::RabbitmqSettings;

    fn target(uri: &str) -> Target {
        RabbitmqSettings::new(uri).checked().unwrap()
    }

    fn refused(kind: AMQPErrorKind, text: &str, uri: &str) -> String {
        let refusal = AMQPError::new(kind, text.into());
        not_connected(&ErrorKind::ProtocolError(refusal).into(), &target(uri)).to_string()
    }

    #[test]
    fn a_wrong_virtual_host_names_the_end_of_the_address() {
        let not_allowed = AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED);
        let missing = refused(not_allowed.clone(), "NOT_ALLOWED - vhost nope not found", "amqp://u:p@localhost/nope");
        assert!(missing.contains("no virtual host `nope`") && missing.contains("broker.uri"), "{missing}");
        let twice = refused(not_allowed.clone(), "NOT_ALLOWED - vhost %2f not found", "amqp://u:p@localhost/%252f");
        assert!(twice.contains("encoded twice"), "{twice}");
        let empty = refused(not_allowed.clone(), "NOT_ALLOWED - vhost  not found", "amqp://u:p@localhost/");
        assert!(empty.contains("empty virtual host"), "{empty}");
        let text = "NOT_ALLOWED - access to vhost '/' refused for user 'u'";
        let closed = refused(not_allowed, text, "amqp://u:p@localhost/%2f");
        assert!(closed.contains("set_permissions -p / u"), "{closed}");
        let not_allowed = AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED);
        let text = "NOT_ALLOWED - access to vhost '/' refused for user 'u': connection limit (0) is reached";
        let full = refused(not_allowed, text, "amqp://u:p@localhost/%2f");
        assert!(full.contains("set_vhost_limits -p /") && !full.contains("set_permissions"), "{full}");
    }

    #[test]
    fn a_peer_that_does_not_speak_tls_or_that_nobody_trusts_is_told_without_the_librarys_names() {
        let wrapped = |error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        let invalid = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
        let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let settings =
            RabbitmqSettings { tls: Some(tls.into()), ..RabbitmqSettings::new("amqps://u:p@localhost:5672/%2f") };
        let target = settings.checked().unwrap();
        let told = not_connected(&wrapped(invalid).into(), &target).to_string();
        assert!(told.contains("localhost:5672 does not speak TLS") && !told.contains("InvalidContentType"), "{told}");
        let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let told = not_connected(&wrapped(unknown).into(), &target).to_string();
        assert!(told.contains("broker.ca") && !told.contains("UnknownIssuer"), "{told}");
    }

    #[test]
    fn the_code_in_front_of_rabbitmqs_sentence_is_left_out() {
        let refusal = AMQPError::new(AMQPSoftError::ACCESSREFUSED.into(), "ACCESS_REFUSED - no\r\nway - there".into());
        assert_eq!(said(&refusal), "no  way - there");
    }
}
