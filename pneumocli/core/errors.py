"""What can go wrong for a user. A message says what was received and what to do next, in one line."""

from pneumocli.core.wording import show_plain


class PneumoError(Exception):
    """Something a user can mend; the command line prints it as one line and exits with 1."""

    def __init__(self, message: str) -> None:
        # A file that it names may have any name, and a library's words may have several lines.
        super().__init__(show_plain(message))


class SettingError(PneumoError):
    """A setting does not exist, or its value is of the wrong type or out of its range."""


class DataError(PneumoError):
    """The data set is missing, damaged, or not of the form that training needs."""


class ImageError(PneumoError):
    """One image file cannot be read; the others of the same call are still answered."""


class NoImageError(ImageError):
    """A file of a kind that images come in holds none; found in a folder, it is passed over."""


class WeightsError(PneumoError):
    """The pretrained weights are missing or belong to another network."""


class DownloadError(PneumoError):
    """A file could not be downloaded, or what came is not the file that was asked for."""


class RunError(PneumoError):
    """A run folder or model file is missing, incomplete or already there."""


class DivergedError(PneumoError):
    """The loss became not a number: the same settings would come to the same end again."""
