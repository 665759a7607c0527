//! The store: one suite over the trait, to be run against each database, and what only SQLite has.

#![allow(missing_docs, reason = "a test speaks for itself")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod clinic_suite;
mod journal_suite;
mod make;
mod message_suite;
mod planned_suite;
mod prune_suite;
mod queue_model;
mod seal_suite;
mod sqlite;
mod verify_suite;

use std::path::Path;
use std::sync::Arc;

use engine::store::{MasterKey, SqliteOptions, SqliteStore, Store};

/// The store of a fresh folder, which goes with it.
pub(crate) struct Fresh {
    pub folder: tempfile::TempDir,
    pub key: MasterKey,
}

impl Fresh {
    pub fn new() -> Self {
        Fresh {
            folder: tempfile::tempdir().unwrap(),
            key: MasterKey::generate().unwrap(),
        }
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub async fn open(&self) -> Arc<SqliteStore> {
        self.open_with(SqliteOptions::default()).await
    }

    pub async fn open_with(&self, options: SqliteOptions) -> Arc<SqliteStore> {
        SqliteStore::open(self.path(), &self.key, options).await.unwrap()
    }
}

/// Runs each function of the suite on a fresh store of each kind.
macro_rules! suite {
    ($($module:ident :: $name:ident),* $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let fresh = Fresh::new();
            let store = fresh.open().await;
            let store: Arc<dyn Store> = store;
            $module::$name(store).await;
        }
    )* };
}

suite!(
    clinic_suite::what_a_person_wrote_is_known_again,
    message_suite::what_is_stored_is_read_back,
    message_suite::equal_messages_at_once_are_stored_once,
    message_suite::a_question_is_kept_with_its_answer_and_waits_for_nobody,
    message_suite::a_counter_moves_with_its_message_from_where_it_was_found,
    message_suite::a_reused_control_id_is_a_new_message_with_a_warning,
    message_suite::a_failed_message_runs_again_in_its_place,
    message_suite::without_control_id_or_window_there_are_no_repeats,
    message_suite::what_a_transport_wrote_before_it_does_not_tell_a_message_apart,
    message_suite::the_window_of_repeats_ends,
    message_suite::what_was_told_is_told_again,
    message_suite::order_is_that_of_the_inbox,
    message_suite::a_delivery_makes_each_of_its_messages_once,
    message_suite::deliveries_go_through_their_states,
    message_suite::what_waits_is_known_by_its_lane,
    message_suite::what_is_pending_is_found_by_its_reference_and_has_an_end,
    message_suite::messages_are_found_by_their_keys,
    message_suite::queues_and_counts_add_up,
    message_suite::what_failed_lately_is_counted_by_channel,
    message_suite::a_big_body_comes_back,
    message_suite::a_body_in_pieces_is_kept_whole_or_not_at_all,
    message_suite::a_panic_in_exclusive_work_fails_it_alone,
    message_suite::keys_of_the_api_are_kept_hashed,
    prune_suite::what_is_open_stays_and_what_is_over_goes,
    prune_suite::time_counts_from_the_last_try,
    prune_suite::bodies_go_and_the_rest_stays,
    prune_suite::what_was_told_to_be_safe_stays,
    prune_suite::what_failed_and_is_sent_again_has_its_bytes_again,
    prune_suite::a_value_of_the_clinic_still_knows_its_message,
    journal_suite::reads_are_found_by_whom_they_are_about,
    clinic_suite::each_kind_is_written_changed_and_read_with_its_history,
    clinic_suite::a_version_that_moved_takes_out_one_message,
    clinic_suite::a_finding_that_moved_takes_out_one_message,
    clinic_suite::nobody_is_booked_twice,
    clinic_suite::overbooked_time_may_overlap,
    clinic_suite::keys_follow_the_aggregate,
    clinic_suite::natural_keys_stay,
    clinic_suite::exclusive_work_sees_what_came_before_it,
    clinic_suite::searches_find_and_page,
    planned_suite::what_is_planned_is_found_once_it_is_answered,
    planned_suite::an_appointment_moves_what_is_planned,
    planned_suite::the_newest_of_each_key_is_found,
);
