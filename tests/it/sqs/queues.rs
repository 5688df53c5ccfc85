//! Queues: creation, attributes, listing, tags, deletion, purge, counts.

use aws_sdk_sqs::types::QueueAttributeName as Attribute;

use crate::support::service::{Service, fault, unique};

pub(super) async fn creating_a_queue_again_with_the_same_attributes_returns_it(service: &Service) {
    let name = unique("again", "");
    let create = |timeout: &'static str| {
        let request = service.sqs.create_queue().queue_name(&name);
        request.attributes(Attribute::VisibilityTimeout, timeout).send()
    };
    let first = create("45").await.expect("created").queue_url;
    let second = create("45").await.expect("the same queue again").queue_url;
    service.check("the same URL", second, first.clone());
    let bare = service.sqs.create_queue().queue_name(&name).send().await.expect("no attributes, no difference");
    service.check("attributes left out do not differ", bare.queue_url, first);
    service.check("another value", fault(create("46").await), "QueueNameExists".into());
}

pub(super) async fn new_queues_have_the_documented_defaults(service: &Service) {
    let queue = service.queue(&[]).await;
    let answer = service.sqs.get_queue_attributes().queue_url(&queue).attribute_names(Attribute::All).send().await;
    let attributes = answer.expect("attributes").attributes.expect("some");
    for (name, expected) in [
        (Attribute::VisibilityTimeout, "30"),
        (Attribute::DelaySeconds, "0"),
        (Attribute::MaximumMessageSize, "1048576"),
        (Attribute::MessageRetentionPeriod, "345600"),
        (Attribute::ReceiveMessageWaitTimeSeconds, "0"),
        (Attribute::SqsManagedSseEnabled, "true"),
        (Attribute::ApproximateNumberOfMessages, "0"),
        (Attribute::ApproximateNumberOfMessagesDelayed, "0"),
        (Attribute::ApproximateNumberOfMessagesNotVisible, "0"),
    ] {
        service.check(name.as_str(), attributes.get(&name).map(String::as_str), Some(expected));
    }
    service.check("no redrive policy", attributes.contains_key(&Attribute::RedrivePolicy), false);
    service.check("not FIFO", attributes.contains_key(&Attribute::FifoQueue), false);
    let arn = attributes.get(&Attribute::QueueArn).expect("an ARN");
    let name = queue.rsplit('/').next().expect("a name");
    service.check("the ARN", arn.as_str(), format!("arn:aws:sqs:us-east-1:000000000000:{name}").as_str());
    let fifo = service.queue(&[(Attribute::FifoQueue, "true")]).await;
    service.check("the FIFO attribute", service.attribute(&fifo, Attribute::FifoQueue).await, "true".into());
    let by_content = service.attribute(&fifo, Attribute::ContentBasedDeduplication).await;
    service.check("deduplication by content is off", by_content, "false".into());
}

pub(super) async fn attributes_can_be_changed(service: &Service) {
    let queue = service.queue(&[]).await;
    let set = |name: Attribute, value: &'static str| {
        service.sqs.set_queue_attributes().queue_url(&queue).attributes(name, value).send()
    };
    set(Attribute::VisibilityTimeout, "7").await.expect("set");
    service.check("the new value", service.attribute(&queue, Attribute::VisibilityTimeout).await, "7".into());
    service.check("others stay", service.attribute(&queue, Attribute::DelaySeconds).await, "0".into());
    let observed = fault(set(Attribute::DelaySeconds, "901").await);
    let page = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html";
    service.check_differs("a bad value", observed, "InvalidAttributeValue".into(), page, "ok".into());
    let unknown = set(Attribute::from("NoSuchAttribute"), "1").await;
    service.check("an unknown name", fault(unknown), "InvalidAttributeName".into());
}

