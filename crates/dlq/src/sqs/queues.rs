//! Queues by name, URL or ARN, and the dead-letter queues among them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use aws_sdk_sqs::{Client, types::QueueAttributeName};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use sluicegate_queue::sqs::SdkConfig;

use super::error::{broker, is_unknown_operation};
use crate::{Error, ListedQueue};

/// Largest number of queues of one page.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ListQueues.html>
const PAGE_ENTRIES_MAX: i32 = 1_000;

/// Concurrent requests when every queue of an account is read.
const REQUESTS_AT_ONCE: usize = 8;

/// An existing queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqsQueue {
    /// Its URL.
    pub url: String,
    /// Its ARN.
    pub arn: String,
    /// Its name, which ends in `.fifo` for a FIFO queue.
    pub name: String,
}

impl SqsQueue {
    pub(super) fn is_fifo(&self) -> bool {
        self.name.ends_with(".fifo")
    }
}

/// Returns the queue with this name, URL or ARN.
///
/// # Errors
/// It does not exist, or SQS cannot be reached.
pub async fn find(config: &SdkConfig, reference: &str) -> Result<SqsQueue, Error> {
    Queues::new(Client::new(config), config.region().map(ToString::to_string)).find(reference).await
}

/// The approximate numbers of messages of a queue, which lag by up to a minute.
pub(super) struct Counts {
    pub(super) visible: u64,
    hidden: u64,
    delayed: u64,
}

impl Counts {
    pub(super) fn all(&self) -> u64 {
        self.visible + self.hidden + self.delayed
    }
}

/// Looks up queues, and caches the results.
pub(super) struct Queues {
    client: Client,
    region: Option<String>,
    known: Mutex<HashMap<String, SqsQueue>>,
}

impl Queues {
    pub(super) fn new(client: Client, region: Option<String>) -> Self {
        Self { client, region, known: Mutex::default() }
    }

    /// Returns the queue with this name, URL or ARN.
    ///
    /// # Errors
    /// [`Error::NotSent`] if no such queue can be reached.
    pub(super) async fn find(&self, reference: &str) -> Result<SqsQueue, Error> {
        if let Some(queue) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(reference) {
            return Ok(queue.clone());
        }
        let queue = self.look_up(reference).await?;
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(reference.to_owned(), queue.clone());
        Ok(queue)
    }

    async fn look_up(&self, reference: &str) -> Result<SqsQueue, Error> {
        let missing = |reason: &str| Error::NotSent { id: reference.to_owned(), reason: reason.to_owned() };
        if reference.starts_with("http://") || reference.starts_with("https://") {
            return self.at(reference.to_owned()).await;
        }
        let mut request = self.client.get_queue_url();
        if let Some(arn) = reference.strip_prefix("arn:") {
            let parts: Vec<&str> = arn.split(':').collect();
            let [_, "sqs", region, account, name] = parts[..] else {
                return Err(missing("this is not the ARN of a queue"));
            };
            if self.region.as_deref().is_some_and(|here| here != region) {
                return Err(missing(&format!("the queue is in the Region {region}")));
            }
            request = request.queue_name(name).queue_owner_aws_account_id(account);
        } else {
            request = request.queue_name(reference);
        }
        match request.send().await {
            Ok(answer) => self.at(answer.queue_url.unwrap_or_default()).await,
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_queue_does_not_exist() => Err(missing("the queue does not exist")),
                _ => Err(broker(&error)),
            },
        }
    }

    async fn at(&self, url: String) -> Result<SqsQueue, Error> {
        let request = self.client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::QueueArn);
        let answer = request.send().await.map_err(|error| match error.as_service_error() {
            Some(service) if service.is_queue_does_not_exist() => {
                Error::NotSent { id: url.clone(), reason: "the queue does not exist".to_owned() }
            }
            _ => broker(&error),
        })?;
        let arn = answer.attributes.unwrap_or_default().remove(&QueueAttributeName::QueueArn).unwrap_or_default();
        Ok(SqsQueue { name: name_in(&url).to_owned(), url, arn })
    }

    /// Returns the queues whose redrive policy names `queue`.
    pub(super) async fn sources_of(&self, queue: &SqsQueue) -> Result<Vec<SqsQueue>, Error> {
        let request = self.client.list_dead_letter_source_queues().queue_url(&queue.url).max_results(PAGE_ENTRIES_MAX);
        let pages: Result<Vec<_>, _> = request.into_paginator().send().try_collect().await;
        match pages {
            Ok(pages) => {
                let urls = pages.into_iter().flat_map(|page| page.queue_urls);
                stream::iter(urls).then(|url| self.at(url)).try_collect().await
            }
            Err(error) if is_unknown_operation(&error) => {
                let all = list_all(&self.client).await?;
                let is_source = |info: &QueueInfo| info.dead_letter_arn.as_ref() == Some(&queue.arn);
                Ok(all.into_iter().filter(is_source).map(|info| info.queue).collect())
            }
            Err(error) => Err(broker(&error)),
        }
    }

    pub(super) async fn counts(&self, url: &str) -> Result<Counts, Error> {
        let request = self.client.get_queue_attributes().queue_url(url).set_attribute_names(Some(COUNTED.to_vec()));
        let answer = request.send().await.map_err(|error| broker(&error))?;
        Ok(counts(&answer.attributes.unwrap_or_default()))
    }
}

