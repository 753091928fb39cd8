"""The declared rule as a version of its own, ready to serve where no model may."""

from __future__ import annotations

import hashlib

from setpoint.adapters.rule_onnx import rule_onnx
from setpoint.domain.bundle import Knots, canonical_json, read_bundle, to_plain
from setpoint.domain.rule import Rule, RuleModel
from setpoint.errors import ReleaseError, SetpointError
from setpoint.stages.ingest import Ingested
from setpoint.stages.publish import Exported, register
from setpoint.stages.train import Training
from setpoint.workspace import Workspace

FALLBACK = "fallback"
"""Tag of a version that is the rule: digest of all that makes it what it is."""
RULE = "rule"
"""Tag of such a version: the rule, for people."""


def prepare(workspace: Workspace, training: Training, snapshot: Ingested) -> str | None:
    """Register the declared rule, unless a version is this rule on these inputs already.

    It is no candidate: no gate judges it, and it serves only where a person or the policy of an
    incident says so. Its profile is that of the rows that judge, so it is watched as models are.

    Args:
        workspace: The project.
        training: Rows with complete labels, with the project's features.
        snapshot: The data.

    Returns:
        Its version; ``None`` where no rule is declared.
    """
    rule = workspace.project.rule()
    if rule is None:
        return None
    known = _registered(workspace, rule)
    if known is not None:
        return known
    spec = workspace.project.feature_spec()
    model = RuleModel(rule, spec)
    exported = Exported(
        rule_onnx(rule, spec),
        model.scores(training.split.judge),
        model.threshold,
        Knots(),
        model.parameters(),
        {},
        {},
    )
    tags = {"cause": FALLBACK, RULE: rule.label, FALLBACK: identity(workspace, rule)}
    made = register(workspace, training, exported, snapshot, tags)
    workspace.state.record(
        workspace.clock.now(),
        "fallback_ready",
        f"{workspace.project.name}/{made.version}",
        {"rule": rule.label, "bundle": made.digest},
    )
    return made.version


def version_of(workspace: Workspace, champion: str) -> str:
    """The version that is the declared rule, to take over from the champion.

    Args:
        workspace: The project.
        champion: The version to be replaced, which must be in service.

    Raises:
        ReleaseError: There is none, it is not what was registered, or another version is in
            service.
        StateError: It is not known what is in service.
    """
    serving, rule = workspace.champion(), workspace.project.rule()
    if serving != champion:
        raise _none(champion, f"{serving} took over from it meanwhile")
    if rule is None:
        raise _none(champion, "the project file declares no fallback")
    version = _registered(workspace, rule)
    if version is None:
        raise _none(champion, f"no training has registered the rule {rule.label} yet")
    try:
        read_bundle(workspace.bundle(version), workspace.registry.digest(version))
    except SetpointError as err:
        raise _none(champion, f"{version}: {err.what}") from err
    return version


def is_rule(workspace: Workspace, version: str | None) -> bool:
    """Whether a version is a rule, and no model."""
    return version is not None and RULE in workspace.registry.tags(version)


def _registered(workspace: Workspace, rule: Rule) -> str | None:
    wanted = identity(workspace, rule)
    for version in reversed(workspace.registry.versions()):
        tags = workspace.registry.tags(version)
        if tags.get(FALLBACK) == wanted and "bundle_digest" in tags:
            return version
    return None


def identity(workspace: Workspace, rule: Rule) -> str:
    """Digest of the rule, its inputs, the request and the names of the actions."""
    project = workspace.project
    parts = {
        "rule": to_plain(rule),
        "features": to_plain(project.feature_spec()),
        "request": to_plain(project.request_spec()),
        "actions": project.actions.model_dump(),
    }
    return hashlib.sha256(canonical_json(parts, "fallback")).hexdigest()


def _none(champion: str, reason: str) -> ReleaseError:
    return ReleaseError(
        f"no rule takes over from {champion}: {reason}",
        where=f"fallback of {champion}",
        fix="declare 'fallback' in the project file and run 'setpoint deliver' once",
    )
