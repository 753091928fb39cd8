"""The security map: MITRE ATLAS technique, mitigation, and the test that attacks it.

Techniques are those of ATLAS that apply to a tabular decision service, by their ids.
"""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.documents.markup import Document, Part, Table, Text
from setpoint.documents.states import Control, Standing, State

HEADER = ("ATLAS", "technique", "the program offers", "on for this project",
          "tests of the program that attack it, by file")  # fmt: skip
NO_TEST = "no test"
"""What the map says where nothing attacks a mitigation."""
NO_MITIGATION = "no mitigation"
"""What it says where there is none."""


@dataclass(frozen=True)
class Threat:
    """One technique and what is held against it.

    Attributes:
        id: As ATLAS numbers it.
        name: As ATLAS names it.
        mitigation: What is held against it; empty where nothing is.
        tests: Tests that attack it, ``file::name``; each fails if the mitigation is off.
    """

    id: str
    name: str
    mitigation: str
    tests: tuple[str, ...] = ()


THREATS = (
    Threat(
        "AML.T0020",
        "Poison Training Data",
        "New data are held against the champion's by source: flipped labels and backdoors stop "
        "before training, a source that makes a model worse is named. Snapshots are signed. "
        "A batch that breaks its schema is refused whole.",
        (
            "tests/stages/test_poisoning.py::"
            "test_a_batch_with_flipped_labels_stops_before_training_and_a_sound_one_does_not",
            "tests/stages/test_poisoning.py::test_a_marked_batch_stops_before_training",
            "tests/stages/test_poisoning.py::"
            "test_a_batch_that_makes_a_model_worse_is_named_and_a_sound_one_beside_it_is_not",
            "tests/stages/test_signed.py::"
            "test_a_flipped_byte_stops_training_and_its_file_is_named_or_no_row_differs",
            "tests/stages/test_ingest.py::test_a_batch_that_breaks_a_rule_is_refused_whole",
            "tests/adapters/test_delta.py::test_other_content_under_a_known_name_is_refused",
            "tests/stages/test_watch_faults.py::"
            "test_what_was_decided_on_broken_data_is_neither_judged_nor_learned",
        ),
    ),
    Threat(
        "AML.T0010",
        "AI Supply Chain Compromise",
        "Requirements are locked with hashes; a wheel that is not the locked one fails the build; "
        "locked versions are held against known weaknesses.",
        (
            "tests/infra/test_supply_chain.py::"
            "test_an_audit_ends_with_0_where_nothing_is_known_and_with_1_naming_what_is",
            "tests/adapters/test_docker_images.py::"
            "test_a_wheel_that_is_not_the_locked_one_fails_the_build_with_its_last_lines",
            "tests/adapters/test_docker_images.py::"
            "test_an_empty_wheelhouse_is_refused_rather_than_replaced_by_the_index",
        ),
    ),
    Threat(
        "AML.T0018",
        "Manipulate AI Model",
        "A bundle is signed; every byte is held against the digest it was registered with, at load "
        "and at deploy. The image of a version is signed and started by its digest.",
        (
            "tests/serving/test_signed_bundles.py::"
            "test_every_flipped_byte_of_a_signed_bundle_is_refused",
            "tests/serving/test_signed_bundles.py::"
            "test_a_signed_bundle_of_another_version_is_not_served_as_this_one",
            "tests/stages/test_signed.py::test_a_release_of_a_bundle_by_a_stranger_is_refused",
            "tests/serving/test_failures.py::test_a_tampered_bundle_does_not_start",
            "tests/serving/test_failures.py::"
            "test_an_altered_manifest_does_not_start_where_the_digest_is_known",
            "tests/adapters/test_docker_images.py::test_a_model_altered_in_its_image_is_not_served",
            "tests/adapters/test_docker_images.py::"
            "test_an_image_altered_in_its_registry_is_not_pulled_by_the_name_that_was_signed",
            "tests/stages/test_signed_image.py::"
            "test_another_image_under_the_old_signature_is_refused",
            "tests/stages/test_roll_back.py::test_a_bundle_that_was_altered_is_not_rolled_back_to",
        ),
    ),
    Threat(
        "AML.T0011",
        "User Execution (unsafe AI artifacts)",
        "A bundle is ONNX and JSON, in these files and no others, verified before it is loaded.",
        (
            "tests/serving/test_bundle_format.py::test_a_planted_pickle_is_never_executed",
            "tests/serving/test_bundle_format.py::test_an_altered_file_is_named_with_both_digests",
            "tests/serving/test_bundle_format.py::test_a_malformed_manifest_is_refused",
        ),
    ),
    Threat(
        "AML.T0015",
        "Evade AI Model",
        "A gate attacks each candidate within declared bounds; adversarial training as an option.",
        (
            "tests/stages/test_robustness.py::"
            "test_an_attacker_with_wide_bounds_gets_through_and_the_gate_stays_shut",
            "tests/stages/test_robustness.py::"
            "test_adversarial_training_lets_fewer_through_on_the_same_rows",
        ),
    ),
    Threat(
        "AML.T0043",
        "Craft Adversarial Data",
        "A request is held to the schema; what does not fit gets an error and no score.",
        (
            "tests/serving/test_refusals.py::test_a_bad_row_gets_one_clear_error_and_is_counted",
            "tests/serving/test_batch.py::test_altered_streams_are_refused_or_read_and_never_a_fault",
        ),
    ),
    Threat(
        "AML.T0040",
        "AI Model Inference API Access",
        "Keys with roles, kept as hashes, compared in constant time.",
        (
            "tests/serving/test_access.py::test_without_a_known_key_it_is_a_401_problem",
            "tests/serving/test_keys.py::test_a_key_without_the_role_is_403",
            "tests/serving/test_keys.py::test_the_hash_of_a_key_is_no_key",
        ),
    ),
    Threat(
        "AML.T0024",
        "Exfiltration via AI Inference API",
        "A rate for each key bounds how much can be asked; a key whose requests look like copying "
        "is found, and a person is asked.",
        (
            "tests/domain/test_extraction.py::"
            "test_random_rows_are_found_and_the_shop_beside_them_is_not",
            "tests/domain/test_extraction.py::"
            "test_a_search_along_one_field_is_found_without_any_other_client",
            "tests/serving/test_keys.py::test_a_bucket_gives_its_size_and_its_rate_and_no_more",
        ),
    ),
    Threat(
        "AML.T0029",
        "Denial of AI Service",
        "Requests that wait too long are answered 503; one key at its limit harms no other.",
        (
            "tests/serving/test_failures.py::"
            "test_a_request_that_waits_too_long_gets_503_and_its_retry_the_one_answer",
            "tests/serving/test_keys.py::"
            "test_one_key_at_its_limit_harms_no_other_and_refusals_cost_nothing",
        ),
    ),
    Threat(
        "AML.T0034",
        "Cost Harvesting",
        "A rate for each key; retrainings have a cooldown and a number of attempts.",
        (
            "tests/serving/test_access.py::test_over_its_limit_a_key_is_told_when_to_come_back",
            "tests/stages/test_respond.py::"
            "test_a_refused_retraining_is_not_tried_again_before_its_time",
        ),
    ),
    Threat(
        "AML.T0046",
        "Spamming AI System with Chaff Data",
        "Refused rows are counted and leave nothing; bad traffic fills no disk.",
        (
            "tests/serving/test_refusals.py::"
            "test_after_all_refusals_nothing_is_logged_and_good_rows_are_answered",
            "tests/serving/test_log.py::test_bad_traffic_fills_no_disk_and_is_counted",
        ),
    ),
    Threat(
        "AML.T0031",
        "Erode AI Model Integrity",
        "Setpoints are watched by labels, and a fall is an incident; the record of it cannot be "
        "changed unseen.",
        (
            "tests/stages/test_performance.py::"
            "test_a_large_loss_shows_in_the_newest_part_before_it_fills_the_window",
            "tests/adapters/test_ledger_tampering.py::"
            "test_who_makes_the_whole_chain_again_without_the_key_is_found_where_it_begins",
            "tests/adapters/test_sqlite_state.py::test_a_change_behind_the_triggers_is_found",
        ),
    ),
    Threat(
        "AML.T0025",
        "Exfiltration via Cyber Means",
        "Keys are kept as hashes; no key, credential or refused value is logged or answered.",
        (
            "tests/serving/test_access.py::test_no_key_is_said_or_answered",
            "tests/serving/test_log.py::test_the_value_that_was_refused_is_not_told",
            "tests/infra/test_compose.py::test_no_credential_has_a_value_or_a_default",
            "tests/infra/test_kubernetes.py::test_no_credential_stands_in_a_manifest",
        ),
    ),
)


