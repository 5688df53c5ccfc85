//! Connections cut at random places, most often between a publish and its confirm, and between the confirm of a
//! republished message and the acknowledgement of its original.

use std::collections::BTreeMap;
use std::time::Duration;

use super::path::Path;
use super::producers::Load;
use super::{count, pause, report};
use crate::support::proxy::{Cut, Proxy};
use crate::support::rabbitmq::Vhost;

/// The number of cuts in each of the two proofs.
const CUTS: &str = "SLUICEGATE_PROOF_CUTS";
const CUTS_SHORT: usize = 60;
/// The longest pause between messages arriving again and the next cut.
const PAUSE_MAX: Duration = Duration::from_millis(150);

/// The places where producers are cut, most often between a publish and its confirm.
const PRODUCERS: [Cut; 4] = [Cut::Now, Cut::InWrite, Cut::BeforeAnswer, Cut::BeforeAnswer];
/// The places where the whole path is cut: the publishes of ingress and consumer, and the acknowledgements of the
/// mapping.
const EVERYWHERE: [Cut; 5] = [Cut::Now, Cut::InWrite, Cut::BeforeAnswer, Cut::BeforeAck, Cut::BeforeAck];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_confirmed_is_lost_when_the_producers_connections_are_cut() {
    let cuts = count(CUTS, CUTS_SHORT);
    let vhost = Vhost::create().await;
    vhost.declare_queue("orders").await;
    let proxy = Proxy::start(vhost.port()).await;
    let load = Load::start(&vhost.url_at(proxy.port()), "orders");
    let made = cut(&proxy, cuts, &PRODUCERS, async || load.until_confirmed(1).await).await;
    let balance = load.finish(&vhost).await;
    report(&format!("{cuts} cuts of producers ({made:?})"), balance);
    vhost.delete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs RabbitMQ, which ./tests/run starts"]
async fn nothing_answered_202_is_lost_when_every_connection_of_the_path_is_cut() {
    let cuts = count(CUTS, CUTS_SHORT);
    let vhost = Vhost::create().await;
    let proxy = Proxy::start(vhost.port()).await;
    let path = Path::start(&vhost.url_at(proxy.port()), &[]).await;
    let made = cut(&proxy, cuts, &EVERYWHERE, async || path.until_accepted(1).await).await;
    let figures = path.settle(&vhost).await;
    report(&format!("{cuts} cuts of ingress, mapping and consumer ({made:?})"), figures);
    vhost.delete().await;
}

/// Cuts `cuts` times, each time at another place and after `work` has shown that messages arrive. Returns the number of
/// cuts at each place.
async fn cut(proxy: &Proxy, cuts: usize, places: &[Cut], work: impl AsyncFn()) -> BTreeMap<String, usize> {
    let mut made = BTreeMap::new();
    for _ in 0..cuts {
        work().await;
        pause(PAUSE_MAX).await;
        let place = places[fastrand::usize(..places.len())];
        proxy.cut(place).await;
        *made.entry(format!("{place:?}")).or_default() += 1;
    }
    made
}
