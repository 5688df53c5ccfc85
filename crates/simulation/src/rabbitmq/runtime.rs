//! [`connect`]: opens a connection of the AMQP client on a [`Link`].

use std::future::{Future, poll_fn};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_rs::traits::{Executor, Reactor, RuntimeKit};
use async_rs::util::{DummyIO, Task, simple_block_on};
use async_rs::{Runtime, Tokio};
use futures_core::Stream as Items;
use lapin::uri::AMQPUri;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};

use super::link::{Link, Stream};

/// Connects to the broker behind `link`.
pub(super) async fn connect(
    link: Arc<Link>,
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let runtime = Runtime::new(Kit { tokio: Tokio::current(), link: Arc::clone(&link) });
    // The link is the only address.
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 5672));
    let dial = async move |_, runtime| Ok(AsyncTcpStream::connect(&runtime, address).await?);
    let mut connecting = pin!(Connection::connector(uri, runtime, dial, properties));
    poll_fn(|context| {
        let polled = connecting.as_mut().poll(context);
        // The first poll starts the thread.
        link.started();
        polled
    })
    .await
}

/// Tokio, with the stream of a link.
#[derive(Clone)]
struct Kit {
    tokio: Tokio,
    link: Arc<Link>,
}

impl std::fmt::Debug for Kit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Kit")
    }
}

impl RuntimeKit for Kit {}

impl Executor for Kit {
    type Task<T: Send + 'static> = <Tokio as Executor>::Task<T>;

    /// Called by the client's thread alone.
    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        self.link.wait_for_turn();
        simple_block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<Self::Task<T>> {
        self.tokio.spawn(future)
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, work: F) -> Task<Self::Task<T>> {
        self.tokio.spawn_blocking(work)
    }
}

impl Reactor for Kit {
    type TcpStream = Stream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static> {
        Err::<DummyIO, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.tokio.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Items<Item = Instant> + Send + 'static {
        self.tokio.interval(duration)
    }

    fn tcp_connect_addr(&self, _: SocketAddr) -> impl Future<Output = io::Result<Stream>> + Send + 'static {
        std::future::ready(Ok(Stream(Arc::clone(&self.link))))
    }
}
