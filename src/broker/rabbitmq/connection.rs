//! One connection: a target comes in, an open and authenticated connection that can always be ended goes out.

use super::{error_text, runtime, settings::Target};
use crate::broker::BrokerError;
use lapin::{Channel, Connection, ConnectionProperties, tcp::AsyncTcpStream};
use std::{
    future::Future,
    net::{Shutdown, TcpStream as Socket},
    os::fd::AsFd,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpStream, time::timeout};

/// How long RabbitMQ may take to answer one method before the channel is given up.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The same, while somebody only wants to know how it is.
const LOOK_LIMIT: Duration = Duration::from_secs(2);
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// An open connection and its socket. lapin's thread writes nothing while the broker blocks the connection, not even
/// `connection.close`, and a silent peer would hold that thread for ever: dropping this therefore shuts the socket down.
pub(super) struct AmqpConnection {
    connection: Connection,
    socket_shutdown: SocketShutdown,
}

/// Shuts the socket down when it is dropped, even a socket that is opened only afterwards.
struct SocketShutdown(Arc<Mutex<SocketState>>);

enum SocketState {
    NotYet,
    Open(Socket),
    ShutDown,
}

impl AmqpConnection {
    /// Connects and authenticates. `purpose` is what an operator sees in RabbitMQ's list of connections.
    pub(super) async fn open(target: &Target, purpose: &str) -> Result<Self, BrokerError> {
        let limit = target.settings.connect_timeout;
        let socket_shutdown = SocketShutdown(Arc::new(Mutex::new(SocketState::NotYet)));
        let name = format!("punte {purpose} ({})", target.settings.prefix);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let (socket, tls) = (socket_shutdown.0.clone(), target.tls.clone());
        let connecting = Connection::connector(
            target.uri.clone(),
            runtime::current(),
            async move |uri, _| {
                let host = uri.authority.host.as_str();
                let stream = TcpStream::connect((host, uri.authority.port)).await?;
                stream.set_nodelay(true)?;
                hold(&socket, Socket::from(stream.as_fd().try_clone_to_owned()?));
                Ok(AsyncTcpStream::Plain(match &tls {
                    Some(tls) => runtime::encrypted(stream, host, tls).await?,
                    None => runtime::plain(stream),
                }))
            },
            properties,
        );
        let connection = timeout(limit, connecting)
            .await
            .map_err(|_| BrokerError::Unavailable(format!("it did not answer within {} s", limit.as_secs())))?
            .map_err(|error| error_text::not_connected(&error, target))?;
        Ok(Self { connection, socket_shutdown })
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.status().connected()
    }

    pub(super) fn events(&self) -> impl futures_util::Stream<Item = lapin::Event> + Send + 'static {
        self.connection.events_listener()
    }

    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        answered(self.connection.create_channel()).await
    }

    pub(super) async fn channel_to_look(&self) -> Result<Channel, BrokerError> {
        answered_soon(self.connection.create_channel()).await
    }

    /// Closes in order, and shuts the socket down if the broker does not answer.
    pub(super) async fn close(&self) {
        let _ = timeout(CLOSE_LIMIT, self.connection.close(200, "bye".into())).await;
        self.socket_shutdown.now();
    }
}

fn hold(state: &Mutex<SocketState>, socket: Socket) {
    let mut state = state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    match *state {
        SocketState::ShutDown => drop(socket.shutdown(Shutdown::Both)),
        SocketState::NotYet | SocketState::Open(_) => *state = SocketState::Open(socket),
    }
}

impl SocketShutdown {
    fn now(&self) {
        let mut state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let SocketState::Open(socket) = std::mem::replace(&mut *state, SocketState::ShutDown) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for SocketShutdown {
    fn drop(&mut self) {
        self.now();
    }
}

/// Waits for the answer to one method, not longer than is sensible.
pub(super) async fn answered<T>(method: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    answered_within(ANSWER_LIMIT, method).await
}

/// For a look that nobody should wait for.
pub(super) async fn answered_soon<T>(method: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    answered_within(LOOK_LIMIT, method).await
}

async fn answered_within<T>(limit: Duration, method: impl Future<Output = lapin::Result<T>>) -> Result<T, BrokerError> {
    match timeout(limit, method).await {
        Ok(answer) => answer.map_err(|error| error_text::failure(&error)),
        Err(_) => Err(BrokerError::Unavailable(format!("no answer within {} s", limit.as_secs()))),
    }
}
