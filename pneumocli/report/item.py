"""One thing that a reporting guideline asks for, with what a run can answer and what the user must say."""

from dataclasses import dataclass

USER = "the user must say"


@dataclass(frozen=True)
class Item:
    """One thing that is asked for.

    Attributes:
        claim, tripod: numbers of the items that ask for it, in CLAIM and in TRIPOD+AI; either may have none.
        asks: what is asked, in our words.
        says: what the run answers; empty where it cannot.
        left: what is left for the user to say beyond that, or why the run cannot; may be empty.
    """

    claim: tuple[str, ...]
    tripod: tuple[str, ...]
    asks: str
    says: str = ""
    left: str = ""

    @property
    def answer(self) -> str:
        """The run's answer, and what the user must add to it."""
        if not self.says:
            return f"{USER} ({self.left})" if self.left else USER
        return f"{self.says} Beyond that {USER}: {self.left}." if self.left else self.says


def make_item(claim: str, tripod: str, asks: str, says: str = "", left: str = "") -> Item:
    """Return an item; the numbers are parted by blanks."""
    return Item(tuple(claim.split()), tuple(tripod.split()), asks, says, left)
