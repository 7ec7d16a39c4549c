//! A real PgBouncer before the tests' PostgreSQL: how it pools and what it does with settings comes in, its URL goes out.

use std::{
    fs::Permissions,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio_postgres::config::Host;

pub struct Bouncer {
    process: Child,
    port: u16,
    _home: TempDir,
}

/// What happens to `options`, with which a session makes its settings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Options {
    /// `08P01`.
    Refused,
    PassedOver,
}

impl Bouncer {
    /// `sessions`: of the server's, for all clients.
    pub fn started(pool_mode: &str, options: Options, sessions: usize) -> Self {
        Self::with(pool_mode, options, sessions, "")
    }

    fn with(pool_mode: &str, options: Options, sessions: usize, of_database: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = home.path().join("pgbouncer.ini");
        std::fs::write(&file, settings(port, pool_mode, options, sessions, of_database)).unwrap();
        let program =
            ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer"].into_iter().find(|it| std::path::Path::new(it).exists());
        let mut command = Command::new(program.expect("no PgBouncer: run tests/install"));
        // It refuses to run as root.
        if rustix::process::getuid().is_root() {
            command.args(["-u", "nobody"]);
        }
        let process = command.arg("-q").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "PgBouncer does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, port, _home: home }
    }

    /// As a standby: whatever session it has takes no writes.
    pub fn read_only() -> Self {
        Self::with("session", Options::PassedOver, 20, "connect_query='SET default_transaction_read_only = on'")
    }

    /// `host:port`.
    pub fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn url(&self, schema: &str) -> String {
        format!("postgres://punte@127.0.0.1:{}/postgres?search_path={schema}", self.port)
    }
}

fn settings(port: u16, pool_mode: &str, options: Options, sessions: usize, of_database: &str) -> String {
    let server = std::env::var("PUNTE_TEST_POSTGRES_URL").unwrap();
    let server: tokio_postgres::Config = server.parse().unwrap();
    let Some(Host::Tcp(host)) = server.get_hosts().first() else { panic!("no host") };
    let (server_port, user) = (server.get_ports().first().unwrap(), server.get_user().unwrap());
    // The usual query would make the session's own settings again.
    let reset = if of_database.is_empty() { "" } else { "server_reset_query =\n" };
    let ignored = if options == Options::PassedOver { "ignore_startup_parameters = options\n" } else { "" };
    format!(
        "[databases]\npostgres = host={host} port={server_port} user={user} {of_database}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n\
         default_pool_size = {sessions}\n{ignored}{reset}"
    )
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