pub(super) async fn queues_are_found_by_name_and_listed_by_prefix_in_pages(service: &Service) {
    let prefix = unique("list", "");
    let mut created = Vec::new();
    for end in ["a", "b", "c"] {
        let answer = service.sqs.create_queue().queue_name(format!("{prefix}-{end}")).send().await.expect("created");
        created.push(answer.queue_url.expect("a URL"));
    }
    let found = service.sqs.get_queue_url().queue_name(format!("{prefix}-b")).send().await.expect("found");
    service.check("found by name", found.queue_url.as_deref(), Some(created[1].as_str()));
    let listed = service.sqs.list_queues().queue_name_prefix(&prefix).send().await.expect("listed");
    let mut urls = listed.queue_urls().to_vec();
    urls.sort();
    service.check("listed by prefix", urls, created.clone());
    let first = service.sqs.list_queues().queue_name_prefix(&prefix).max_results(2).send().await.expect("a page");
    service.check("a page has its size", first.queue_urls().len(), 2);
    let token = first.next_token().expect("more to come");
    let request = service.sqs.list_queues().queue_name_prefix(&prefix).max_results(2).next_token(token);
    let second = request.send().await.expect("the next page");
    service.check("the rest", second.queue_urls().len(), 1);
    service.check("and no more", second.next_token(), None);
    let missing = service.sqs.get_queue_url().queue_name(format!("{prefix}-d")).send().await;
    service.check("an unknown name", fault(missing), "QueueDoesNotExist".into());
}

pub(super) async fn tags_are_added_listed_and_removed(service: &Service) {
    let request = service.sqs.create_queue().queue_name(unique("tags", "")).tags("team", "sluice");
    let queue = request.send().await.expect("created").queue_url.expect("a URL");
    service.sqs.tag_queue().queue_url(&queue).tags("stage", "test").tags("team", "gate").send().await.expect("tagged");
    let tags = async || {
        let listed = service.sqs.list_queue_tags().queue_url(&queue).send().await.expect("tags");
        let mut tags: Vec<_> = listed.tags.unwrap_or_default().into_iter().collect();
        tags.sort();
        tags.into_iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    };
    service.check("added and replaced", tags().await, "stage=test team=gate".into());
    service.sqs.untag_queue().queue_url(&queue).tag_keys("stage").send().await.expect("untagged");
    service.check("removed", tags().await, "team=gate".into());
}

pub(super) async fn the_name_of_a_deleted_queue_is_reserved_for_a_minute(service: &Service) {
    let name = unique("gone", "");
    let queue = service.sqs.create_queue().queue_name(&name).send().await.expect("created").queue_url.expect("a URL");
    service.sqs.delete_queue().queue_url(&queue).send().await.expect("deleted");
    let send = service.sqs.send_message().queue_url(&queue).message_body("late").send().await;
    service.check("sending", fault(send), "QueueDoesNotExist".into());
    let again = service.sqs.create_queue().queue_name(&name).send().await;
    service.check("creating within 60 s", fault(again), "QueueDeletedRecently".into());
}

pub(super) async fn purge_empties_a_queue_once_a_minute(service: &Service) {
    let queue = service.queue(&[]).await;
    service.send(&queue, "one").await;
    service.send(&queue, "two").await;
    service.sqs.purge_queue().queue_url(&queue).send().await.expect("purged");
    service.check("nothing is left", service.receive(&queue, 0).await.len(), 0);
    let again = service.sqs.purge_queue().queue_url(&queue).send().await;
    service.check("again within 60 s", fault(again), "PurgeQueueInProgress".into());
}

pub(super) async fn counts_of_visible_delayed_and_in_flight_messages(service: &Service) {
    let queue = service.queue(&[]).await;
    for body in ["one", "two", "three"] {
        service.send(&queue, body).await;
    }
    let late = service.sqs.send_message().queue_url(&queue).message_body("late").delay_seconds(60);
    late.send().await.expect("stored");
    let request = service.sqs.receive_message().queue_url(&queue).max_number_of_messages(1);
    request.send().await.expect("received").messages.expect("one");
    for (name, expected) in [
        (Attribute::ApproximateNumberOfMessages, "2"),
        (Attribute::ApproximateNumberOfMessagesNotVisible, "1"),
        (Attribute::ApproximateNumberOfMessagesDelayed, "1"),
    ] {
        service.check(name.as_str(), service.attribute(&queue, name.clone()).await, expected.into());
    }
}
