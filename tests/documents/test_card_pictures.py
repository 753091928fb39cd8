"""The model card carries the pictures of the verdict that it tells."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

from setpoint.documents.markup import to_html, to_markdown
from setpoint.documents.model_card import model_card
from tests.documents.conftest import Made
from tests.documents.test_documents import edited

OPEN = (
    "sex: {type: category, values: [f, m], personal: true}",
    "sex: {type: category, values: [f, m]}",
)
VERDICT, DRIVERS = "plots/verdict.png", "plots/drivers.png"


def _carries(page: str, png: bytes) -> bool:
    return base64.b64encode(png).decode() in page


def test_the_page_carries_both_pictures_and_the_markdown_says_where_they_are(made: Made) -> None:
    record = made.record
    page, text = to_html(model_card(record)), to_markdown(model_card(record))
    assert set(record.pictures) == {VERDICT, DRIVERS}
    for path, png in record.pictures.items():
        assert png.startswith(b"\x89PNG") and _carries(page, png)
        assert f"{path} among the artifacts of MLflow run {record.run.id}" in text


def test_a_version_without_pictures_has_a_card_without_them(made: Made) -> None:
    document = model_card(replace(made.record, pictures={}))
    assert "<img" not in to_html(document) and "Picture" not in to_markdown(document)


def test_drivers_of_a_column_that_is_marked_personal_since_are_not_shown(
    made: Made, tmp_path: Path
) -> None:
    # Its training knew a protected column that nobody had marked personal.
    plain = edited(made.workspace, tmp_path, OPEN).project
    record = replace(made.record, project=plain)
    page = to_html(model_card(record))
    assert "sex was marked personal after it was drawn" in page
    assert _carries(page, record.pictures[VERDICT])
    assert not _carries(page, record.pictures[DRIVERS])


def test_drivers_are_not_shown_where_nobody_can_tell_what_was_personal(made: Made) -> None:
    record = replace(made.record, unread="it is gone")
    assert not _carries(to_html(model_card(record)), record.pictures[DRIVERS])