/// Returns every queue that another one names as its dead-letter queue, by name.
///
/// # Errors
/// SQS cannot be reached.
pub async fn dead_letter_queues(config: &SdkConfig) -> Result<Vec<ListedQueue>, Error> {
    let queues = list_all(&Client::new(config)).await?;
    let mut sources: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for info in &queues {
        if let Some(target) = &info.dead_letter_arn {
            sources.entry(target).or_default().push(info.queue.name.clone());
        }
    }
    let found = sources.into_iter().map(|(arn, mut sources)| {
        sources.sort_unstable();
        let known = queues.iter().find(|info| info.queue.arn == arn);
        let name = known.map_or(arn, |info| &info.queue.name).to_owned();
        ListedQueue { name, depth: known.map(|info| info.depth), sources }
    });
    let mut found: Vec<_> = found.collect();
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

struct QueueInfo {
    queue: SqsQueue,
    dead_letter_arn: Option<String>,
    depth: u64,
}

/// Returns all queues of the account in the Region.
async fn list_all(client: &Client) -> Result<Vec<QueueInfo>, Error> {
    let pages = client.list_queues().max_results(PAGE_ENTRIES_MAX).into_paginator().send();
    let pages: Vec<_> = pages.try_collect().await.map_err(|error| broker(&error))?;
    let urls = pages.into_iter().flat_map(|page| page.queue_urls.unwrap_or_default());
    let infos = stream::iter(urls).map(|url| describe(client, url)).buffer_unordered(REQUESTS_AT_ONCE);
    infos.try_filter_map(async |info| Ok(info)).try_collect().await
}

/// Reads a queue; `None` if it was deleted since it was listed.
async fn describe(client: &Client, url: String) -> Result<Option<QueueInfo>, Error> {
    let request = client.get_queue_attributes().queue_url(&url).attribute_names(QueueAttributeName::All);
    let attributes = match request.send().await {
        Ok(answer) => answer.attributes.unwrap_or_default(),
        Err(error) if error.as_service_error().is_some_and(|service| service.is_queue_does_not_exist()) => {
            return Ok(None);
        }
        Err(error) => return Err(broker(&error)),
    };
    let arn = attributes.get(&QueueAttributeName::QueueArn).cloned().unwrap_or_default();
    Ok(Some(QueueInfo {
        queue: SqsQueue { name: name_in(&url).to_owned(), url, arn },
        dead_letter_arn: attributes.get(&QueueAttributeName::RedrivePolicy).and_then(|policy| target(policy)),
        depth: counts(&attributes).all(),
    }))
}

/// The attributes that [`Counts`] consists of.
const COUNTED: [QueueAttributeName; 3] = [
    QueueAttributeName::ApproximateNumberOfMessages,
    QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
    QueueAttributeName::ApproximateNumberOfMessagesDelayed,
];

fn counts(attributes: &HashMap<QueueAttributeName, String>) -> Counts {
    let [visible, hidden, delayed] =
        COUNTED.map(|name| attributes.get(&name).and_then(|digits| digits.parse().ok()).unwrap_or(0));
    Counts { visible, hidden, delayed }
}

/// Returns the ARN of the dead-letter queue in a redrive policy.
fn target(policy: &str) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RedrivePolicy {
        dead_letter_target_arn: String,
    }
    serde_json::from_str::<RedrivePolicy>(policy).ok().map(|policy| policy.dead_letter_target_arn)
}

fn name_in(url: &str) -> &str {
    url.trim_end_matches('/').rsplit('/').next().unwrap_or(url)
}
