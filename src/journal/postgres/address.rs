//! Where PostgreSQL is: a URL comes in, one configuration for each of its hosts goes out, none of which can speak plain
//! text to another machine unasked.

use super::{parameters::Parameters, passfile, session_settings as settings, unusable::unusable};
use crate::journal::JournalError;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio_postgres::{
    Config,
    config::{Host, SslMode, TargetSessionAttrs},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    Plain,
    Tls,
}

#[derive(Clone)]
pub struct Address {
    pub targets: Vec<Target>,
    pub security: Security,
    /// The schema that `search_path` names.
    pub schema: Option<String>,
    /// What each session is set to.
    pub settings: Vec<settings::Setting>,
}

/// One host of the URL.
#[derive(Clone)]
pub struct Target {
    /// As people are told of it.
    pub name: Arc<str>,
    /// Without the settings.
    pub config: Config,
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What has been sent and is not acknowledged for so long ends the connection, and so does silence that is a little longer.
const USER_TIMEOUT: Duration = Duration::from_secs(20);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

impl Address {
    /// The errors name no part of the URL: it may hold a password. `passfile`: the text of a file in the form of libpq's.
    pub fn parse(url: &str, passfile: Option<&str>) -> Result<Self, JournalError> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err(unusable("it must begin with postgres://"));
        }
        let (rest, Parameters { sslmode, schema, ports, .. }) = for_library(url)?;
        let written: Config = rest.parse().map_err(|_| unusable(FORM))?;
        let security = security(&written, sslmode.as_deref())?;
        let settings = settings::of(written.get_options().unwrap_or_default(), schema.as_deref())?;
        let count = written.get_hosts().len().max(written.get_hostaddrs().len());
        let ports = if ports.is_empty() { written.get_ports() } else { &ports[..] };
        if ports.contains(&0) {
            return Err(unusable("it names port 0, at which nobody listens"));
        }
        let port = |index| ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        let written_for = |index| Written { config: &written, index, port: port(index), passfile };
        let targets = (0..count).map(|index| target(&written_for(index), security)).collect::<Result<_, _>>()?;
        if count == 0 || !fits(ports.len(), count) || !are_paired(&written) {
            return Err(unusable("it must name a host, and for each one port at most"));
        }
        Ok(Self { targets, security, schema, settings })
    }
}

const FORM: &str = "it must be postgres://user@host:port/database?name=value, with what is special in a password \
                    percent-encoded (@ is %40, / is %2F, : is %3A, # is %23, ? is %3F, % is %25)";

fn fits(ports: usize, hosts: usize) -> bool {
    ports <= 1 || ports == hosts
}

fn are_paired(config: &Config) -> bool {
    let (hosts, addresses) = (config.get_hosts().len(), config.get_hostaddrs().len());
    hosts == 0 || addresses == 0 || hosts == addresses
}

/// The same configuration for one of the hosts alone. Only a server that takes writes will do.
fn target(one: &Written<'_>, security: Security) -> Result<Target, JournalError> {
    let Written { config: written, index, port, passfile } = *one;
    let mut config = Config::new();
    config.port(port).target_session_attrs(TargetSessionAttrs::ReadWrite);
    let host = match written.get_hosts().get(index) {
        Some(Host::Tcp(name)) => config.host(name).get_hosts().last().map(|_| name.clone()),
        Some(Host::Unix(path)) => config.host_path(path).get_hosts().last().map(|_| path.display().to_string()),
        None => None,
    };
    let address = written.get_hostaddrs().get(index).copied();
    if let Some(address) = address {
        config.hostaddr(address);
    }
    // Of a host that has no name the certificate has to name the address.
    let host = match (host, address.map(|it| it.to_string())) {
        (None, Some(address)) => {
            config.host(&address);
            address
        }
        (host, _) => host.unwrap_or_default(),
    };
    identify(&mut config, written, &Place { host: &host, port, passfile })?;
    guard(&mut config, written, security);
    Ok(Target { name: format!("{host}:{port}").into(), config })
}

/// What the URL says, and for which of its hosts it is wanted.
struct Written<'a> {
    config: &'a Config,
    index: usize,
    port: u16,
    passfile: Option<&'a str>,
}

struct Place<'a> {
    host: &'a str,
    port: u16,
    passfile: Option<&'a str>,
}

/// Who we are.
fn identify(config: &mut Config, written: &Config, place: &Place<'_>) -> Result<(), JournalError> {
    if let Some(user) = written.get_user() {
        config.user(user);
    }
    if let Some(database) = written.get_dbname() {
        config.dbname(database);
    }
    config.application_name(written.get_application_name().unwrap_or("punte"));
    if let Some(password) = written.get_password() {
        if place.passfile.is_some() {
            return Err(unusable("it holds a password, and a passfile is named as well: keep one of the two"));
        }
        config.password(password);
    } else if let Some(text) = place.passfile {
        let user = written.get_user().ok_or_else(|| unusable("it must name the user, as a passfile is used"))?;
        let database = written.get_dbname().unwrap_or(user);
        let port = place.port.to_string();
        let password = passfile::password(text, [place.host, &port, database, user])
            .ok_or_else(|| unusable("the passfile has no line for its host, port, database and user"))?;
        config.password(password);
    }
    Ok(())
}

