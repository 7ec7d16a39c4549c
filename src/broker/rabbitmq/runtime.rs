//! What lapin runs on: tokio, with connections that speak TLS by our own settings.

use async_rs::{
    Runtime, Tokio,
    traits::{Executor, Reactor, RuntimeKit},
    util::Task,
};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{FutureExt, Stream};
use std::{
    future::Future,
    io::{self, Read, Write},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::{
    compat::{Compat, TokioAsyncReadCompatExt},
    either::Either,
};

/// Plain or TLS.
pub(super) type BrokerStream = Compat<Either<TcpStream, TlsStream<TcpStream>>>;

/// lapin's own way to TLS would bring a second set of libraries for certificates; all but the connection is tokio's.
#[derive(Clone, Debug)]
pub(super) struct TokioWithTls(Tokio);

/// Belongs to the tokio runtime in which it is called.
pub(super) fn current() -> Runtime<TokioWithTls> {
    Runtime::new(TokioWithTls(Tokio::current()))
}

pub(super) fn plain(stream: TcpStream) -> BrokerStream {
    Either::Left(stream).compat()
}

pub(super) async fn encrypted(
    stream: TcpStream,
    host: &str,
    settings: &Arc<rustls::ClientConfig>,
) -> io::Result<BrokerStream> {
    let name = rustls::pki_types::ServerName::try_from(host.to_owned());
    let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let stream = TlsConnector::from(settings.clone()).connect(name, stream).await?;
    Ok(Either::Right(stream).compat())
}

impl RuntimeKit for TokioWithTls {}

impl Executor for TokioWithTls {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.0.block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Self::Task<T>> {
        self.0.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, work: F) -> Task<Self::Task<T>> {
        self.0.spawn_blocking(work)
    }
}

impl Reactor for TokioWithTls {
    type TcpStream = BrokerStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(&self, address: SocketAddr) -> impl Future<Output = io::Result<BrokerStream>> + Send + 'static {
        TcpStream::connect(address).map(|stream| stream.map(plain))
    }
}
