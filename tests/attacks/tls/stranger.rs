//! OpenSSL as a server that is not what it should be, behind a switchboard that keeps everything said to it.

use super::certificates::ANYTHING_GOES;
use std::{
    io::{Read, Write},
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

/// One address for a whole environment; who answers there changes.
#[derive(Clone)]
pub struct Switchboard {
    pub port: u16,
    target: Arc<Mutex<Option<u16>>>,
    /// What was said to somebody who does not speak TLS at all.
    pub said_plainly: Arc<Mutex<Vec<u8>>>,
}

/// `openssl s_server`: what it decrypts goes to its standard output.
pub struct Stranger {
    child: Child,
    input: ChildStdin,
    output: Arc<Mutex<Vec<u8>>>,
    pub port: u16,
}

impl Switchboard {
    /// Within a runtime.
    pub fn open() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let board = Self { port, target: Arc::default(), said_plainly: Arc::default() };
        let answering = board.clone();
        tokio::spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answering.clone().answer(stream));
            }
        });
        board
    }

    pub fn connect_to(&self, port: Option<u16>) {
        *self.target.lock().unwrap() = port;
        self.said_plainly.lock().unwrap().clear();
    }

    async fn answer(self, mut stream: TcpStream) {
        let target = *self.target.lock().unwrap();
        if let Some(port) = target {
            let Ok(mut other) = TcpStream::connect(("127.0.0.1", port)).await else { return };
            let _ = copy_bidirectional(&mut stream, &mut other).await;
            return;
        }
        let mut first = vec![0; 16_384];
        let count = stream.read(&mut first).await.unwrap_or(0);
        self.said_plainly.lock().unwrap().extend_from_slice(&first[..count]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let count = stream.read(&mut first).await.unwrap_or(0);
        self.said_plainly.lock().unwrap().extend_from_slice(&first[..count]);
    }
}

impl Stranger {
    pub fn begin((certificate, key): &(PathBuf, PathBuf), more: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", "127.0.0.1:0", "-cipher", ANYTHING_GOES]).args(more);
        command.arg("-cert").arg(certificate).arg("-key").arg(key);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let (input, mut pipe) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let output = Arc::new(Mutex::new(Vec::new()));
        let kept = output.clone();
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(count) = pipe.read(&mut piece)
                && count > 0
            {
                kept.lock().unwrap().extend_from_slice(&piece[..count]);
            }
        });
        let mut stranger = Self { child, input, output, port: 0 };
        let begun = Instant::now();
        while stranger.port == 0 {
            let text = stranger.heard();
            let line = text.lines().find_map(|line| line.strip_prefix("ACCEPT ")).map(str::to_owned);
            stranger.port = line.and_then(|line| line.trim().rsplit(':').next()?.parse().ok()).unwrap_or(0);
            assert!(begun.elapsed() < Duration::from_secs(20), "openssl s_server does not listen: {text}");
            std::thread::sleep(Duration::from_millis(10));
        }
        stranger
    }

    pub fn heard(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    /// What it says to whoever is connected; a line of one letter is a command (`R`: negotiate again).
    pub fn say(&mut self, text: &str) {
        let _ = self.input.write_all(text.as_bytes());
        let _ = self.input.flush();
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
