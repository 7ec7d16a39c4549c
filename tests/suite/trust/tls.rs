//! Handshakes on loopback: who gets through, who does not, and what the other side can tell about why.

use super::pki::{identity, now, pki};
use punte::http_client::{TlsFailure, tls_failure};
use punte::trust::{
    AgencyRoots, CertificateRefusal, ClientTls, ClientTrust, ClientTrustFiles, Identity, IdentityFiles, Purpose,
    Reloading, client_config, server_config, strict_server_config,
};
use rustls::{
    ClientConfig, NamedGroup, ProtocolVersion, ServerConfig,
    pki_types::{CertificateDer, ServerName},
};
use std::{io, path::Path, sync::Arc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// What the server saw of a client that got through.
struct Seen {
    chain: Vec<CertificateDer<'static>>,
    alpn: Option<Vec<u8>>,
    version: Option<ProtocolVersion>,
    group: Option<NamedGroup>,
}

/// One handshake and one byte each way.
async fn meet(server: ServerConfig, client: ClientConfig, name: &str) -> (io::Result<Seen>, io::Result<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let (stream, _) = listener.accept().await?;
        let mut stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await?;
        stream.write_all(b"x").await?;
        stream.read_u8().await?;
        let connection = stream.get_ref().1;
        Ok(Seen {
            chain: connection
                .peer_certificates()
                .unwrap_or_default()
                .iter()
                .map(|der| der.clone().into_owned())
                .collect(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            version: connection.protocol_version(),
            group: connection.negotiated_key_exchange_group().map(|group| group.name()),
        })
    });
    let connected = async {
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
        stream.read_u8().await?;
        stream.write_all(b"y").await?;
        stream.shutdown().await
    };
    let connected = connected.await;
    (served.await.unwrap(), connected)
}

fn reloading(stem: &Path) -> Arc<Reloading<Identity>> {
    let files = IdentityFiles {
        certificate: stem.with_extension("pem"),
        key: stem.with_extension("key"),
        purpose: Purpose::TlsServer,
    };
    Arc::new(Reloading::load(files, now()).unwrap())
}

fn offices() -> ClientTrust {
    let files = ClientTrustFiles {
        authorities: vec![pki().gateway("office-ca.pem")],
        revocation_lists: vec![pki().gateway("office.crl")],
    };
    ClientTrust::load(&files, now()).unwrap()
}

fn front_door() -> ServerConfig {
    server_config(reloading(&pki().gateway("server")), offices().subjects()).unwrap()
}

fn office_client(identity: Option<&Identity>) -> ClientConfig {
    let roots = AgencyRoots::load(&pki().gateway("server-ca.pem")).unwrap();
    client_config(&roots, ClientTls { identity, alpn: &[b"h2", b"http/1.1"], ..ClientTls::default() }).unwrap()
}

/// The simulated agency, which refuses strangers in the handshake.
fn agency_door(stem: &Path) -> ServerConfig {
    let files =
        ClientTrustFiles { authorities: vec![pki().simulator("soap", "client-ca.pem")], revocation_lists: vec![] };
    strict_server_config(reloading(stem), &ClientTrust::load(&files, now()).unwrap()).unwrap()
}

fn agency_client(identity: Option<&Identity>, pinned_sha256: Option<&str>) -> ClientConfig {
    let roots = AgencyRoots::load(&pki().agency("soap", "ca.pem")).unwrap();
    client_config(&roots, ClientTls { identity, alpn: &[b"http/1.1"], pinned_sha256, ..ClientTls::default() }).unwrap()
}

#[tokio::test]
async fn the_front_door_lets_everybody_shake_hands_and_then_knows_who_it_is() {
    let cases = [
        (Some(identity(&pki().office("causeni"))), None),
        (Some(identity(&pki().office("revoked"))), Some(CertificateRefusal::Revoked)),
        (Some(identity(&pki().rogue("office"))), Some(CertificateRefusal::UnknownIssuer)),
        (None, Some(CertificateRefusal::Missing)),
    ];
    for (identity, refusal) in cases {
        let (seen, connected) = meet(front_door(), office_client(identity.as_ref()), "localhost").await;
        let seen = seen.unwrap();
        connected.unwrap();
        assert_eq!(offices().judge(&seen.chain, now()).err(), refusal);
        assert_eq!(seen.alpn.as_deref(), Some(&b"h2"[..]));
        assert_eq!(seen.version, Some(ProtocolVersion::TLSv1_3));
        assert_eq!(seen.group, Some(NamedGroup::X25519MLKEM768));
    }
}

