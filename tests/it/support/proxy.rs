//! A TCP proxy before the broker that simulates network faults: slow, silent, or cut at a chosen place.
//!
//! It parses AMQP frames only to detect publishes and acknowledgements
//! (<https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf>, 2.3.5), and does not change them.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The time limit of a cut; beyond it the test has no traffic.
const CUT_TIME_MAX: Duration = Duration::from_secs(60);
const MANAGEMENT_PORT_OFFSET: u16 = 10_000;
const CHUNK_BYTES: usize = 64 * 1024;
/// The bytes of type, channel and size before the payload of a frame. One byte follows the payload.
const FRAME_HEAD_BYTES: usize = 7;
const PROTOCOL_HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";

/// The place where every connection is cut, with an RST to both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At once.
    Now,
    /// Within the next publish, of which the broker gets a part.
    InWrite,
    /// Between the next publish, which the broker gets, and its confirm, which the client does not get.
    BeforeAnswer,
    /// Before the next acknowledgement of a consumer, which the broker does not get.
    BeforeAck,
}

/// The proxy. Dropping it ends its connections.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _acceptors: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    delay: Mutex<Duration>,
    /// The next cut, and how many bytes the broker gets before it can happen.
    armed: Mutex<Option<(Cut, usize)>>,
    /// The number of cuts. A connection that sees it change ends with an RST.
    cuts: watch::Sender<usize>,
    silent: watch::Sender<bool>,
    connections: AtomicUsize,
    bytes_to_broker: AtomicUsize,
    bytes_from_broker: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    ToBroker,
    FromBroker,
}

/// State shared by the two directions of a connection.
#[derive(Default)]
struct Line {
    /// A publish was forwarded; its confirm must not arrive.
    answer_is_due: AtomicBool,
}

impl Proxy {
    /// Starts the proxy on a loopback port. The management API has the same port offset as at the broker and is neither
    /// cut nor delayed.
    pub(crate) async fn start(broker: u16) -> Self {
        let (amqp, management) = listen().await;
        let port = amqp.local_addr().expect("an address").port();
        let shared = Arc::<Shared>::default();
        let mut acceptors = JoinSet::new();
        acceptors.spawn(accept(amqp, {
            let shared = shared.clone();
            move |client| {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                connection(client, broker, shared.clone())
            }
        }));
        acceptors.spawn(accept(management, move |mut client| async move {
            let Some(mut broker) = connect(broker + MANAGEMENT_PORT_OFFSET).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut client, &mut broker).await;
        }));
        Self { port, shared, _acceptors: acceptors }
    }

    /// Returns the port of the proxy.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Delays the bytes read from now on in each direction. The bandwidth is not limited.
    pub(crate) fn delay(&self, each_way: Duration) {
        *self.shared.delay.lock().expect("no panic") = each_way;
    }

    /// Stops forwarding in both directions without closing a connection, as a network that drops every packet.
    pub(crate) fn silence(&self) {
        self.shared.silent.send_replace(true);
    }

    /// Resumes forwarding, starting with the bytes held back.
    pub(crate) fn resume(&self) {
        self.shared.silent.send_replace(false);
    }

    /// Cuts every connection when the first of them reaches `place`. Waits for the cut.
    pub(crate) async fn cut(&self, place: Cut) {
        self.cut_after(0, place).await;
    }

    /// Cuts every connection at `place`, once so many more bytes were forwarded to the broker. Waits for the cut.
    pub(crate) async fn cut_after(&self, bytes: usize, place: Cut) {
        if place == Cut::Now {
            self.shared.cut();
            return;
        }
        let mut cuts = self.shared.cuts.subscribe();
        *self.shared.armed.lock().expect("no panic") = Some((place, self.bytes().0 + bytes));
        let happened = tokio::time::timeout(CUT_TIME_MAX, cuts.changed()).await;
        assert!(happened.is_ok(), "{place:?}: no connection came there within {CUT_TIME_MAX:?}");
    }

    /// Returns the number of connections accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// Returns the number of bytes forwarded so far to and from the broker.
    pub(crate) fn bytes(&self) -> (usize, usize) {
        let load = |bytes: &AtomicUsize| bytes.load(Ordering::Relaxed);
        (load(&self.shared.bytes_to_broker), load(&self.shared.bytes_from_broker))
    }
}

impl Shared {
    fn cut(&self) {
        *self.armed.lock().expect("no panic") = None;
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn is_armed(&self, place: Cut) -> bool {
        let armed = *self.armed.lock().expect("no panic");
        armed.is_some_and(|(at, bytes)| at == place && self.bytes_to_broker.load(Ordering::Relaxed) >= bytes)
    }
}

/// Binds two free ports with the offset of the management API.
async fn listen() -> (TcpListener, TcpListener) {
    loop {
        let amqp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free loopback port");
        let port = amqp.local_addr().expect("an address").port();
        let Some(beside) = port.checked_add(MANAGEMENT_PORT_OFFSET) else { continue };
        if let Ok(management) = TcpListener::bind((Ipv4Addr::LOCALHOST, beside)).await {
            return (amqp, management);
        }
    }
}

async fn accept<F>(listener: TcpListener, connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client));
        while connections.try_join_next().is_some() {}
    }
}

