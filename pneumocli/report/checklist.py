"""What two reporting guidelines ask of a study, with what a run can answer and what the user must say.

CLAIM: Tejani et al. 2024, Checklist for Artificial Intelligence in Medical Imaging, 2024 update, Radiology:
Artificial Intelligence 6(4):e240300 (44 items). TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378 (27 items, 52
with their parts). The item numbers are theirs, the words are our own; the tables of both are the ones to fill
in. A filled list says that a thing is told, not that it is good.
"""

from pneumocli.core.summary import Summary
from pneumocli.report.findings import list_discussion, list_evaluation, list_open_science, list_results
from pneumocli.report.item import Item
from pneumocli.report.methods import (
    list_data,
    list_introduction,
    list_model,
    list_partitions,
    list_reference,
)


def list_items(summary: Summary) -> list[Item]:
    """Return all items of both guidelines, those that ask for the same joined in one row."""
    return [
        *list_introduction(summary),
        *list_data(summary),
        *list_reference(),
        *list_partitions(summary),
        *list_model(summary),
        *list_evaluation(summary),
        *list_results(summary),
        *list_discussion(),
        *list_open_science(summary),
    ]
