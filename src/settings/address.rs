//! Addresses that hold a user and a password: the text comes in; what is wrong with its form goes out, without any part of
//! the text itself.

const PERCENT_ENCODE: &str =
    "percent-encode what user and password hold: % is %25, / is %2F, @ is %40, : is %3A, ? is %3F, # is %23";

/// Readers of addresses end the host at the first `/`, `?` or `#`: a password with one of these in it would be read as a
/// path, and its beginning as a port, without a word.
pub(super) fn fault_of_form(address: &str) -> Option<(&'static str, &'static str)> {
    if address.contains("://") && address.contains(['\n', '\r', '\t', '\0']) {
        return Some(("it holds more than one line, or a tabulator", "leave the address alone there"));
    }
    fault_of_credentials(address).or_else(|| fault_of_fragment(address)).map(|problem| (problem, PERCENT_ENCODE))
}

/// Readers of addresses pass over what follows it, or take it for a part of a name.
fn fault_of_fragment(address: &str) -> Option<&'static str> {
    let (_, rest) = address.split_once("://")?;
    rest.contains('#').then_some("it holds a #, which begins what addresses of this kind do not have")
}

fn fault_of_credentials(address: &str) -> Option<&'static str> {
    let (_, rest) = address.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, after) = rest.split_at(end);
    let path = after.split(['?', '#']).next().unwrap_or_default();
    let credentials = authority.rsplit_once('@').map(|(credentials, _)| credentials);
    if path.contains('@') || (credentials.is_none() && after.contains('@') && !after.starts_with('/')) {
        return Some("user or password hold a character that ends the address's host");
    }
    let credentials = credentials?;
    if credentials.contains('@') || credentials.matches(':').count() > 1 {
        return Some("user or password hold a character that divides the parts of an address");
    }
    if !is_percent_encoded(credentials) {
        return Some("user or password hold a % that begins no percent-encoded character");
    }
    credentials
        .bytes()
        .any(|byte| !byte.is_ascii_graphic())
        .then_some("user or password hold a space or a character beyond ASCII")
}

pub(super) fn is_percent_encoded(text: &str) -> bool {
    let mut parts = text.split('%');
    parts.next();
    parts.all(|part| part.len() >= 2 && part.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_that_is_not_percent_encoded_is_found_and_not_shown() {
        for bad in [
            "amqps://u:a/b@c@h:5671/v",
            "amqps://u:1/b@h:5671/v",
            "amqps://u:a@b@h/v",
            "amqps://u:a:b@h/v",
            "amqps://u:50%@h/v",
            "amqps://u:a?b@h/v",
            "amqps://u:a#b@h/v",
            "postgres://u:a b@h/d",
            "postgres://u:1/x@h/d",
            "postgres://u@h/d\n# the old one",
            "amqps://u:p@h:5671/team#1",
            "amqps://u:p@h/v#?heartbeat=5",
            "postgres://u@h/punte#old",
            "postgres://u@h#x/d",
        ] {
            assert!(fault_of_form(bad).is_some(), "{bad}");
        }
        for good in [
            "amqps://u:a%2Fb%40c@h:5671/v",
            "amqp://guest:guest@localhost/%2f",
            "amqp://localhost",
            "postgres://u@h/d?sslmode=verify-full",
            "postgres://h/d?user=a@b",
            "postgres:///d?host=/run/postgresql",
            "sqlite:../journal@home.db",
            "sqlite:../journal#1.db",
        ] {
            assert_eq!(fault_of_form(good), None, "{good}");
        }
    }
}
