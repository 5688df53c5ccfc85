//! A TCP proxy that breaks connections where it hurts: in the middle of a write, or after the broker worked and before its
//! answer is read. It can also make the network slow.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// From RabbitMQ's AMQP port to that of its management API, by the convention all of the project's nodes keep.
const MANAGEMENT: u16 = 10_000;
/// What is read at once; an AMQP frame of a small message is much less.
const CHUNK_BYTES_MAX: usize = 16 * 1024;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// All connections, at this moment.
    Now,
    /// The next that writes to the broker: half of the bytes get there.
    InWrite,
    /// The next that the broker writes to: it gets none of those bytes, so the broker has done what it does not tell.
    BeforeAnswer,
}

/// The proxy. It ends with this value.
pub(super) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

struct Shared {
    delay_us: AtomicU64,
    /// The cut that waits for its moment, and who waits to hear of it.
    armed: Mutex<Option<(Cut, oneshot::Sender<()>)>>,
    cut_all: watch::Sender<()>,
}

/// Which way bytes go.
#[derive(Clone, Copy)]
enum Way {
    ToBroker,
    FromBroker,
}

impl Proxy {
    /// Starts it in front of the broker at a loopback port. The management API is reached as beside the broker, and never cut.
    pub(super) async fn start(broker: u16) -> Self {
        let shared =
            Arc::new(Shared { delay_us: AtomicU64::new(0), armed: Mutex::default(), cut_all: watch::Sender::new(()) });
        let plain =
            Arc::new(Shared { delay_us: AtomicU64::new(0), armed: Mutex::default(), cut_all: watch::Sender::new(()) });
        let (amqp, management) = listen().await;
        let port = amqp.local_addr().expect("an address").port();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(amqp, broker, shared.clone()));
        tasks.spawn(serve(management, broker + MANAGEMENT, plain));
        Self { port, shared, _tasks: tasks }
    }

    /// The port that stands for the broker's.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// From now on, bytes take this much longer, each way.
    pub(super) fn delay(&self, delay: Duration) {
        let delay_us = u64::try_from(delay.as_micros()).expect("a short delay");
        self.shared.delay_us.store(delay_us, Ordering::Relaxed);
    }

    /// Cuts, and returns when it has happened: the ways that wait for traffic need some.
    pub(super) async fn cut(&self, cut: Cut) {
        if cut == Cut::Now {
            self.shared.cut_all.send_replace(());
            return;
        }
        let (sender, happened) = oneshot::channel();
        *self.shared.armed.lock().expect("no panic") = Some((cut, sender));
        happened.await.expect("the proxy runs");
    }
}

impl Shared {
    /// Whether this is the moment the armed cut waits for; it is armed no more then.
    fn is_now(&self, way: Way) -> bool {
        let mut armed = self.armed.lock().expect("no panic");
        let wanted = match way {
            Way::ToBroker => Cut::InWrite,
            Way::FromBroker => Cut::BeforeAnswer,
        };
        match armed.take_if(|(cut, _)| *cut == wanted) {
            Some((_, happened)) => {
                // Nobody waits any more when the test ended.
                let _ = happened.send(());
                true
            }
            None => false,
        }
    }
}

/// Two free ports, as far apart as a broker's two.
async fn listen() -> (TcpListener, TcpListener) {
    loop {
        let amqp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free loopback port");
        let port = amqp.local_addr().expect("an address").port();
        let Some(beside) = port.checked_add(MANAGEMENT) else { continue };
        if let Ok(management) = TcpListener::bind((Ipv4Addr::LOCALHOST, beside)).await {
            return (amqp, management);
        }
    }
}

async fn serve(listener: TcpListener, broker: u16, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(connect(client, broker, shared.clone()));
    }
}

/// One connection, until either side ends it or it is cut.
async fn connect(client: TcpStream, broker: u16, shared: Arc<Shared>) {
    let mut cut_all = shared.cut_all.subscribe();
    // Without a broker the client sees its connection closed at once.
    let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)).await else { return };
    for stream in [&client, &broker] {
        stream.set_nodelay(true).expect("a TCP socket");
    }
    let (from_client, to_client) = client.into_split();
    let (from_broker, to_broker) = broker.into_split();
    tokio::select! {
        () = pump(from_client, to_broker, Way::ToBroker, &shared) => {}
        () = pump(from_broker, to_client, Way::FromBroker, &shared) => {}
        _ = cut_all.changed() => {}
    }
}

/// Carries bytes one way, late if there is a delay, but as many at once as there are.
async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, way: Way, shared: &Shared) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async move {
        loop {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES_MAX);
            match from.read_buf(&mut chunk).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let due = Instant::now() + Duration::from_micros(shared.delay_us.load(Ordering::Relaxed));
            if sender.send((due, chunk)).is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, mut chunk)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            let cut = shared.is_now(way);
            if cut {
                chunk.truncate(match way {
                    Way::ToBroker => chunk.len() / 2,
                    Way::FromBroker => 0,
                });
            }
            if to.write_all(&chunk).await.is_err() || cut {
                return;
            }
        }
    };
    // Reading ends first when a side closes; what was read until then is still delivered.
    tokio::select! {
        () = write => {}
        () = async { read.await; std::future::pending::<()>().await } => {}
    }
}
