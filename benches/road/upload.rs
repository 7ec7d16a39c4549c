//! One attachment, or one submission that names one: bytes go to the gateway, what it answered comes back.

use crate::{
    exchange::{Buffer, find},
    load_client::Question,
};
use anyhow::{Context, ensure};
use rustls::pki_types::ServerName;
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

/// The new attachment's identifier.
pub async fn upload(question: &Question, file: &[u8]) -> anyhow::Result<String> {
    let head =
        format!("POST /v1/attachments HTTP/1.1\r\ncontent-type: application/pdf\r\ncontent-length: {}\r\n", file.len());
    let answer = post(question, &head, file).await?;
    let attachment: serde_json::Value = serde_json::from_slice(&answer)?;
    attachment["id"].as_str().map(str::to_owned).context("an attachment without an identifier")
}

/// Waits until it is completed.
pub async fn submit(question: &Question, request: String) -> anyhow::Result<()> {
    let head = format!(
        "POST /v1/submissions HTTP/1.1\r\ncontent-type: application/json\r\nprefer: wait=60\r\nidempotency-key: {}\r\n\
         content-length: {}\r\n",
        uuid::Uuid::new_v4(),
        request.len()
    );
    let answer = post(question, &head, request.as_bytes()).await?;
    let is_completed = find(&answer, b"\"state\":\"completed\"").is_some();
    ensure!(is_completed, "not completed: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

async fn post(question: &Question, head: &str, body: &[u8]) -> anyhow::Result<Vec<u8>> {
    let port = question.ports[0];
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let connector = TlsConnector::from(question.tls.clone());
    let mut stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
    stream.write_all(format!("{head}host: localhost:{port}\r\n\r\n").as_bytes()).await?;
    stream.write_all(body).await?;
    stream.flush().await?;
    let mut buffer = Buffer::default();
    let message = buffer.read(&mut stream).await?.context("the connection was closed")?;
    let (head, body) = (buffer.head(&message), buffer.body(&message));
    ensure!(head.starts_with(b"HTTP/1.1 20"), "{}{}", String::from_utf8_lossy(head), String::from_utf8_lossy(body));
    Ok(body.to_vec())
}
