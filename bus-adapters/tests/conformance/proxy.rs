//! A TCP proxy that can cut or swallow what goes through it, for tests of lost connections and of stopped workers.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::tcp::{ReadHalf, WriteHalf};
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
        Self::between(target, Vec::new(), Vec::new()).await
    }

    /// Replaces bytes by others of the same length in what clients send: what no well-behaved client would.
    pub async fn replacing(target: String, replaced: &[(&[u8], &[u8])]) -> Self {
        let replaced = replaced.iter().map(|(from, to)| (from.to_vec(), to.to_vec())).collect();
        Self::between(target, Vec::new(), replaced).await
    }

    /// For a protocol whose server tells clients its own address (`host:port`, as Kafka does): the proxy's port stands there
    /// instead, so that all connections go through it.
    pub async fn hiding(target: String) -> Self {
        let hidden = target.clone();
        Self::between(target, vec![hidden], Vec::new()).await
    }

    async fn between(target: String, hidden: Vec<String>, replaced: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let kept = Arc::clone(&connections);
        let (frozen, freeze) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                let (target, mut freeze) = (target.clone(), freeze.clone());
                let answers: Vec<Rewrite> = hidden.iter().map(|hidden| Rewrite::address(hidden, port)).collect();
                let requests: Vec<Rewrite> = replaced.iter().map(|(from, to)| Rewrite::of(from, to)).collect();
                let connection = tokio::spawn(async move {
                    let Ok(mut outer) = TcpStream::connect(target).await else { return };
                    let frozen = async {
                        let _ = freeze.wait_for(|frozen| *frozen).await;
                    };
                    tokio::select! {
                        () = frozen => std::future::pending().await,
                        () = pump(&mut inner, &mut outer, requests, answers) => {}
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

async fn pump(inner: &mut TcpStream, outer: &mut TcpStream, requests: Vec<Rewrite>, answers: Vec<Rewrite>) {
    if requests.is_empty() && answers.is_empty() {
        let _ = copy_bidirectional(inner, outer).await;
        return;
    }
    let ((from_client, to_client), (from_server, to_server)) = (inner.split(), outer.split());
    tokio::select! {
        () = copy(from_client, to_server, requests) => {}
        () = copy(from_server, to_client, answers) => {}
    }
}

async fn copy(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut rewrites: Vec<Rewrite>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let passed = rewrites.iter_mut().fold(buffer[..count].to_vec(), |bytes, rewrite| rewrite.pass(&bytes));
        if to.write_all(&passed).await.is_err() {
            break;
        }
    }
}

/// Replaces bytes in a stream by others of the same length.
struct Rewrite {
    from: Vec<u8>,
    to: Vec<u8>,
    /// What may be the beginning of them, at the end of what came so far.
    held: Vec<u8>,
}

impl Rewrite {
    fn of(from: &[u8], to: &[u8]) -> Self {
        assert_eq!(from.len(), to.len(), "lengths are told elsewhere in the stream");
        Self { from: from.to_vec(), to: to.to_vec(), held: Vec::new() }
    }

    /// The host's text with the port as a 32-bit number.
    fn address(hidden: &str, port: u16) -> Self {
        let (host, hidden_port) = hidden.rsplit_once(':').expect("host:port");
        let bytes = |port: u16| [host.as_bytes(), &i32::from(port).to_be_bytes()].concat();
        Self::of(&bytes(hidden_port.parse().expect("a port")), &bytes(port))
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
