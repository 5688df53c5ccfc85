//! The behaviour of SQS, as cases that run against sqs-emulator and against LocalStack.
//!
//! `cargo test` runs the cases on the emulator and reports those on LocalStack as ignored; `tests/run` runs both. Each
//! case creates its own queues, so that cases can run concurrently.

mod batches;
mod dead_letters;
mod faults;
mod fifo;
mod messages;
mod move_tasks;
mod queues;
mod visibility;

use std::time::Duration;

use crate::support::service::{Kind, Service, on_both_services, run_case};

/// The time limit of a case.
const CASE_TIME_MAX: Duration = Duration::from_secs(90);

fn run(kind: Kind, case: impl AsyncFnOnce(&Service)) {
    run_case(kind, CASE_TIME_MAX, case);
}

on_both_services! {
    queues:
        creating_a_queue_again_with_the_same_attributes_returns_it
        new_queues_have_the_documented_defaults
        attributes_can_be_changed
        queues_are_found_by_name_and_listed_by_prefix_in_pages
        tags_are_added_listed_and_removed
        the_name_of_a_deleted_queue_is_reserved_for_a_minute
        purge_empties_a_queue_once_a_minute
        counts_of_visible_delayed_and_in_flight_messages;
    messages:
        a_body_arrives_byte_for_byte_with_its_md5
        message_attributes_arrive_with_their_md5
        message_attributes_are_filtered_by_name_and_prefix
        system_attributes_are_returned_only_if_requested
        the_trace_header_is_a_system_attribute
        a_group_on_a_standard_queue_is_a_tenant_without_a_lock
        a_long_poll_returns_as_soon_as_a_message_is_sent
        a_long_poll_on_an_empty_queue_waits_as_long_as_requested
        a_delayed_message_is_hidden_until_its_delay_ends
        a_queue_wide_delay_is_the_default_of_its_messages
        one_mebibyte_fits_and_one_byte_more_does_not;
    visibility:
        a_received_message_is_hidden_and_becomes_visible_again
        receives_are_counted
        visibility_can_be_ended_and_extended
        a_receive_can_set_the_visibility_timeout
        a_change_of_visibility_needs_an_existing_message
        an_old_receipt_handle_deletes_nothing_once_the_message_was_received_again
        deleting_twice_succeeds;
    batches:
        a_batch_answers_every_entry
        an_invalid_entry_fails_alone
        malformed_batches_are_refused_as_a_whole
        a_batch_shares_one_mebibyte
        visibility_and_deletion_in_batches_report_each_entry;
    faults:
        operations_on_an_unknown_queue_are_refused
        bad_messages_are_refused_with_the_documented_error
        bad_attributes_of_a_message_are_refused
        bad_numbers_are_refused
        bad_queues_are_refused;
    fifo:
        a_group_arrives_in_the_order_it_was_sent
        a_group_waits_while_one_of_its_messages_is_in_flight
        a_returned_message_keeps_its_position
        a_group_is_received_up_to_its_first_hidden_message
        a_purge_removes_deduplication_ids
        the_same_deduplication_id_is_stored_once_for_five_minutes
        content_based_deduplication_uses_only_the_body
        deduplication_can_be_per_group
        sequence_numbers_grow
        a_repeated_receive_attempt_answers_the_same_messages
        missing_fifo_parameters_are_refused;
    dead_letters:
        a_message_received_too_often_moves_to_the_dead_letter_queue
        a_dead_lettered_fifo_message_unlocks_its_group
        the_sources_of_a_dead_letter_queue_are_listed
        a_bad_redrive_policy_is_refused
        a_dead_letter_queue_can_refuse_sources;
    move_tasks:
        dead_letters_return_to_their_source_queues
        dead_letters_go_to_the_named_queue
        only_a_dead_letter_queue_can_be_a_source
        a_slow_task_can_be_cancelled;
}
