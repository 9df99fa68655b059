//! A TCP proxy that can cut or swallow what goes through it, for tests of lost connections and of stopped workers.

use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
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
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let connections: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let kept = Arc::clone(&connections);
        let (frozen, freeze) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            while let Ok((mut inner, _)) = listener.accept().await {
                let (target, mut freeze) = (target.clone(), freeze.clone());
                let connection = tokio::spawn(async move {
                    let Ok(mut outer) = TcpStream::connect(target).await else { return };
                    let frozen = async {
                        let _ = freeze.wait_for(|frozen| *frozen).await;
                    };
                    tokio::select! {
                        () = frozen => std::future::pending().await,
                        _ = copy_bidirectional(&mut inner, &mut outer) => {}
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

    /// Ends every connection that is open now; new ones are let through. Answers how many there were.
    pub fn cut(&self) -> usize {
        let connections = std::mem::take(&mut *self.connections.lock().unwrap());
        connections.iter().filter(|connection| !connection.is_finished()).map(|connection| connection.abort()).count()
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
