//! A proxy between a client and a broker that loses answers and requests, and that drops connections as a network does:
//! without a word. Connections to the addresses in the broker's answers go through it too.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The keys of requests.
pub(crate) const PRODUCE: i16 = 0;
const METADATA: i16 = 3;
pub(crate) const OFFSET_COMMIT: i16 = 8;
const FIND_COORDINATOR: i16 = 10;

pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    _connections: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    broker: u16,
    port: u16,
    /// The answers to batches that are still to be lost.
    to_lose: AtomicUsize,
    /// The keys of requests in whose place connections are closed.
    cut: Mutex<Vec<i16>>,
    /// The keys of the requests that arrived.
    requests: Mutex<Vec<i16>>,
    /// The connections that are silent.
    open: Mutex<Vec<Arc<AtomicBool>>>,
}

impl Proxy {
    pub(crate) async fn start(broker: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free loopback port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared { broker, port, ..Shared::default() });
        let (mut accepting, held) = (JoinSet::new(), Arc::clone(&shared));
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(connection(client, Arc::clone(&held)));
            }
        });
        Self { port, shared, _connections: accepting }
    }

    /// Returns the value of `KAFKA_BOOTSTRAP_SERVERS`.
    pub(crate) fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Closes the connection in place of each of the next answers to a batch. The broker has the batch then.
    pub(crate) fn lose_answers(&self, count: usize) {
        self.shared.to_lose.store(count, Ordering::SeqCst);
    }

    /// Closes the connection in place of each request with this key.
    pub(crate) fn cut(&self, key: i16) {
        self.shared.cut.lock().expect("no panic").push(key);
    }

    /// Forwards nothing more on the open connections, without closing them.
    pub(crate) fn silence(&self) {
        for each in self.shared.open.lock().expect("no panic").iter() {
            each.store(true, Ordering::SeqCst);
        }
    }

    /// Returns how many requests with this key arrived.
    pub(crate) fn requests(&self, key: i16) -> usize {
        self.shared.requests.lock().expect("no panic").iter().filter(|each| **each == key).count()
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let Ok(broker) = TcpStream::connect(("127.0.0.1", shared.broker)).await else { return };
    let silent = Arc::new(AtomicBool::default());
    shared.open.lock().expect("no panic").push(Arc::clone(&silent));
    let ((from_client, to_client), (from_broker, to_broker)) = (client.into_split(), broker.into_split());
    let keys = Mutex::new(VecDeque::new());
    // Either end closes both.
    tokio::select! {
        () = requests(from_client, to_broker, &shared, &silent, &keys) => {}
        () = answers(from_broker, to_client, &shared, &silent, &keys) => {}
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    silent: &AtomicBool,
    keys: &Mutex<VecDeque<i16>>,
) {
    while let Some(frame) = frame(&mut from).await {
        let key = i16::from_be_bytes([frame[4], frame[5]]);
        shared.requests.lock().expect("no panic").push(key);
        if shared.cut.lock().expect("no panic").contains(&key) {
            return;
        }
        if silent.load(Ordering::SeqCst) {
            continue;
        }
        keys.lock().expect("no panic").push_back(key);
        if to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

async fn answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    shared: &Shared,
    silent: &AtomicBool,
    keys: &Mutex<VecDeque<i16>>,
) {
    while let Some(mut frame) = frame(&mut from).await {
        let key = keys.lock().expect("no panic").pop_front();
        let lose = |left: usize| left.checked_sub(1);
        if key == Some(PRODUCE) && shared.to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
            return;
        }
        if key.is_some_and(|key| [METADATA, FIND_COORDINATOR].contains(&key)) {
            redirect(&mut frame, shared.broker, shared.port);
        }
        if !silent.load(Ordering::SeqCst) && to.write_all(&frame).await.is_err() {
            return;
        }
    }
}

/// Reads a whole request or answer, with its size.
async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut frame = vec![0; 4];
    from.read_exact(&mut frame).await.ok()?;
    let size = i32::from_be_bytes(frame[..4].try_into().expect("four bytes"));
    frame.resize(4 + usize::try_from(size).expect("a size"), 0);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

/// Replaces the port of the broker's address.
fn redirect(answer: &mut [u8], broker: u16, port: u16) {
    let address = |port: u16| [&b"127.0.0.1"[..], &u32::from(port).to_be_bytes()].concat();
    let (from, to) = (address(broker), address(port));
    let place = answer.windows(from.len()).position(|bytes| bytes == from).expect("the broker's address");
    answer[place..place + to.len()].copy_from_slice(&to);
}
