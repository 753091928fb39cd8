"""Documents made from the record: model card, datasheet, EU AI Act pack, security map, assessment.

A document is a tree of headings, tables and sentences around values (``markup``), written as
Markdown and as one HTML file. Values come from ``record``: registry, bundle, snapshot, ledger,
windows. What only a person can know is in ``documents`` of the project file; until it is written
there, its place says so.
"""

from __future__ import annotations

from setpoint.documents.assessment import assess
from setpoint.documents.write import publish_documents, write_documents

__all__ = ["assess", "publish_documents", "write_documents"]
