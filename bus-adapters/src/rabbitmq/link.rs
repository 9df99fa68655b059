//! One AMQP connection that is made again for ever. Its users take what is there and come back when it is gone; lapin's
//! own recovery stays off, because it gives up and never mends a channel.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::stream;
use super::tls::Tls;
use crate::backoff::Delays;
use crate::config::BusConfig;
use crate::port::BusError;

/// How often a connection is looked at besides its events, in milliseconds.
const LOOK_MS: u64 = 500;

/// A supervised connection. Ends when it is dropped or closed.
#[derive(Debug)]
pub(super) struct Link {
    current: watch::Receiver<Option<Arc<Connection>>>,
    why: Arc<Mutex<String>>,
    stop: CancellationToken,
    tasks: TaskTracker,
    connect_timeout: Duration,
    _end: DropGuard,
}

impl Link {
    pub(super) fn start(uri: &AMQPUri, tls: &Tls, role: &'static str, config: &BusConfig) -> Self {
        let (sender, current) = watch::channel(None);
        let why = Arc::new(Mutex::new("no attempt has ended yet".to_owned()));
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let supervisor = Supervisor {
            uri: uri.clone(),
            tls: tls.clone(),
            role,
            sender,
            why: Arc::clone(&why),
            connect_timeout: config.connect_timeout(),
        };
        let ended = stop.clone();
        tasks.spawn(async move { supervisor.run(ended).await });
        tasks.close();
        let guard = stop.clone().drop_guard();
        Self { current, why, stop, tasks, connect_timeout: config.connect_timeout(), _end: guard }
    }

    /// The connection, if it is up.
    pub(super) fn current(&self) -> Option<Arc<Connection>> {
        self.current.borrow().clone().filter(|connection| connection.status().connected())
    }

    /// Waits for the connection without end.
    pub(super) async fn up(&self) -> Option<Arc<Connection>> {
        let mut current = self.current.clone();
        current.wait_for(Option::is_some).await.ok().and_then(|connection| connection.clone())
    }

    /// Waits for the connection, at most for the connect timeout.
    pub(super) async fn up_in_time(&self) -> Result<Arc<Connection>, BusError> {
        match tokio::time::timeout(self.connect_timeout, self.up()).await {
            Ok(Some(connection)) => Ok(connection),
            Ok(None) => Err(BusError::Unreachable("the bus is closed".into())),
            Err(_) => Err(BusError::Unreachable(unreachable(&self.last_failure(), self.connect_timeout))),
        }
    }

    pub(super) fn last_failure(&self) -> String {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) async fn close(&self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// What failed, and what mends it.
fn unreachable(why: &str, within: Duration) -> String {
    let what = match () {
        () if why.contains("ACCESS_REFUSED") && !why.contains("vhost") => {
            "it refuses the user or the password of the URL; correct them (special characters percent-encoded), or set them \
             with `rabbitmqctl add_user` or `change_password`. The user `guest` may come from the broker's own machine only"
        }
        () if why.contains("vhost") => {
            "the URL's virtual host is not there, or the user has no rights in it; correct what stands behind the last `/` \
             (`/` itself is written %2f), or use `rabbitmqctl add_vhost` and `set_permissions`"
        }
        () => "check the URL's host and port, the broker and the user's rights",
    };
    format!("RabbitMQ can't be reached within {} ms: {why}; {what}", within.as_millis())
}

struct Supervisor {
    uri: AMQPUri,
    tls: Tls,
    role: &'static str,
    sender: watch::Sender<Option<Arc<Connection>>>,
    why: Arc<Mutex<String>>,
    connect_timeout: Duration,
}

impl Supervisor {
    async fn run(self, stop: CancellationToken) {
        let mut delays = Delays::new();
        loop {
            let attempt = tokio::select! {
                () = stop.cancelled() => return,
                attempt = tokio::time::timeout(self.connect_timeout, self.connect()) => attempt,
            };
            let why = match attempt {
                Ok(Ok(connection)) => {
                    delays.reset();
                    let connection = Arc::new(connection);
                    self.sender.send_replace(Some(Arc::clone(&connection)));
                    let why = tokio::select! {
                        () = stop.cancelled() => {
                            self.sender.send_replace(None);
                            let _ = connection.close(200, "Flagstop closes the bus".into()).await;
                            return;
                        }
                        why = lost(&connection) => why,
                    };
                    self.sender.send_replace(None);
                    why
                }
                Ok(Err(why)) => why.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            let delay = delays.next_delay();
            tracing::warn!(role = self.role, %why, delay_ms = delay.as_millis(), "no connection to RabbitMQ; trying again");
            *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(delay) => {}
            }
        }
    }

    async fn connect(&self) -> lapin::Result<Connection> {
        let name = format!("flagstop {} (pid {})", self.role, std::process::id());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        stream::connect(self.uri.clone(), &self.tls, properties).await
    }
}

/// Answers when the connection is gone, with the reason.
async fn lost(connection: &Connection) -> String {
    let mut events = connection.events_listener();
    let mut look = tokio::time::interval(Duration::from_millis(LOOK_MS));
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Error(why)) if !connection.status().connected() => return why.to_string(),
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::warn!(%why, "RabbitMQ blocks publishing until it has resources again");
                }
                Some(_) => {}
                None => return "the connection ended".into(),
            },
            _ = look.tick() => {
                if !connection.status().connected() {
                    return "the connection was lost".into();
                }
            }
        }
    }
}
