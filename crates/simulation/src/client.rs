//! [`Client`]: a client of the API, which sends its messages until they are accepted; also an attacker who forges them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::BoxError;
use crate::answer::{Item, codes, concluded};
use crate::credentials::{Scheme, Validity};
use crate::forgery::Forgery;
use crate::ingress::IngressFunction;
use crate::ledger::{Admission, Conclusion};
use crate::request::event;
use crate::sending::Sending;
use crate::world::World;

/// How often a client sends a request that was not accepted.
const ATTEMPTS_MAX: u32 = 6;

/// A client of the API.
pub(crate) struct Client {
    world: Arc<World>,
    ingress: Arc<IngressFunction>,
}

impl Client {
    pub(crate) fn new(world: Arc<World>, ingress: Arc<IngressFunction>) -> Self {
        Self { world, ingress }
    }

    /// Sends a request until all its messages are accepted, each time those that are not, and sends the whole again if
    /// its first message is to be repeated.
    pub(crate) async fn run(self, sending: Sending) -> Result<(), BoxError> {
        let first = sending.messages.first().and_then(|number| self.world.scenario.messages.get(*number as usize));
        if let Some(message) = first.filter(|_| !sending.is_batch)
            && let Some(forgery) = Forgery::before(&self.world.dice, message.number, self.world.scenario.scheme)
        {
            self.forge(&sending, forgery).await?;
        }
        let mut repeats = first.and_then(|message| message.repeated_after).into_iter();
        let mut left = sending.clone();
        for _ in 0..ATTEMPTS_MAX {
            let wait = match self.request(&mut left).await? {
                Some(wait) => wait,
                None => match repeats.next() {
                    Some(wait) => {
                        left.clone_from(&sending);
                        wait
                    }
                    None => return Ok(()),
                },
            };
            sleep(wait).await;
        }
        Ok(())
    }

    /// Sends a message as an attacker does, who has no valid signature of it.
    async fn forge(&self, sending: &Sending, forgery: Forgery) -> Result<(), BoxError> {
        let world = &self.world;
        let request = world.ledger().forged(&sending.messages);
        let event = event(&world.scenario, world.now(), request, sending, Some(forgery))?;
        world.record(format_args!("forged request {sending} {forgery:?}"));
        let Some((answer, _)) = self.ingress.invoke(request, sending, &event).await? else { return Ok(()) };
        let (results, answers) = answer.results(sending)?;
        world.ledger().request_answered(world.now(), request, codes(&results, answers));
        for Item { status, code, id, .. } in results {
            world.record(format_args!("answer {sending} {status} {}", code.as_deref().unwrap_or_default()));
            let mut ledger = world.ledger();
            ledger.signature_answered(world.now(), &world.scenario, request, Validity::Invalid, status, id.is_some());
        }
        Ok(())
    }

    /// Sends a request once, and takes the messages that were accepted out of it; returns how long to wait before the
    /// next attempt, `None` if none is left.
    async fn request(&self, left: &mut Sending) -> Result<Option<Duration>, BoxError> {
        let world = &self.world;
        let request = world.ledger().requested(&left.messages);
        let came = world.now();
        world.ledger().limit_started(left.is_batch);
        let event = event(&world.scenario, came, request, left, None)?;
        world.record(format_args!("request {left}"));
        let answer = self.ingress.invoke(request, left, &event).await?;
        let now = world.now();
        let admission = answer.as_ref().map_or(Admission::Lost, |(answer, _)| answer.admission());
        world.ledger().limit_answered((came, now), &world.scenario, request, left.is_batch, admission);
        let Some((answer, skew)) = answer else {
            world.record(format_args!("answer {left} lost"));
            for (attempt, _) in (request..).zip(&left.messages) {
                world.ledger().answered(now, &world.scenario, attempt, &Conclusion::unknown());
            }
            return Ok(Some(Duration::from_secs(1)));
        };
        let (results, answers) = answer.results(left)?;
        world.ledger().request_answered(now, request, codes(&results, answers));
        if results.len() != left.messages.len() {
            world.ledger().answered_otherwise(now, left, &format!("{} results", results.len()));
            return Ok(None);
        }
        let scheme = if left.is_batch { Scheme::ApiKey } else { world.scenario.scheme };
        let sent = std::mem::take(&mut left.messages);
        for ((attempt, number), Item { status, id, code, destinations }) in (request..).zip(sent).zip(results) {
            let code = code.as_deref().unwrap_or_default();
            world.record(format_args!("answer {number} {status} {code}"));
            if scheme != Scheme::ApiKey {
                let validity = Validity::new(scheme, skew, now - came);
                world.ledger().signature_answered(now, &world.scenario, attempt, validity, status, id.is_some());
            }
            let conclusion = match (status, id) {
                (202, Some(id)) => {
                    let is_replayed = answer.headers.idempotency_replayed.is_some();
                    if world.scenario.has_statuses {
                        let location = answer.headers.location.as_deref();
                        world.ledger().located(now, number, &id, is_replayed, location);
                    }
                    Conclusion::Accepted { id, is_replayed }
                }
                // Nothing stands in the way.
                (503, id) if world.scenario.is_undisturbed() => {
                    world.ledger().answered_otherwise(now, number, &format!("{status} {code}, id {id:?}"));
                    continue;
                }
                (429, None) if world.scenario.rate_limit.is_some() && code == "rate_limited" => Conclusion::NotStored,
                (409, None) if world.scenario.has_keys && code == "request_in_progress" => Conclusion::NotStored,
                (422, None) if world.scenario.shares_key(number) && code == "idempotency_key_reused" => {
                    Conclusion::KeyReused
                }
                (401, None) if scheme != Scheme::ApiKey && code == "credentials_invalid" => Conclusion::NotStored,
                (503, Some(_)) => concluded(&destinations.unwrap_or_default()),
                (503, None) => Conclusion::NotStored,
                (413, None) if world.scenario.is_too_large(number) => Conclusion::TooLarge,
                (_, id) => {
                    let details = format!("{status} {code}, id {id:?}");
                    world.ledger().answered_otherwise(now, number, &details);
                    continue;
                }
            };
            world.ledger().answered(now, &world.scenario, attempt, &conclusion);
            if matches!(conclusion, Conclusion::NotStored | Conclusion::Unknown { .. }) {
                left.messages.push(number);
            }
        }
        if left.messages.is_empty() {
            return Ok(None);
        }
        Ok(Some(answer.headers.wait().unwrap_or(Duration::from_secs(1))))
    }
}