def security_map(name: str, version: str, standing: Standing) -> Document:
    """The map as a document.

    Args:
        name: Of the project.
        version: Whose record says what is on.
        standing: Which controls are on for this project.
    """
    rows = tuple(
        (t.id, t.name, t.mitigation or NO_MITIGATION, _here(standing.get(t.id, ())),
         _claims(t.tests) or NO_TEST)
        for t in THREATS
    )  # fmt: skip
    attacked = sum(bool(t.tests) for t in THREATS)
    states = [c.state for controls in standing.values() for c in controls]
    counted = ", ".join(f"{states.count(state)} {state}" for state in State)
    parts = (
        Part(
            "Techniques",
            (
                Text(
                    f"{attacked} of {len(THREATS)} techniques have a test of the program that "
                    "attacks what it offers against them; that says nothing about this project."
                ),
                Text(f"Of {len(states)} controls of this project: {counted}."),
                Table(HEADER, rows),
            ),
        ),
    )
    about = (
        "MITRE ATLAS techniques that apply to a tabular decision service. What is on here: by "
        f"today's project file, environment and the record of {version}."
    )
    return Document("security-map", f"Security map: {name}", about, parts)


def _claims(tests: tuple[str, ...]) -> str:
    """Names of tests as the claims that they are, under the file that holds them."""
    files: dict[str, list[str]] = {}
    for one in tests:
        file, _, name = one.partition("::")
        files.setdefault(file, []).append(name.removeprefix("test_").replace("_", " "))
    lines = [f"{file.removeprefix('tests/')}: {'; '.join(told)}" for file, told in files.items()]
    return "\n".join(lines)


def _here(controls: tuple[Control, ...]) -> str:
    told = [f"{c.state}: {c.told}" for c in controls]
    return "\n".join(told) or f"{State.UNKNOWN}: nothing tells"
