"""Whether image files become the pixels that a model was trained on."""

from pneumocli.core.errors import RunError
from pneumocli.core.images import ALIKE, PREPARATION_VERSION
from pneumocli.core.progress import Notice, keep_quiet


def check_preparation(name: str, version: int, *, force: bool = False, notify: Notice = keep_quiet) -> None:
    """Check that a model was trained with a way of reading image files that this version has.

    Args:
        name: of the model or run, for the message.
        version: of the preparation that it was trained with.
        force: go on all the same; `notify` is told so.

    Raises:
        RunError: it was trained with another.
    """
    if version in ALIKE:
        return
    what = (
        f"{name} was trained with preparation {version} of image files, this version of pneumocli has "
        f"{PREPARATION_VERSION}"
    )
    if not force:
        raise RunError(
            f"{what}; train it anew, use the pneumocli that trained it, or go on all the same with --force"
        )
    notify(f"warning: {what}; gone on with because of --force")