/// How the connection is protected and watched.
fn guard(config: &mut Config, written: &Config, security: Security) {
    config.ssl_mode(if security == Security::Tls { SslMode::Require } else { SslMode::Disable });
    config.channel_binding(written.get_channel_binding());
    config.connect_timeout(written.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT));
    config.tcp_user_timeout(written.get_tcp_user_timeout().copied().unwrap_or(USER_TIMEOUT));
    config.keepalives(written.get_keepalives());
    config.keepalives_idle(written.get_keepalives_idle());
    config.keepalives_interval(written.get_keepalives_interval().unwrap_or(KEEPALIVE_INTERVAL));
    if let Some(retries) = written.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
}

/// The URL without the two parameters that the client library does not know.
fn for_library(url: &str) -> Result<(String, Parameters), JournalError> {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    if base.matches('@').count() > 1 {
        return Err(unusable(FORM));
    }
    let mut read = Parameters::read(query)?;
    let hosts = base.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    let hosts = hosts.rsplit('@').next().unwrap_or_default();
    if !read.ports.is_empty() && hosts.split(',').any(|host| host.rsplit(']').next().unwrap_or_default().contains(':'))
    {
        return Err(unusable("its port is given twice, beside the host and as a parameter: keep one of the two"));
    }
    if read.has_host && !hosts.is_empty() {
        return Err(unusable("its host is given twice, in its place and as a parameter: keep one of the two"));
    }
    // What the URL says of it counts; the library's own is two hours.
    if !read.has_keepalives_idle {
        read.others.push(format!("keepalives_idle={}", KEEPALIVE_IDLE.as_secs()));
    }
    Ok((format!("{base}?{}", read.others.join("&")), read))
}

fn security(config: &Config, sslmode: Option<&str>) -> Result<Security, JournalError> {
    let has_socket = config.get_hosts().iter().any(|host| matches!(host, Host::Unix(_)));
    match sslmode {
        Some("disable") => Ok(Security::Plain),
        Some(_) if has_socket => Err(unusable("there is no TLS over a socket of this machine: leave out sslmode")),
        Some(_) => Ok(Security::Tls),
        None if is_this_machine(config) => Ok(Security::Plain),
        None => Err(unusable("it names another machine: add sslmode=verify-full, or sslmode=disable if you must")),
    }
}

