"""What only a person can know of a model and its data; the rest of its documents is the record."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from setpoint.config.fields import Section


class Documents(Section):
    """Words for model card, datasheet and EU AI Act pack; what is not written is shown missing."""

    use: Literal["credit_scoring", "fraud_detection", "other"] | None = Field(
        None, description="What decisions are about; the tier under the EU AI Act follows from it."
    )
    intended_use: str | None = Field(None, description="What the model is for.")
    users: str | None = Field(None, description="Who works with its decisions.")
    out_of_scope: str | None = Field(None, description="What it must not be used for.")
    ethical_considerations: str | None = Field(
        None, description="Whom its mistakes harm, and what is done about it."
    )
    caveats: str | None = Field(None, description="What whoever relies on it has to know.")
    license: str | None = Field(None, description="Terms under which the model may be used.")
    motivation: str | None = Field(None, description="Why the data exist, and who paid for them.")
    collection: str | None = Field(
        None, description="How the data come about, and whether the people in them know."
    )
    labelling: str | None = Field(None, description="How a label comes about, and who decides it.")
    distribution: str | None = Field(None, description="Who else gets the data, on which terms.")
    maintenance_contact: str | None = Field(None, description="Who answers for the data.")
    instructions: str | None = Field(
        None, description="Where those who use the decisions find their instructions."
    )
    oversight: str | None = Field(
        None, description="Who oversees the model, and what that person may do."
    )
    risk_management: str | None = Field(
        None, description="Where the risks are kept, and who accepted what is left of them."
    )
    quality_management: str | None = Field(
        None, description="The quality management system it is under."
    )
    standards: str | None = Field(None, description="Harmonised standards that were applied.")
    declaration: str | None = Field(None, description="Where the EU declaration of conformity is.")
