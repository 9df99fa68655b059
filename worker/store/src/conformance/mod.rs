//! The one suite that every driver of the port must pass, so that what is tested on SQLite holds on Postgres. A case knows
//! nothing but the port: it gets a migrated store of its own and panics where the driver breaks a rule. It must never
//! depend on the speed of anything.
//!
//! A driver's test file lists the whole suite with one line, and so can't leave a case out:
//!
//! ```text
//! /// Gives a migrated, empty store; `case` is a name of the case, fit for a schema or a file.
//! async fn fresh(case: &str) -> Arc<dyn Store> { … }
//!
//! flagstop_store::conformance!(crate::fresh);
//! ```

pub mod commits;
pub mod data;
pub mod durable;
pub mod fixtures;
pub mod leases;
pub mod lists;
pub mod mailbox;
pub mod operators;
pub mod relay;
pub mod retention;
pub mod wakeups;

/// Makes one test of each case of the suite. `$fresh` is the path, from `crate::`, of an
/// `async fn(case: &str) -> Arc<dyn Store>`.
#[macro_export]
macro_rules! conformance {
    ($fresh:path) => {
        $crate::conformance! { @modules $fresh;
            commits {
                a_start_is_written_whole_and_found_again,
                a_transition_moves_every_projection,
                verdicts_stand_in_the_order_of_the_groups,
                a_conflict_takes_only_its_own_group_out,
                an_empty_batch_and_an_empty_load_are_answered,
                one_shared_message_in_two_groups_goes_with_the_first,
                d2_a_duplicate_takes_its_whole_group_out_and_leaves_no_inbox_row,
                d10_a_child_is_inserted_with_its_parent_or_not_at_all,
                d11_the_same_batch_twice_writes_once,
                d12_a_replayed_start_is_refused_by_its_id_alone,
                d15_the_time_is_the_databases,
            }
            data {
                d20_bytes_come_back_as_they_went_in,
                d20_data_that_cannot_be_stored_fails_alone,
                d20_several_culprits_fail_and_all_others_pass,
                d20_an_effect_that_is_added_twice_fails_with_its_group_alone,
                d6_definitions_are_immutable_and_raise_the_catalogue,
            }
            mailbox {
                d1_mail_is_written_with_the_inbox_row_or_not_at_all,
                d1_mail_is_drained_once_and_in_order,
                d1_mail_may_come_before_its_instance,
                promise_8_a_full_mailbox_is_loaded_in_parts,
                stale_mail_names_each_instance_once,
                mail_of_nobody_is_stale_at_once,
                d8_stale_mail_says_since_when_it_waits,
                d8_mail_of_what_is_set_aside_rests,
            }
            wakeups {
                d3_every_interleaving_delivers_once,
                d3_a_crash_before_the_look_is_healed_by_the_sweep,
                d3_two_events_for_one_wait_deliver_one_and_keep_the_other,
                d3_one_event_for_two_waits_is_claimed_once,
                d3_an_event_older_than_the_wait_is_no_meeting,
                promise_8_a_crowd_under_one_key_comes_in_bounded_looks_and_wholly,
                parking_twice_is_parking_once,
                the_sweep_goes_through_in_pages,
                expired_events_become_dead_letters_once,
                promise_5_an_event_that_somebody_heard_expires_without_a_letter,
                what_others_report_expires_only_when_they_claim_it,
            }
            durable {
                d12_a_schedule_fires_once_whoever_is_faster,
                d12_a_memory_that_went_and_came_again_is_another,
                d12_schedules_are_due_by_their_time_or_by_an_end,
                d17_an_open_set_is_written_with_its_message_or_not_at_all,
                d19_a_large_value_is_written_once_and_comes_with_its_instance,
                d3_what_is_kept_for_an_instance_meets_it_in_both_orders,
            }
            leases {
                d7_adoption_fences_the_old_driver,
                d7_a_dropped_effect_fences_its_late_result,
                d7_who_left_may_report_no_more,
                d8_a_worker_that_died_is_missed_and_one_that_left_is_not,
                effects_of_nobody_wait_for_adoption,
                three_workers_share_the_shards_fairly,
                a_dead_workers_shards_are_taken_over,
                leaving_frees_the_shards,
                due_timers_come_oldest_first,
                a_backlog_of_timers_is_read_in_pages_oldest_first,
            }
            relay {
                d13_rows_come_in_order_per_instance_and_none_is_skipped,
                d14_reading_without_saving_repeats,
                d14_only_the_holder_saves,
                d14_the_successor_goes_on_where_the_holder_stopped,
                d13_a_stream_set_aside_lets_the_others_pass,
                d13_the_cursor_passes_rows_that_are_set_aside,
                d13_a_released_stream_comes_back_whole,
                d13_reading_ahead_repeats_nothing_and_skips_nothing,
                d16_shards_are_handed_over_to_another_worker,
                a_dead_letter_is_written_and_published_once,
                a_note_is_written_with_its_group_or_not_at_all,
            }
            operators {
                instances_are_found_by_definition_key_age_and_error,
                d8_an_instance_that_is_set_aside_says_why_until_it_is_released,
                d8_tries_are_counted_until_the_mark_is_taken_off,
                d8_a_release_stands_or_falls_with_its_message,
                d8_an_instance_may_come_set_aside,
                a_redriven_letters_message_is_new_again,
                dead_letters_are_found_by_code_in_pages,
                unheard_events_are_listed_newest_first,
                the_journal_is_followed_without_a_gap,
                the_journal_is_found_again_from_its_end,
                definitions_are_disabled_and_enabled_again,
                everything_is_counted,
            }
            retention {
                what_is_not_over_stays,
                ended_instances_go_and_the_living_stay,
                d12_a_trigger_played_again_is_refused_as_long_as_its_instance_is_known,
                d13_nothing_goes_that_a_relay_has_still_to_read,
                d9_a_remark_is_shown_in_its_place_and_changes_nothing,
                one_instance_lives_under_an_activation_key,
            }
            lists {
                lists_show_the_newest_first_in_pages,
                a_summary_tells_times_parent_and_key,
                history_is_oldest_first_and_complete,
                dead_letters_are_listed_newest_first,
                parked_events_are_found_by_type,
            }
        }
    };
    (@modules $fresh:path; $($module:ident { $($case:ident,)+ })+) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let store = $fresh(stringify!($case)).await;
                $crate::conformance::$module::$case(store.clone()).await;
                store.close().await;
            })+
        })+
    };
}