fn is_this_machine(config: &Config) -> bool {
    let is_local = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    };
    config.get_hosts().iter().all(is_local) && config.get_hostaddrs().iter().all(IpAddr::is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security_of(url: &str) -> Option<Security> {
        Address::parse(url, None).ok().map(|address| address.security)
    }

    #[test]
    fn another_machine_is_never_spoken_to_in_plain_text_unasked() {
        assert_eq!(security_of("postgres://punte@db.example/punte"), None);
        assert_eq!(security_of("postgres://punte@localhost,db.example/punte"), None);
        assert_eq!(security_of("postgres://punte@localhost/punte?hostaddr=192.0.2.1"), None);
        assert_eq!(security_of("postgres://punte@db.example/punte?sslmode=prefer"), None);
        assert_eq!(security_of("postgres://punte@db.example/punte?sslmode=disable"), Some(Security::Plain));
        assert_eq!(security_of("postgres://punte@db.example/punte?sslmode=require"), Some(Security::Tls));
        assert_eq!(security_of("postgres://punte@db.example/punte?sslmode=verify-full"), Some(Security::Tls));
    }

    #[test]
    fn this_machine_may_be_spoken_to_in_plain_text() {
        for host in ["localhost", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            assert_eq!(security_of(&format!("postgres://punte@{host}/punte")), Some(Security::Plain), "{host}");
        }
    }

    #[test]
    fn the_schema_is_a_plain_name_and_nothing_else() {
        let schema_of = |name: &str| Address::parse(&format!("postgres://u@localhost/p?search_path={name}"), None);
        assert_eq!(schema_of("bus_1").ok().and_then(|it| it.schema).as_deref(), Some("bus_1"));
        for bad in ["", "a,b", "a b", "a%20-c%20x=y", "A", "1a", "\"a\"", &"a".repeat(64)] {
            assert!(schema_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_the_url_says_of_silent_connections_counts() {
        for (query, secs) in [("", 15), ("?keepalives_idle=60", 60), ("?keepalives_idle=7200", 7200)] {
            let address = Address::parse(&format!("postgres://u@localhost/p{query}"), None).unwrap();
            assert_eq!(address.targets[0].config.get_keepalives_idle(), Duration::from_secs(secs), "{query}");
        }
    }

    #[test]
    fn no_error_shows_the_password() {
        for url in
            ["postgres://u:s3cret@db.example/p", "postgres://u:s3cret@:x/p", "s3cret", "postgres://u:s3cret@h?s3cret=1"]
        {
            let Err(error) = Address::parse(url, None) else { panic!("{url}") };
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn each_host_has_its_port_and_its_own_password() {
        let file = "db1:5433:punte:u:one\n*:*:*:u:other\n";
        let url = "postgres://u@db1:5433,db2:5434/punte?sslmode=require&target_session_attrs=read-write";
        let address = Address::parse(url, Some(file)).unwrap();
        let names: Vec<_> = address.targets.iter().map(|it| &*it.name).collect();
        assert_eq!(names, ["db1:5433", "db2:5434"]);
        let passwords: Vec<_> = address.targets.iter().map(|it| it.config.get_password().unwrap()).collect();
        assert_eq!(passwords, [b"one".as_slice(), b"other"]);
        assert!(Address::parse("postgres://x@localhost/punte", Some(file)).is_err());
    }

    #[test]
    fn a_port_and_a_host_may_be_parameters_and_are_never_given_twice() {
        let names = |url: &str| {
            let address = Address::parse(url, None).map_err(|error| error.to_string())?;
            Ok::<_, String>(address.targets.iter().map(|it| it.name.to_string()).collect::<Vec<_>>())
        };
        assert_eq!(names("postgres://u@localhost/d?port=5433").unwrap(), ["localhost:5433"]);
        assert_eq!(names("postgres://u@[::1]/d?port=5433").unwrap(), ["::1:5433"]);
        assert_eq!(names("postgres://u@a,b/d?port=5433&sslmode=require").unwrap(), ["a:5433", "b:5433"]);
        assert_eq!(names("postgres://u@a,b/d?port=1,2&sslmode=require").unwrap(), ["a:1", "b:2"]);
        assert_eq!(names("postgres:///d?host=/run&port=5433").unwrap(), ["/run:5433"]);
        assert_eq!(names("postgres://u@localhost/d").unwrap(), ["localhost:5432"]);
        for twice in ["postgres://u@localhost:1/d?port=2", "postgres://u@localhost/d?host=db.example"] {
            assert!(names(twice).unwrap_err().contains("given twice"), "{twice}");
        }
        assert!(names("postgres://u@localhost:0/d").unwrap_err().contains("port 0"));
        assert!(names("postgres://u@localhost/d?port=1,2").unwrap_err().contains("for each one port"));
    }

    #[test]
    fn an_at_sign_in_a_parameter_is_no_end_of_user_and_password() {
        let url = "postgres://db.example/punte?user=clerk&password=p@ss&sslmode=disable";
        let target = Address::parse(url, None).unwrap().targets.remove(0);
        assert_eq!((&*target.name, target.config.get_user()), ("db.example:5432", Some("clerk")));
        assert_eq!(target.config.get_hosts(), [Host::Tcp("db.example".into())]);
        assert_eq!(target.config.get_password(), Some(b"p@ss".as_slice()));
    }

    #[test]
    fn tls_has_a_name_or_an_address_that_the_certificate_can_hold() {
        let target = |url: &str| Address::parse(url, None).map(|it| it.targets[0].config.get_hosts().to_vec());
        let hosts = target("postgres:///d?hostaddr=10.0.0.5&sslmode=verify-full").unwrap();
        assert_eq!(hosts, [Host::Tcp("10.0.0.5".into())]);
        for socket in
            ["postgres://u@%2Frun%2Fpostgresql/d?sslmode=verify-full", "postgres:///d?host=/run&sslmode=require"]
        {
            assert!(target(socket).unwrap_err().to_string().contains("no TLS over a socket"), "{socket}");
        }
    }

    #[test]
    fn two_passwords_are_one_too_many() {
        for url in ["postgres://u:s3cret@localhost/p", "postgres://u@localhost/p?password=s3cret"] {
            let error = Address::parse(url, Some("other")).err().unwrap().to_string();
            assert!(error.contains("passfile") && !error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn what_the_journal_cannot_use_is_refused_with_the_way_out() {
        let why = |url: &str| Address::parse(url, None).err().unwrap().to_string();
        assert!(why("postgres://u:p@ss/w@localhost/p").contains("percent-encoded"));
        assert!(why("postgres:///p").contains("host"));
        assert!(why("postgres://u@localhost/p?target_session_attrs=read-only").contains("read-write"));
        assert!(why("postgres://u@localhost/p?sslrootcert=ca.pem").contains("[journal] ca"));
        assert!(why("postgres://u@localhost/p?passfile=x").contains("[journal] passfile"));
        assert!(why("postgres://u@localhost/p?options=-Fx").contains("-c NAME=VALUE"));
    }
}
