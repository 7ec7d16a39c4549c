//! `amqps`: our trust anchor and our certificate only, and never a password on a line that is not encrypted.

use super::fixture::*;
use punte::broker::{
    Broker, BrokerHealth,
    rabbitmq::{RabbitmqBroker, RabbitmqSettings},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, net::TcpListener, time::timeout};

fn broker_ca() -> CertificateDer<'static> {
    CertificateDer::from_pem_file(environment("PUNTE_TEST_AMQPS_CA")).unwrap()
}

fn other_ca() -> CertificateDer<'static> {
    let mut parameters = rcgen::CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    certificate.der().clone()
}

fn tls(ca: CertificateDer<'static>, with_certificate: bool) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    if !with_certificate {
        return Arc::new(builder.with_no_client_auth());
    }
    let certificate = CertificateDer::from_pem_file(environment("PUNTE_TEST_AMQPS_CERT")).unwrap();
    let key = PrivateKeyDer::from_pem_file(environment("PUNTE_TEST_AMQPS_KEY")).unwrap();
    Arc::new(builder.with_client_auth_cert(vec![certificate], key).unwrap())
}

fn settings(tls: Arc<ClientConfig>) -> RabbitmqSettings {
    RabbitmqSettings {
        tls: Some(tls),
        prefix: fresh_prefix(),
        ..RabbitmqSettings::new(environment("PUNTE_TEST_AMQPS_URL"))
    }
}

/// The broker cannot be connected to, and the reason given says so. A refusal may also be seen as a reset connection, now
/// and then, but not at each try.
async fn is_refused(settings: RabbitmqSettings, reason: &str) {
    let broker = RabbitmqBroker::start(settings).unwrap();
    eventually(reason, || async {
        match broker.health() {
            BrokerHealth::Disconnected(said) => said.contains(reason),
            connected => panic!("{connected:?}"),
        }
    })
    .await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqps_with_our_certificate_carries_messages_both_ways() {
    let settings = settings(tls(broker_ca(), true));
    let plain = Fixture::with(RabbitmqSettings { prefix: settings.prefix.clone(), ..super::fixture::settings() }).await;
    plain
        .play(|_| async move {
            let broker = RabbitmqBroker::start(settings).unwrap();
            connected(&broker).await;
            broker.declare(&[ours()]).await.unwrap();
            let mut deliveries = broker.consume(&ours(), 1).await.unwrap();
            let sent = item(&ours());
            publish(&broker, std::slice::from_ref(&sent)).await;
            assert_eq!(next_acked(&mut deliveries).await, sent);
            broker.close().await;
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_another_authority_is_refused() {
    is_refused(settings(tls(other_ca(), true)), "an authority that broker.ca does not hold").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_under_another_name_is_refused() {
    let mut settings = settings(tls(broker_ca(), true));
    // Linux takes this address for the loopback one; the broker's certificate does not name it.
    settings.uri = settings.uri.replace("localhost", "0.0.0.0");
    is_refused(settings, "does not name `0.0.0.0`").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_our_certificate_the_broker_refuses_us() {
    is_refused(settings(tls(broker_ca(), false)), "name broker.certificate and broker.key").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scheme_for_tls_at_the_plain_port_is_told_in_plain_words() {
    let port = environment("PUNTE_TEST_AMQP_URL").parse::<lapin::uri::AMQPUri>().unwrap().authority.port;
    let uri = format!("amqps://guest:guest@localhost:{port}/%2f");
    is_refused(RabbitmqSettings { uri, ..settings(tls(broker_ca(), true)) }, "does not speak TLS; amqps:// is for")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn amqps_to_a_port_without_tls_sends_a_hello_of_tls_and_no_credentials() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let settings = RabbitmqSettings {
        uri: format!("amqps://clerk:geheim@localhost:{port}/%2f"),
        connect_timeout: Duration::from_secs(1),
        ..settings(tls(broker_ca(), true))
    };
    let broker = RabbitmqBroker::start(settings).unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    let mut read = Vec::new();
    timeout(PATIENCE, peer.read_to_end(&mut read)).await.expect("the connection was never given up").unwrap();
    assert_eq!(read.first(), Some(&0x16), "not a TLS handshake record");
    for secret in [&b"geheim"[..], b"clerk", b"AMQP"] {
        assert!(!read.windows(secret.len()).any(|window| window == secret));
    }
    broker.close().await;
}
