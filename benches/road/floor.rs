//! The floor: the least that a program must do which does Punte's errand over the same wires. A request comes in over
//! mutual TLS, is published with confirm to a quorum queue, consumed, signed with RSA or P-256, posted over mutual TLS,
//! and the answer goes to the waiting client.
//!
//! No journal, no validation, no templates, no verification, no retries: nobody should run this. It is a process of its
//! own, so that its processor time and memory are measured as Punte's are, and written to be quick: it is the baseline.

mod agency_client;
mod envelope;
pub mod queue;

use agency_client::AgencyClient;
use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use envelope::Envelope;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use lapin::message::Delivery;
use punte::trust::{ClientTrust, ClientTrustFiles, Identity, IdentityFiles, Purpose, Reloading, strict_server_config};
use queue::Queue;
use std::{
    collections::HashMap,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tokio_rustls::TlsAcceptor;

/// What the floor is told by the measurement that starts it.
#[derive(Args)]
pub struct FloorArguments {
    /// Keys as `dev_pki` writes them
    #[arg(long)]
    pub secrets: PathBuf,
    #[arg(long)]
    pub agency: String,
    #[arg(long)]
    pub agency_port: u16,
    #[arg(long)]
    pub amqp: String,
    #[arg(long)]
    pub queue: String,
}

struct Floor {
    queue: Queue,
    agency: AgencyClient,
    envelope: Envelope,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Bytes>>>,
    last: AtomicU64,
}

pub fn main(arguments: &FloorArguments) -> anyhow::Result<()> {
    // Whoever has started the floor holds its standard input: when that ends, so does the floor.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    tokio::runtime::Runtime::new()?.block_on(serve(arguments))
}

async fn serve(arguments: &FloorArguments) -> anyhow::Result<()> {
    let keys = arguments.secrets.join("agencies").join(&arguments.agency);
    let (queue, consumer) = Queue::open(&arguments.amqp, &arguments.queue).await?;
    let floor = Arc::new(Floor {
        queue,
        agency: AgencyClient::new(&keys, arguments.agency_port)?,
        envelope: Envelope::new(&keys)?,
        waiting: Mutex::default(),
        last: AtomicU64::new(0),
    });
    tokio::spawn(queue::consume(consumer, {
        let floor = floor.clone();
        move |delivery| drop(tokio::spawn(floor.clone().deliver(delivery)))
    }));
    let acceptor = acceptor(&arguments.secrets.join("gateway"))?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(floor.clone().connection(stream, acceptor.clone()));
    }
}

fn acceptor(folder: &Path) -> anyhow::Result<TlsAcceptor> {
    let now = Timestamp::now();
    let files = IdentityFiles {
        certificate: folder.join("server.pem"),
        key: folder.join("server.key"),
        purpose: Purpose::TlsServer,
    };
    let identity = Arc::new(Reloading::<Identity>::load(files, now)?);
    let offices = ClientTrustFiles { authorities: vec![folder.join("office-ca.pem")], revocation_lists: Vec::new() };
    let tls = strict_server_config(identity, &ClientTrust::load(&offices, now)?)?;
    Ok(TlsAcceptor::from(Arc::new(tls)))
}

impl Floor {
    async fn connection(self: Arc<Self>, stream: TcpStream, acceptor: TlsAcceptor) {
        let _ = stream.set_nodelay(true);
        let Ok(stream) = acceptor.accept(stream).await else { return };
        let service = service_fn(|request| {
            let floor = self.clone();
            async move { floor.request(request).await }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    }

    async fn request(&self, request: Request<Incoming>) -> anyhow::Result<Response<Full<Bytes>>> {
        let body = request.into_body().collect().await?.to_bytes();
        let id = self.last.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id, sender);
        let confirm = self.queue.publish(&[&id.to_be_bytes()[..], &body].concat()).await?;
        let (confirmed, answer) = tokio::join!(confirm, receiver);
        let is_confirmed = confirmed?.is_ack();
        let answer = Response::builder()
            .status(if is_confirmed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
            .header("content-type", "text/xml")
            .body(Full::new(answer?))?;
        Ok(answer)
    }

    async fn deliver(self: Arc<Self>, delivery: Delivery) {
        if let Err(error) = self.try_deliver(&delivery).await {
            eprintln!("floor: {error:#}");
        }
    }

    /// The message carries the request; signing has the time of one of the threads that serve the network.
    async fn try_deliver(&self, delivery: &Delivery) -> anyhow::Result<()> {
        let (id, request) = delivery.data.split_first_chunk().context("an empty message")?;
        let signed = self.envelope.sealed(request)?;
        let answer = self.agency.post(signed).await?;
        if let Some(sender) = self.waiting().remove(&u64::from_be_bytes(*id)) {
            let _ = sender.send(answer);
        }
        queue::ack(delivery).await
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Bytes>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
