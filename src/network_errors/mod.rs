//! Network errors: whatever libraries say of a broken connection, of TLS or of HTTP comes in; plain words about it go out,
//! without names, numbers and addresses that only who programs with those libraries can use.

mod sources;
mod tls;

pub use sources::sources;
pub use tls::{about_certificate, alert_name, of_tls};

use std::{error::Error, io};

/// What has happened to a connection, whatever the error is wrapped in: of all errors inside of each other the innermost one
/// that can be told.
pub fn in_words(error: &(dyn Error + 'static)) -> String {
    let all: Vec<_> = sources(error).collect();
    let told = all.iter().rev().find_map(|source| {
        let of_tls = source.downcast_ref::<rustls::Error>().map(of_tls);
        let of_http = || source.downcast_ref::<hyper::Error>().and_then(of_http).map(str::to_owned);
        of_tls.or_else(of_http).or_else(|| source.downcast_ref::<io::Error>().and_then(of_io))
    });
    told.unwrap_or_else(|| "the connection failed".into())
}

fn of_http(error: &hyper::Error) -> Option<&'static str> {
    Some(match error {
        _ if error.is_parse_too_large() => "the head of what it says is larger than is read",
        _ if error.is_parse() => "what it says is no answer of HTTP/1.1",
        _ if error.is_incomplete_message() => "the other side has closed it before its answer was whole",
        _ if error.is_timeout() => "no answer came in time",
        _ if error.is_canceled() || error.is_closed() => "it was closed",
        _ => return None,
    })
}

/// `None`: it only wraps another.
fn of_io(error: &io::Error) -> Option<String> {
    let text = match error.kind() {
        io::ErrorKind::ConnectionRefused => "nobody listens there",
        io::ErrorKind::ConnectionReset => "the other side has reset it",
        io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe | io::ErrorKind::NotConnected => {
            "the other side has closed it"
        }
        io::ErrorKind::UnexpectedEof => "the other side has closed it in the middle",
        io::ErrorKind::TimedOut => "no answer came in time",
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => {
            "the network knows no way there"
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => "what it says breaks the rules of its protocol",
        // The standard library has no kind for a name that cannot be resolved.
        _ if error.to_string().contains("failed to lookup address") => {
            "the host's name is not known to this machine's resolver"
        }
        _ => return error.raw_os_error().map(of_the_system),
    };
    Some(text.to_owned())
}

/// The operating system's words, without its number.
fn of_the_system(code: i32) -> String {
    let text = io::Error::from_raw_os_error(code).to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("rustls::conn failed, see https://docs.rs/x")]
    struct Outer(#[source] io::Error);

    #[test]
    fn the_innermost_error_that_can_be_told_is_told_and_no_librarys_text() {
        let eof =
            "peer closed connection without sending TLS close_notify: https://docs.rs/rustls/latest/x#unexpected-eof";
        let cases = [
            (io::Error::new(io::ErrorKind::UnexpectedEof, eof), "the other side has closed it in the middle"),
            (
                io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof"),
                "the other side has closed it in the middle",
            ),
            (io::Error::from_raw_os_error(111), "nobody listens there"),
            (io::Error::from_raw_os_error(24), "Too many open files"),
            (
                io::Error::other("failed to lookup address information: Name or service not known"),
                "the host's name is not known to this machine's resolver",
            ),
            (io::Error::other("see https://docs.rs/y"), "the connection failed"),
            (
                io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError),
                "a record came that cannot be decrypted",
            ),
        ];
        for (error, told) in cases {
            assert_eq!(in_words(&Outer(io::Error::other(error))), told);
        }
    }
}
