"""The eleven points in which real CRMs were found to be otherwise than `rest`, and what proves that each is carried.

The left column is what was seen on a real server; each test is of the class of it, most with a backend or a stand-in
that behaves so. `docs/adding-a-crm.md` (What real CRMs did) tells the same to whoever writes a backend.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PROVED: dict[str, tuple[str, ...]] = {
    "1. an id is given again: a read, a write and a status of another order": (
        "sync/test_crm_traits.py::test_an_id_that_was_given_to_another_order_parks_whoever_tells",
        "sync/test_whose.py::test_another_order_under_a_linked_id_is_not_updated",
        "sync/test_crm_erpnext.py::test_a_name_that_was_given_again_shows_whose_it_is",
    ),
    "2. a hook before commit": (
        "sync/test_crm_traits.py::test_the_state_of_before_is_not_believed_for_a_moment",
        "sync/test_crm_traits.py::test_what_is_stored_a_moment_later_is_applied",
        "sync/crms/test_odoo_journeys.py::test_a_webhook_that_comes_before_the_change_is_stored_is_no_miss",
    ),
    "3. whole seconds": (
        "sync/test_crm_traits.py::test_a_second_change_within_one_second_is_news",
        "sync/test_crm_traits.py::test_an_event_is_no_finer_than_the_crm",
        "sync/crms/test_odoo.py::test_all_that_changed_within_one_second_is_listed_once",
    ),
    "4. errors: 500 for an emoji, 404 of a creation, 200 for all; the words in a body or header": (
        "sync/test_crm_judge.py::test_the_backend_sees_each_answer_first",
        "sync/test_crm_judge.py::test_only_the_failures_of_the_side_count_for_the_breaker",
        "sync/test_erpnext_captures.py::test_what_it_refused_has_its_class_and_its_words",
        "sync/crms/test_odoo_words.py::test_a_recorded_error_is_of_this_class",
    ),
    "5. secrets in the path, the query or the body of a call, and such as were given on the way": (
        "sync/test_odd_crms.py::test_no_key_is_kept_wherever_in_a_call_it_stands",
        "sync/test_tokens.py::test_no_token_is_kept_or_logged",
        "sync/test_crm_settings.py::test_secrets_of_any_connection_are_blotted_out",
    ),
    "6. settings of its own; state between calls: tokens, and caches of ids": (
        "sync/test_crm_settings.py::test_values_are_those_that_the_backend_knows",
        "sync/test_crm_settings.py::test_a_missing_value_is_named_with_its_place",
        "sync/test_tokens.py::test_it_is_fetched_once_for_all_processes_and_stored_encrypted",
        "sync/test_tokens.py::test_of_many_workers_at_once_one_asks",
        "sync/test_tokens.py::test_a_revoked_right_closes_the_side_and_uses_no_attempts_up",
        "sync/test_crm_cache.py::test_what_was_read_is_kept_for_a_while_by_account",
    ),
    "7. the order: shipping, fees, coupons, taxes, text limits, lines on update, submitted orders": (
        "sync/test_order_draft.py::test_every_line_has_its_kind_and_the_number_that_the_shop_gave_it",
        "sync/test_money.py::test_the_crm_comes_to_the_shops_total",
        "sync/test_limits.py::test_an_odd_order_reaches_the_crm_and_staff_see_what_of_it_did_not",
        "sync/crms/test_odoo.py::test_only_what_the_shop_changed_is_changed",
        "sync/test_crm_erpnext.py::test_changed_lines_of_a_submitted_order_need_a_person",
    ),
    "8. lists: orders that were deleted or merged there (docs/decisions/0088)": (
        "sync/test_drift.py::test_each_kind_of_difference",
        "sync/test_make_anew.py::test_an_order_that_the_crm_lost_is_made_again_and_linked_in_its_place",
        "sync/test_hubspot_errors.py::test_a_record_that_was_merged_into_another_is_not_taken_for_it",
    ),
    "9. webhooks: a secret in path or body, Basic, JWT, t=,v1=, Espo's id": (
        "webhooks/test_hooks.py::test_who_knows_the_secret_is_let_in_and_it_is_named_by_its_place",
        "webhooks/test_hooks.py::test_who_does_not_know_it_is_not",
        "webhooks/test_hooks.py::test_a_signature_covers_the_body",
        "webhooks/test_hooks.py::test_a_signed_time_is_of_now",
        "webhooks/test_hooks.py::test_a_token_that_proves_nothing_lets_nobody_in",
        "webhooks/test_hooks.py::test_a_secret_of_the_body_is_not_stored",
    ),
    "9. webhooks: a challenge is sent back": (
        "webhooks/test_hooks.py::test_a_challenge_is_sent_back_before_there_is_a_secret_and_nothing_is_stored",
    ),
    "9. webhooks: a subscription ends": (
        "sync/test_subscriptions.py::test_it_is_renewed_in_its_last_day",
        "sync/test_subscriptions.py::test_a_renewal_that_fails_is_told_while_there_is_time",
        "sync/test_schema_watch.py::test_what_ends_soon_is_told_in_time",
    ),
    "9. webhooks: about another object": (
        "webhooks/test_hooks.py::test_what_is_about_another_object_is_ignored_and_what_is_odd_is_parked_by_itself",
        "webhooks/test_hooks.py::test_what_is_about_another_object_is_answered_and_not_stored",
    ),
    "9. webhooks: what nobody signed never feeds VERIFY=critical": (
        "sync/test_backend_hooks.py::test_a_forged_hint_moves_nothing_whatever_it_says_and_whatever_verify_is",
        "sync/test_backend_hooks.py::test_an_unsigned_event_is_not_believed_though_the_crm_speaks_truly",
        "sync/test_crm_traits.py::test_only_a_crm_that_speaks_truly_is_believed_unread",
    ),
    "10. the fingerprint covers what is mapped, and nothing else": (
        "sync/test_composer.py::test_a_mapped_field_of_a_plugin_counts_and_nothing_else_does",
        "sync/test_field_map_sent.py::test_mapped_fields_are_sent_and_their_changes_too",
    ),
    "11. a status is a pair of pipeline and stage": (
        "sync/test_odd_crms.py::test_a_status_of_two_parts_is_one_word_from_the_hook_to_the_audit",
        "sync/test_hubspot_errors.py::test_long_ids_of_pipeline_and_stage_fit_into_a_status",
    ),
}


@pytest.mark.parametrize("point", PROVED)
def test_what_proves_it_is_there(point: str) -> None:
    for test in PROVED[point]:
        path, _, name = test.partition("::")
        assert re.search(rf"^ *def {name}\(", (TESTS / path).read_text(), re.MULTILINE), test


def test_no_point_is_left_out() -> None:
    assert {int(point.partition(".")[0]) for point in PROVED} == {*range(1, 12)}
