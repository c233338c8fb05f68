"""Every error that a user or an image can cause, and the exit code each one ends with.

    Error                       125   something of ours went wrong, or was refused
    ├── UsageError                    a command line or a value that makes no sense
    ├── NotFound                      no such image, container or file
    ├── ImageError                    the puller's side
    │   ├── InvalidReference          "Busybox:latest": not a name of an image
    │   ├── RegistryError             a registry answered, but not with what was asked for
    │   │   ├── AuthError             401 and 403
    │   │   └── RateLimited           429
    │   ├── ManifestError             a document that the image spec does not allow
    │   ├── PlatformError             an image, but not for this machine
    │   ├── DigestError               bytes that are not what their name says
    │   ├── LayerError                a layer that cannot be unpacked safely
    │   └── StoreError                the local store is damaged, full or locked
    ├── SpecError                     a config.json that the runtime spec does not allow
    ├── StateError                    "cannot start a container that is running"
    ├── StepError                     a step of the set-up failed; the container never ran
    ├── CommandNotExecutable    126   the command is there, but cannot be executed
    └── CommandNotFound         127   the command is not there

Only the two command lines (engine/cli.py, runtime/cli.py) catch ``Error``: they print it with
``render`` and end with its ``exit_code``. The numbers are Docker's (docker-run(1), "Exit Status").
"""


class Error(Exception):
    """What went wrong, in lower case and naming the thing.

    ``hint`` is a command or step that helps; where none is given, the ``usual_hint`` of the class.
    """

    exit_code = 125
    usual_hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.usual_hint


class UsageError(Error):
    pass


class NotFound(Error):
    pass


class ImageError(Error):
    pass


class InvalidReference(ImageError):
    pass


class RegistryError(ImageError):
    usual_hint = "minirun pull --explain shows the conversation with the registry"


class AuthError(RegistryError):
    pass


class RateLimited(RegistryError):
    pass


class ManifestError(ImageError):
    usual_hint = "only who published the image can mend it"


class PlatformError(ImageError):
    pass


class DigestError(ImageError):
    usual_hint = "try again; if it stays, the image is damaged in its registry"


class LayerError(ImageError):
    usual_hint = "only who published the image can mend it"


class StoreError(ImageError):
    pass


class SpecError(Error):
    pass


class StateError(Error):
    pass


class StepError(Error):
    pass


class CommandNotExecutable(Error):
    exit_code = 126


class CommandNotFound(Error):
    exit_code = 127


def from_os_error(error: OSError) -> Error:
    """An error of the kernel as one of ours: the call's own words and the path it was about."""
    if error.filename is None:
        return Error(error.strerror or str(error))
    return Error(f"{printable(os_path(error.filename))}: {error.strerror}")


def os_path(name: object) -> str:
    return name.decode(errors="surrogateescape") if isinstance(name, bytes) else str(name)


def printable(text: str) -> str:
    """``text`` without what could move a terminal's cursor: images choose their own file names."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def render(error: Error) -> str:
    """The lines for standard error: ``error: what`` and, where there is one, ``hint: a fix``."""
    lines = f"error: {error.message}"
    return f"{lines}\nhint: {error.hint}" if error.hint else lines
