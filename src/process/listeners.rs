//! Addresses to listen on, and roles that will run: what keeps them from listening is found without disturbing who listens.

use super::role::Role;
use crate::settings::{ConfigFaults, Settings, Source};
use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener},
    path::Path,
};

const GATEWAY: &str = "gateway.listen";

/// Each role's operations listener when it runs alone, and that of a process of several roles.
pub fn check_listeners(settings: &Settings, config: &Path, roles: &[Role], faults: &mut ConfigFaults) {
    let gateway = roles.contains(&Role::Gateway).then_some((GATEWAY, settings.gateway.listen));
    let operations = &settings.operations;
    let apart = [
        (Role::Gateway, "operations.gateway", operations.gateway),
        (Role::Worker, "operations.worker", operations.worker),
        (Role::Scheduler, "operations.scheduler", operations.scheduler),
        (Role::Notifier, "operations.notifier", operations.notifier),
    ];
    let own = match roles {
        [role] => apart.iter().find(|(it, ..)| it == role).map(|(_, key, address)| (*key, *address)),
        _ => Some(("operations.listen", operations.listen)),
    };
    for (key, address) in gateway.into_iter().chain(own) {
        check_address(key, address, config, faults);
    }
    // What is derived from another key is of no interest to a process that plays all roles.
    let is_written = |key: &str| settings.effective.iter().any(|it| it.key == key && it.source != Source::Default);
    let apart: Vec<_> = apart.into_iter().filter(|(_, key, _)| is_written(key)).collect();
    let mut own = own.into_iter().chain(apart.iter().map(|(_, key, address)| (*key, *address)));
    if let Some((key, address)) = own.find(|(_, address)| clash(*address, settings.gateway.listen)) {
        let problem = format!("{address} is taken by {GATEWAY} ({})", settings.gateway.listen);
        faults.add(config, key, problem, "name another port");
    }
    for (at, (_, key, address)) in apart.iter().enumerate() {
        if let Some((_, other, _)) = apart.iter().skip(at + 1).find(|(_, _, it)| clash(*it, *address)) {
            let problem = format!("{address} is the address of {key} as well, and both may run on one machine");
            faults.add(config, *other, problem, "name another port");
        }
    }
}

/// Port 0 is any free one.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let is_everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (is_everywhere || one.ip() == other.ip())
}

/// A port that is taken may be taken by this very Punte, which runs already: only what is never possible is told. Any free
/// port shows whether the address is this machine's, and only a small one needs a right of its own.
fn check_address(key: &str, address: SocketAddr, config: &Path, faults: &mut ConfigFaults) {
    let port = if address.port() < 1024 { address.port() } else { 0 };
    let Err(error) = TcpListener::bind(SocketAddr::new(address.ip(), port)) else { return };
    let (problem, remedy) = match error.kind() {
        ErrorKind::AddrNotAvailable => (
            format!("{} is no address of this machine", address.ip()),
            "name one of its addresses, or 0.0.0.0 for all of them",
        ),
        ErrorKind::PermissionDenied => (
            format!("this user may not listen on port {port}"),
            "name a port from 1024, or give the service the capability CAP_NET_BIND_SERVICE",
        ),
        _ => return,
    };
    faults.add(config, key, problem, remedy);
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_addresses_clash_if_one_machine_cannot_have_both() {
        let clash = |one: &str, other: &str| super::clash(one.parse().unwrap(), other.parse().unwrap());
        assert!(clash("0.0.0.0:8443", "127.0.0.1:8443") && clash("127.0.0.1:1", "127.0.0.1:1"));
        assert!(clash("[::]:8443", "127.0.0.1:8443"));
        assert!(!clash("127.0.0.1:1", "127.0.0.2:1") && !clash("0.0.0.0:0", "0.0.0.0:0"));
        assert!(!clash("127.0.0.1:1", "127.0.0.1:2"));
    }
}
