//! The connection's bytes on their way to the client library, mended by [`super::mend`]: a runtime for lapin that is tokio's
//! but for its streams. Must never change what we send.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::{DummyIO, RuntimeParts};
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use lapin::tcp::{AMQPUriTcpExt as _, AsyncTcpStream};
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties};

use super::mend::Mender;
use super::tls::Tls;

/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 32 * 1024;

/// Connects, with TLS where the URL says so.
pub(super) async fn connect(uri: AMQPUri, tls: &Tls, properties: ConnectionProperties) -> lapin::Result<Connection> {
    let tls = tls.config()?;
    let runtime = Runtime::new(RuntimeParts::new(Tokio::current(), Mending(Tokio::current())));
    let connect = async move |uri: AMQPUri, _: Runtime<RuntimeParts<Tokio, Mending>>| {
        let stream = uri.connect_with_config_async(tls.as_ref(), &Runtime::tokio_current()).await?;
        Ok(AsyncTcpStream::Plain(Mended::new(stream)))
    };
    Connection::connector(uri, runtime, connect, properties).await
}

#[derive(Debug, Clone)]
struct Mending(Tokio);

type Socket = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// A connection, encrypted or not, whose incoming frames are mended.
struct Mended {
    socket: Socket,
    mender: Mender,
    piece: Box<[u8]>,
    /// Mended and not yet taken, from `taken` on.
    ready: Vec<u8>,
    taken: usize,
}

// === impl Mended ===

impl Mended {
    fn new(socket: Socket) -> Self {
        let piece = vec![0; PIECE_BYTES].into_boxed_slice();
        Self { socket, mender: Mender::default(), piece, ready: Vec::new(), taken: 0 }
    }
}

impl AsyncRead for Mended {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        while this.taken == this.ready.len() {
            this.ready.clear();
            this.taken = 0;
            let count = ready!(Pin::new(&mut this.socket).poll_read(cx, &mut this.piece))?;
            if count == 0 {
                // The rest of a frame that is not whole is of no use.
                return Poll::Ready(Ok(0));
            }
            this.mender.pass(&this.piece[..count], &mut this.ready);
        }
        let count = buffer.len().min(this.ready.len() - this.taken);
        buffer[..count].copy_from_slice(&this.ready[this.taken..this.taken + count]);
        this.taken += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Mended {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_close(cx)
    }
}

// === impl Mending ===

impl Reactor for Mending {
    type TcpStream = Mended;
    type Sleep = <Tokio as Reactor>::Sleep;

    /// Nothing is registered: the connection is made by [`connect`].
    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<DummyIO, _>(io::Error::other("sockets are made by the connection alone"))
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Mended::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}