#[tokio::test]
async fn a_certificate_without_its_key_does_not_get_through() {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        // The office's certificate, but a stranger's key of the same kind.
        use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
        let key = PrivateKeyDer::from_pem_file(pki().rogue("office.key")).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let stolen = rustls::sign::CertifiedKey::new(identity(&pki().office("causeni")).chain().to_vec(), key);
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki().gateway("server-ca.pem")).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(stolen)));
        let (seen, _) = meet(front_door(), client, "localhost").await;
        assert!(seen.is_err(), "{version:?}");
    }
}

#[tokio::test]
async fn an_agency_refuses_strangers_in_the_handshake() {
    let ours = identity(&pki().agency("soap", "client"));
    let door = || agency_door(&pki().simulator("soap", "server"));
    let (seen, connected) = meet(door(), agency_client(Some(&ours), None), "127.0.0.1").await;
    assert!(connected.is_ok());
    assert_eq!(seen.unwrap().chain.first(), ours.chain().first());
    let strangers = [None, Some(identity(&pki().rogue("office"))), Some(identity(&pki().agency("rest", "client")))];
    for stranger in strangers {
        let (seen, connected) = meet(door(), agency_client(stranger.as_ref(), None), "localhost").await;
        assert!(seen.is_err());
        let failure = connected.err().and_then(|error| tls_failure(&error));
        assert!(matches!(failure, Some(TlsFailure::OurCertificate(_))), "{failure:?}");
    }
}

#[tokio::test]
async fn an_agencys_certificate_must_be_its_own_in_every_respect() {
    let ours = identity(&pki().agency("soap", "client"));
    let peer_fault = async |door: ServerConfig, client: ClientConfig, name: &str| {
        let (_, connected) = meet(door, client, name).await;
        connected.err().and_then(|error| tls_failure(&error))
    };
    let own = || agency_door(&pki().simulator("soap", "server"));
    let is_certificate = |failure: Option<TlsFailure>| matches!(failure, Some(TlsFailure::ServerCertificate(_)));
    // A stranger's, another agency's, and one for another name.
    let rogue = agency_door(&pki().rogue("server"));
    assert!(is_certificate(peer_fault(rogue, agency_client(Some(&ours), None), "localhost").await));
    let other = agency_door(&pki().simulator("rest", "server"));
    assert!(is_certificate(peer_fault(other, agency_client(Some(&ours), None), "localhost").await));
    assert!(is_certificate(peer_fault(own(), agency_client(Some(&ours), None), "registry.test").await));
    // Pinned: the one, and not another of the same authority.
    let pin = identity(&pki().simulator("soap", "server")).facts().fingerprint_sha256.clone();
    assert_eq!(peer_fault(own(), agency_client(Some(&ours), Some(&pin)), "localhost").await, None);
    let wrong = "0".repeat(64);
    assert!(is_certificate(peer_fault(own(), agency_client(Some(&ours), Some(&wrong)), "localhost").await));
}

#[tokio::test]
async fn a_new_server_certificate_is_shown_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let files = IdentityFiles {
        certificate: dir.path().join("s.pem"),
        key: dir.path().join("s.key"),
        purpose: Purpose::TlsServer,
    };
    let put = |stem: &Path| {
        std::fs::copy(stem.with_extension("pem"), &files.certificate).unwrap();
        std::fs::copy(stem.with_extension("key"), &files.key).unwrap();
    };
    put(&pki().rogue("server"));
    let identity = Arc::new(Reloading::<Identity>::load(files.clone(), now()).unwrap());
    let door = server_config(Arc::clone(&identity), Vec::new()).unwrap();
    let (_, connected) = meet(door.clone(), office_client(None), "localhost").await;
    assert!(connected.is_err());
    put(&pki().gateway("server"));
    identity.refresh(now());
    let (_, connected) = meet(door, office_client(None), "localhost").await;
    assert!(connected.is_ok());
}
