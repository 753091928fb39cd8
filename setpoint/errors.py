"""One exception tree. Every message says what is wrong, where, and what to do about it.

``SetpointError``
├── ``ProjectFileError``   the project file cannot be used
├── ``DataError``          data cannot be read or do not hold what was declared
│   └── ``ValidationFailed``   a batch breaks its declared schema; it was quarantined
├── ``RequestError``       a request to the scoring service is refused (4xx)
├── ``BundleError``        a bundle is incomplete, altered or cannot be loaded
├── ``StateError``         the state folder is damaged or used by somebody else
├── ``PlatformError``      a process of the platform does not start or answer
├── ``TrainingError``      a model cannot be trained on this snapshot
├── ``ReleaseError``       a release cannot go on and was rolled back
├── ``AccessError``        somebody does what the project file does not let them do
└── ``NotificationError``  a channel does not take a notification; it is told again
"""

from __future__ import annotations


class SetpointError(Exception):
    """Base of all errors that Setpoint raises on purpose.

    Args:
        what: What is wrong, in one sentence, with the value that is wrong.
        where: File, line, column, host or step it was found in.
        fix: What the reader can do about it.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  do: {self.fix}" if self.fix else text

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders (workers); keyword arguments must survive that.
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[SetpointError], state: dict[str, object]) -> SetpointError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    Exception.__init__(error, str(error))
    return error


class ProjectFileError(SetpointError):
    """The project file is missing, malformed or contradicts itself."""


class DataError(SetpointError):
    """Data cannot be read, are empty, or do not hold what the project file declares."""


class ValidationFailed(DataError):
    """A batch breaks the schema that the project file declares; it was quarantined whole."""


class RequestError(SetpointError):
    """A request to the scoring service is refused.

    Args:
        what: What is wrong, with field and value.
        where: The field, e.g. ``amount``.
        fix: What is allowed.
        status: HTTP status, 400 to 499.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "", status: int = 422) -> None:
        self.status = status
        super().__init__(what, where=where, fix=fix)


class BundleError(SetpointError):
    """A bundle is incomplete, altered, or cannot be loaded."""


class StateError(SetpointError):
    """The state folder is damaged, half-written or used by another process."""


class PlatformError(SetpointError):
    """A process of the platform does not start, answer or stop."""


class TrainingError(SetpointError):
    """A model cannot be trained on this snapshot."""


class ReleaseError(SetpointError):
    """A release cannot go on; production was put back to what it was."""


class AccessError(SetpointError):
    """Somebody does what the project file does not let them do."""


class NotificationError(SetpointError):
    """A channel does not take a notification; never says its address, which holds a secret."""