/// Forwards one connection until both sides have closed it or it is cut.
async fn connection(mut client: TcpStream, broker: u16, shared: Arc<Shared>) {
    let mut cuts = shared.cuts.subscribe();
    let Some(mut broker) = connect(broker).await else { return reset(&client) };
    // No Nagle delay: small frames are sent at once.
    let _ = client.set_nodelay(true);
    let line = Line::default();
    let was_cut = {
        let ((from_client, to_client), (from_broker, to_broker)) = (client.split(), broker.split());
        tokio::select! {
            biased;
            _ = cuts.changed() => true,
            _ = futures_util::future::join(
                pump(from_client, to_broker, Direction::ToBroker, &shared, &line),
                pump(from_broker, to_client, Direction::FromBroker, &shared, &line),
            ) => false,
        }
    };
    if was_cut {
        reset(&client);
        reset(&broker);
    }
}

async fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// Makes the socket end with an RST when it is dropped; unsent bytes are lost.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Forwards one direction, in order, after the delay.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, direction: Direction, shared: &Shared, line: &Line) {
    let (sender, mut chunks) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reading = async move {
        loop {
            let mut chunk = vec![0; CHUNK_BYTES];
            let Ok(read @ 1..) = from.read(&mut chunk).await else { return };
            chunk.truncate(read);
            let due = Instant::now() + *shared.delay.lock().expect("no panic");
            if sender.send((due, chunk)).is_err() {
                return;
            }
        }
    };
    let writing = async move {
        let mut silent = shared.silent.subscribe();
        let mut frames = Frames::default();
        while let Some((due, chunk)) = chunks.recv().await {
            tokio::time::sleep_until(due).await;
            let _ = silent.wait_for(|silent| !silent).await;
            let ready = frames.complete(&chunk);
            let (forwarded, cut) = decide(&ready, direction, shared, line);
            if to.write_all(forwarded).await.is_err() {
                break;
            }
            let count =
                if direction == Direction::ToBroker { &shared.bytes_to_broker } else { &shared.bytes_from_broker };
            count.fetch_add(forwarded.len(), Ordering::Relaxed);
            if cut {
                shared.cut();
                // The task that waits for cuts ends the connection.
                std::future::pending::<()>().await;
            }
        }
        let _ = to.shutdown().await;
    };
    futures_util::future::join(reading, writing).await;
}

/// Returns how many bytes of these whole frames are forwarded, and whether the connection is then cut.
fn decide<'f>(frames: &'f [u8], direction: Direction, shared: &Shared, line: &Line) -> (&'f [u8], bool) {
    match direction {
        Direction::ToBroker => {
            if let (Some(publish), true) = (find(frames, PUBLISH), shared.is_armed(Cut::InWrite)) {
                return (&frames[..(publish + frames.len()).div_ceil(2)], true);
            }
            if let (Some(ack), true) = (find(frames, ACK), shared.is_armed(Cut::BeforeAck)) {
                return (&frames[..ack], true);
            }
            if find(frames, PUBLISH).is_some() && shared.is_armed(Cut::BeforeAnswer) {
                line.answer_is_due.store(true, Ordering::Relaxed);
            }
        }
        Direction::FromBroker => {
            let due = line.answer_is_due.load(Ordering::Relaxed);
            if due && shared.is_armed(Cut::BeforeAnswer) && !frames.is_empty() {
                return (&[], true);
            }
        }
    }
    (frames, false)
}

// ---- frames
// --------------------------------------------------------------------------------------------------------------

/// Class and method at the start of the payload of a method frame.
const PUBLISH: [u8; 4] = [0, 60, 0, 40];
const ACK: [u8; 4] = [0, 60, 0, 80];
const METHOD_FRAME: u8 = 1;

/// Bytes that do not form a whole frame yet.
#[derive(Default)]
struct Frames(Vec<u8>);

impl Frames {
    /// Adds bytes. Returns the whole frames.
    fn complete(&mut self, read: &[u8]) -> Vec<u8> {
        self.0.extend_from_slice(read);
        let mut end = 0;
        while let Some(bytes) = frame_bytes(&self.0[end..]) {
            end += bytes;
        }
        self.0.drain(..end).collect()
    }
}

/// Returns the length of the first frame or protocol header; `None` if it is incomplete.
fn frame_bytes(bytes: &[u8]) -> Option<usize> {
    let frame = match bytes {
        [b'A', ..] => PROTOCOL_HEADER.len(),
        [_, _, _, a, b, c, d, ..] => FRAME_HEAD_BYTES + u32::from_be_bytes([*a, *b, *c, *d]) as usize + 1,
        _ => return None,
    };
    (bytes.len() >= frame).then_some(frame)
}

/// Returns the position of the first of these methods among whole frames.
fn find(frames: &[u8], method: [u8; 4]) -> Option<usize> {
    let mut start = 0;
    while let Some(bytes) = frame_bytes(&frames[start..]) {
        let frame = &frames[start..start + bytes];
        if frame[0] == METHOD_FRAME && frame[FRAME_HEAD_BYTES..].starts_with(&method) {
            return Some(start);
        }
        start += bytes;
    }
    None
}
