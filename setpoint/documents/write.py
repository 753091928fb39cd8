"""Write the documents of a version: into a folder, and as artifacts of its run."""

from __future__ import annotations

import tempfile
from pathlib import Path

from setpoint.documents import markup
from setpoint.documents.ai_act import ai_act_pack
from setpoint.documents.assessment import assess, assessment_document
from setpoint.documents.datasheet import datasheet
from setpoint.documents.markup import Document
from setpoint.documents.model_card import model_card
from setpoint.documents.record import FOLDER, documented_version, read_record
from setpoint.documents.standing import standing
from setpoint.documents.statistics import snapshot_statistics
from setpoint.documents.threats import security_map
from setpoint.workspace import Workspace


def documents_of(workspace: Workspace, version: str) -> list[Document]:
    """Model card and datasheet of a version.

    Raises:
        StateError: The version was half published.
        BundleError: Its bundle was altered.
        DataError: Its snapshot is not there.
    """
    record = read_record(workspace, version)
    return [model_card(record), datasheet(record, snapshot_statistics(workspace, record))]


def write_documents(
    workspace: Workspace, folder: Path, version: str | None = None
) -> dict[Path, Document]:
    """Write all documents as Markdown and HTML.

    Args:
        workspace: The project.
        folder: Where to; made if it is not there.
        version: Which version they are about; default: the one in service, else the newest.

    Returns:
        Each file with the document that it holds.

    Raises:
        StateError: There is no such version.
        BundleError: Its bundle was altered.
    """
    about = documented_version(workspace, version)
    record = read_record(workspace, about)
    documents = [
        *documents_of(workspace, about),
        ai_act_pack(record),
        security_map(workspace.project.name, about, standing(workspace, record)),
        assessment_document(workspace.project.name, assess(workspace), about),
    ]
    return {file: one for one in documents for file in markup.write(one, folder)}


def publish_documents(workspace: Workspace, version: str) -> list[Document]:
    """Keep model card and datasheet with a version's run; again with the same name, replaced.

    Returns:
        What was kept.

    Raises:
        StateError: The version was half published.
        BundleError: Its bundle was altered.
    """
    documents = documents_of(workspace, version)
    with tempfile.TemporaryDirectory() as name:
        files = [file for one in documents for file in markup.write(one, Path(name))]
        workspace.registry.attach(version, FOLDER, files)
    return documents
