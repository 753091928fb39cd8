"""Which controls of the security map are on for this project: from its configuration and state."""

from __future__ import annotations

from setpoint.documents.record import Record
from setpoint.documents.states import Control, Standing, State
from setpoint.domain.features import duration_label
from setpoint.serving.keys import Key, read_keys
from setpoint.workspace import Workspace


def standing(workspace: Workspace, record: Record) -> Standing:
    """The controls of a project, by today's project file, its environment and its record.

    Raises:
        PlatformError: A keys file is named and cannot be read.
    """
    keys = read_keys(workspace.environment.key_file) if workspace.environment.key_file else []
    return {
        "AML.T0020": (*_data(workspace), _signed_snapshots(workspace)),
        "AML.T0010": _supply(workspace, record),
        "AML.T0018": (_signed_bundle(record), _always("a bundle is held against its digest")),
        "AML.T0011": (_always("a bundle is ONNX and JSON, verified before it is loaded"),),
        "AML.T0015": _evasion(workspace, record),
        "AML.T0043": (_always("a request is held to the schema"),),
        "AML.T0040": (_keyed(keys, "keys with roles"),),
        "AML.T0024": (_keyed(keys, "a rate for each key"), _copies(record), _rounded(keys)),
        "AML.T0029": (_always("requests that wait too long are answered 503"),
                      _keyed(keys, "a rate for each key")),
        "AML.T0034": (_keyed(keys, "a rate for each key"), _cooldown(workspace)),
        "AML.T0046": (_always("refused rows are counted and leave nothing"),),
        "AML.T0031": (_watch(record), _ledger(record)),
        "AML.T0025": (_keyed(keys, "keys kept as hashes"),
                      _always("no refused value is logged or answered")),
    }  # fmt: skip


def _is(on: bool, told: str, but: str) -> Control:
    """On with what shows it, else off with what is missing."""
    return Control(State.ON, told) if on else Control(State.OFF, but)


def _always(told: str) -> Control:
    return Control(State.ON, f"{told} (part of the program, no setting)")


def _keyed(keys: list[Key], what: str) -> Control:
    count = f"{what}: {len(keys)} in the keys file"
    return _is(bool(keys), count, f"{what}: no keys file is given (SETPOINT_KEYS)")


def _rounded(keys: list[Key]) -> Control:
    some = [k for k in keys if k.score_digits is not None]
    told = f"scores are rounded for {len(some)} of {len(keys)} keys"
    return _is(bool(some), told, "scores are rounded: for no key (score_digits)")


def _copies(record: Record) -> Control:
    what = "requests that look like copying are looked for"
    if any(f.name.startswith("extraction_") for w in record.watched for f in w.findings):
        return Control(State.ON, f"{what}: windows of {record.version} judged clients")
    return Control(State.UNKNOWN, f"{what}: no window of {record.version} says so")


def _data(workspace: Workspace) -> tuple[Control, ...]:
    rule = workspace.project.train.poisoning
    told = f"new data are held against trusted ones; in doubt: {rule.doubt} (train.poisoning)"
    return Control(State.ON, told), _always("a batch that breaks its schema is refused whole")


def _signed_snapshots(workspace: Workspace) -> Control:
    signed = workspace.state.recall("signed:events") is not None
    return _is(signed, "snapshots are signed", "snapshots are signed: no table is begun with it")


def _supply(workspace: Workspace, record: Record) -> tuple[Control, ...]:
    built = [e for e in record.told("packaged") if e.evidence.get("image")]
    found = any(f.name == "dependencies" and f.value is not None for f in record.findings)
    gate = f"packages are held against the champion's by a gate of {record.version}"
    return (
        _is(bool(built), f"an image of {record.version} was built of locked wheels",
            f"an image of locked wheels: none was built of {record.version} "
            f"(package.image: {workspace.project.package.image})"),
        _is(found, gate, f"{gate}: it measured nothing"),
        Control(State.UNKNOWN, "locked versions are held against known weaknesses: "
                "an audit leaves no record here"),
    )  # fmt: skip


def _signed_bundle(record: Record) -> Control:
    signature = record.bundle.signature
    told = f"bundle {record.version} is signed"
    return _is(signature is not None, told, f"{told}: there is no signature beside it")


def _evasion(workspace: Workspace, record: Record) -> tuple[Control, ...]:
    seen = [f for f in record.findings if f.name == "evasion" and f.value is not None]
    limit = workspace.project.gates.robustness.max_evaded
    hard = workspace.project.train.adversarial
    gate = f"a gate attacked {record.version}"
    off = f"{gate}: " + ("max_evaded is none" if limit is None else "it measured nothing")
    return (
        _is(bool(seen) and limit is not None, gate, off),
        _is(bool(hard), "adversarial training", "adversarial training: train.adversarial"),
    )


def _cooldown(workspace: Workspace) -> Control:
    rule = workspace.project.respond
    pause = duration_label(int(rule.cooldown.total_seconds())) if rule.cooldown else "0"
    told = f"retrainings: {rule.attempts} attempts, cooldown {pause} (respond)"
    return _is(bool(rule.cooldown), told, told)


def _watch(record: Record) -> Control:
    count = len(record.watched)
    if count:
        return Control(State.ON, f"setpoints are watched: {count} windows of {record.version}")
    return Control(State.UNKNOWN, f"setpoints are watched: no window of {record.version} yet")


def _ledger(record: Record) -> Control:
    audit = record.audit
    whole = audit.entries > 0 and audit.signed == audit.entries and not audit.breaks
    told = "chain, signatures and seals of the ledger hold"
    return _is(whole, told, f"{told}: not so, {audit.told}")
