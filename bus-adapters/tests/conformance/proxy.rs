//! A TCP proxy that can cut or swallow what goes through it, for tests of lost connections and of stopped workers.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub struct Proxy {
    pub port: u16,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
    frozen: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    pub async fn to(target: String) -> Self {
        Self::between(target, None).await
    }

    /// For a protocol whose server tells clients its own address (`host:port`, as Kafka does): the proxy's port stands there
    /// instead, so that all connections go through it.
    pub async fn hiding(target: String) -> Self {
        let hidden = target.clone();
        Self::between(target, Some(hidden)).await
    }

    async fn between(target: String, hidden: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let kept = Arc::clone(&connections);
        let (frozen, freeze) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                let (target, mut freeze) = (target.clone(), freeze.clone());
                let rewrite = hidden.as_deref().map(|hidden| Rewrite::new(hidden, port));
                let connection = tokio::spawn(async move {
                    let Ok(mut outer) = TcpStream::connect(target).await else { return };
                    let frozen = async {
                        let _ = freeze.wait_for(|frozen| *frozen).await;
                    };
                    tokio::select! {
                        () = frozen => std::future::pending().await,
                        () = pump(&mut inner, &mut outer, rewrite) => {}
                    }
                });
                kept.lock().unwrap().push(connection);
            }
        });
        Self { port, connections, frozen, accepting }
    }

    /// From now on nothing is read or written any more, and nothing is closed: what each side sees of a peer whose
    /// process is stopped. New connections fare the same.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }

    /// Ends what was frozen; new connections are let through again.
    pub fn thaw(&self) {
        self.frozen.send_replace(false);
        self.cut();
    }

    /// Ends every connection that is open now; new ones are let through. Answers how many there were.
    pub fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *self.connections.lock().unwrap());
        connections.iter().filter(|connection| !connection.is_finished()).map(|connection| connection.abort()).count()
    }
}

async fn pump(inner: &mut TcpStream, outer: &mut TcpStream, rewrite: Option<Rewrite>) {
    let Some(mut rewrite) = rewrite else {
        let _ = copy_bidirectional(inner, outer).await;
        return;
    };
    let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (inner.split(), outer.split());
    let answers = async {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if to_client.write_all(&rewrite.pass(&buffer[..count])).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = answers => {}
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
    }
}

/// Replaces an address in a stream of bytes by one of the same length: the host's text with the port as a 32-bit number.
struct Rewrite {
    from: Vec<u8>,
    to: Vec<u8>,
    /// What may be the beginning of the address, at the end of what came so far.
    held: Vec<u8>,
}

impl Rewrite {
    fn new(hidden: &str, port: u16) -> Self {
        let (host, hidden_port) = hidden.rsplit_once(':').expect("host:port");
        let bytes = |port: u16| [host.as_bytes(), &i32::from(port).to_be_bytes()].concat();
        Self { from: bytes(hidden_port.parse().expect("a port")), to: bytes(port), held: Vec::new() }
    }

    fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(found) = all[at..].windows(self.from.len()).position(|window| window == self.from) {
            at += found + self.from.len();
            all[at - self.from.len()..at].copy_from_slice(&self.to);
        }
        let longest = (self.from.len() - 1).min(all.len() - at);
        let held = (1..=longest).rev().find(|length| all.ends_with(&self.from[..*length])).unwrap_or(0);
        self.held = all.split_off(all.len() - held);
        all
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

/// A port at which nobody listens.
pub async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound").port()
}
