//! Where webhooks may go: a host's addresses come in, those that are public go out.
//!
//! The check is on the addresses that are then connected to, so that a name cannot resolve to one thing when it is
//! checked and to another when it is used.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the webhook's host has an address that is not public")]
pub struct ForbiddenAddress;

/// Resolves names as the system does, and refuses one that has any private address.
pub struct Guarded {
    pub allow_private: bool,
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if !allow_private && !found.iter().all(|address| is_public(address.ip())) {
                return Err(ForbiddenAddress.into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// A host that is an address, or a name that is this machine everywhere (RFC 6761, section 6.3); any other name passes, and is
/// looked at when it is resolved.
pub fn check_host(host: &str) -> Result<(), ForbiddenAddress> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let name = bare.strip_suffix('.').unwrap_or(bare);
    let last_label = name.rsplit('.').next().unwrap_or_default();
    match bare.parse::<IpAddr>() {
        Ok(address) if is_public(address) => Ok(()),
        Err(_) if !last_label.eq_ignore_ascii_case("localhost") => Ok(()),
        Ok(_) | Err(_) => Err(ForbiddenAddress),
    }
}

/// Whether an address belongs to the internet at large (IANA special-purpose registries, RFC 6890).
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => is_public_v4(inner),
            // Only 2000::/3 is given out, and some of it is special.
            None => address.segments()[0] & 0xe000 == 0x2000 && !is_special_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a, b & 0xc0) == (100, 64)
        || (a, b, c) == (192, 0, 0)
        || (a, b, c) == (192, 88, 99)
        || (a, b & 0xfe) == (198, 18))
}

/// Addresses that stand for an IPv4 one: mapped, NAT64 (RFC 6052) and 6to4 (RFC 3056).
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let joined = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(joined(high, low)),
        [0x2002, high, low, ..] => Some(joined(high, low)),
        _ => None,
    }
}

fn is_special_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let is_protocol_assignment = segments[0] == 0x2001 && segments[1] < 0x200;
    let is_documentation = (segments[0] == 0x2001 && segments[1] == 0xdb8) || segments[0] == 0x3fff;
    is_protocol_assignment || is_documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_and_special_addresses_are_not_public() {
        for text in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:db8::1",
            "2001::1",
            "64:ff9b:1::1",
            "100::1",
            "::127.0.0.1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn ordinary_addresses_are_public() {
        for text in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "::ffff:8.8.8.8"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_name_that_is_this_machine_everywhere_is_refused_at_once() {
        for host in ["localhost", "LOCALHOST", "localhost.", "hooks.localhost", "a.b.LocalHost."] {
            assert_eq!(check_host(host), Err(ForbiddenAddress), "{host}");
        }
        for host in ["localhost.example", "notlocalhost", "hooks.example.", "8.8.8.8", "[2606:4700::1111]"] {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused_unless_that_is_allowed() {
        let resolve = |allow_private| Guarded { allow_private }.resolve("localhost".parse().unwrap());
        let refused = resolve(false).await.err().unwrap();
        assert!(refused.downcast_ref::<ForbiddenAddress>().is_some());
        assert!(resolve(true).await.is_ok());
    }
}
