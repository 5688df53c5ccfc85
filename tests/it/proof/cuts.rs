//! Connections are cut at random places, above all between a write and its confirm, and between a republish's confirm and the
//! acknowledgement of what it replaces.

use std::collections::BTreeMap;
use std::time::Duration;

use super::path::Path;
use super::producers::Load;
use super::{count, pause, tell};
use crate::support::proxy::{Cut, Proxy};
use crate::support::rabbitmq::Vhost;

/// How many cuts, in each of the two proofs.
const CUTS: &str = "SLUICEGATE_PROOF_CUTS";
const CUTS_SHORT: usize = 60;
/// A cut comes up to this long after messages were seen to get through again.
const PAUSE_MAX: Duration = Duration::from_millis(150);

/// Where producers are cut; between a write and its confirm most of all.
const PRODUCERS: [Cut; 4] = [Cut::Now, Cut::InWrite, Cut::BeforeAnswer, Cut::BeforeAnswer];
/// Where the whole path is cut: the ingress's send and the consumer's republish alike, and the mapping's acknowledgement of what
/// was republished.
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
    tell(&format!("{cuts} cuts of producers ({made:?})"), balance);
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
    tell(&format!("{cuts} cuts of ingress, mapping and consumer ({made:?})"), figures);
    vhost.delete().await;
}

/// Cuts `cuts` times, each time at another place and after `work` has shown that messages get through; answers how often where.
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
