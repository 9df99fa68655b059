//! One suite for every driver, so that the embedded bus can't drift from the brokers it stands for, and each driver's
//! own cases beside it.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod embedded;
mod hostile;
mod kafka;
mod kafka_faults;
mod kafka_settings;
mod kafka_wire;
mod place;
mod proxy;
mod rabbitmq;
mod suite;

/// The suite against one driver: `$place` makes a place of its own for each case.
macro_rules! conformance {
    ($place:path: $($case:ident)*) => {
        mod suite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let place = $place(stringify!($case)).await;
                    crate::suite::$case(&place).await;
                    place.clean_up().await;
                }
            )*
        }
    };
    ($place:path) => {
        crate::conformance! { $place:
            a_message_comes_again_until_it_is_acknowledged
            what_is_acknowledged_does_not_come_again
            messages_keep_their_order_per_key
            each_message_has_its_own_verdict_in_the_order_of_the_call
            what_is_skipped_by_acknowledgements_comes_again
            pausing_holds_back_and_resuming_lets_flow
            stopping_drains_and_leaves_the_rest_to_others
            a_subscriber_sees_what_is_published_after_it
            emitted_events_come_back_as_input
            events_and_raw_messages_arrive_byte_for_byte
            no_more_than_the_prefetch_is_in_hand
            a_consumer_that_goes_leaves_its_messages_to_the_other
            receiving_can_be_cancelled_at_any_moment
            publishing_after_the_end_is_refused
            poison_comes_out_as_it_went_in_and_holds_nobody_up
            the_largest_message_passes_and_a_larger_one_is_refused_with_the_limit
        }
    };
}
use conformance;
