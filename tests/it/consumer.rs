//! The consumer runtime on queues of sqs-emulator, LocalStack and ministack: one suite, as in [`crate::sqs`].

mod fifo;
mod polled_queue;
mod standard;

use std::time::Duration;

use crate::support::service::{Kind, Service, on_all_services, run_case};

/// The time limit of a case.
const CASE_TIME_MAX: Duration = Duration::from_secs(90);

fn run(kind: Kind, case: impl AsyncFnOnce(&Service)) {
    run_case(kind, CASE_TIME_MAX, case);
}

on_all_services! {
    standard:
        a_failed_message_is_received_again_after_its_delay_and_the_others_are_done
        a_rejected_message_is_dead_lettered_at_once_with_its_reason
        a_failure_in_the_last_receive_is_dead_lettered_with_its_reason
        a_message_not_started_in_its_last_receive_is_dead_lettered_with_its_reason
        a_message_that_is_sent_twice_is_handled_once
        messages_wait_on_their_queue_while_a_breaker_is_open;
    fifo:
        messages_behind_a_failing_one_are_not_dead_lettered
        a_low_max_receive_count_dead_letters_the_failing_message_one_receive_early
        a_slow_group_loses_no_message;
}
