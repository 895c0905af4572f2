"""Results as Rich tables that keep every number and word at 80 columns."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from pneumocli.core.audit import Audit
from pneumocli.core.comparison import Comparison
from pneumocli.core.examination import Examination
from pneumocli.core.figures import Figures
from pneumocli.core.metrics import FIGURES

FIGURE_TITLES = {
    "roc_auc": "AUC-ROC",
    "accuracy": "accuracy",
    "f1": "F1",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
}

ESTIMATE_TITLES = {
    **FIGURE_TITLES,
    "balanced_accuracy": "balanced accuracy",
    "ppv": "PPV, right among called pneumonia",
    "npv": "NPV, right among called normal",
    "average_precision": "average precision",
    "brier": "Brier score, lower is better",
}


def tabulate_figures(figures: Figures, names: Sequence[str] | None = None) -> list[Table]:
    """Return a table of figures and one of confusion matrices, one model a row.

    Args:
        names: which models, in this order; all by default.
    """
    names = list(figures.models) if names is None else list(names)
    title = f"{name_source(figures)}: {figures.split.replace('_', '-')}"
    images = f"{figures.models[names[-1]].n} images of {figures.data}"
    main = _start(f"{title}, {images}", ["", *FIGURE_TITLES.values()])
    counts = _start(f"{title}, confusion matrix", ["", "images", "threshold", "TN", "FP", "FN", "TP"])
    for name in names:
        metrics = figures.models[name]
        shown = f"{name} (best single)" if name == figures.best_single else name
        main.add_row(Text(shown), *(f"{getattr(metrics, figure):.4f}" for figure in FIGURES))
        counts.add_row(
            Text(shown),
            str(metrics.n),
            f"{metrics.threshold:.3f}",
            *(str(count) for count in (metrics.tn, metrics.fp, metrics.fn, metrics.tp)),
        )
    if figures.folds is not None:
        main.add_section()
        for key, shown in (("mean", "mean of folds"), ("sd", "sd of folds")):
            main.add_row(Text(shown), *(f"{figures.folds[figure][key]:.4f}" for figure in FIGURES))
    counts.caption = "T right, F wrong; N called normal, P pneumonia"
    return [main, counts]


def tabulate_estimates(figures: Figures, name: str) -> Table:
    """Return a table of one model's figures with their 95 % intervals and counts, one figure a row.

    Raises:
        KeyError: there are none of that model.
    """
    estimates = (figures.estimates or {})[name]
    title = f"{name_source(figures)}: {figures.split.replace('_', '-')}, {name}, with 95 % intervals"
    table = _start(title, ["", "figure", "95 % interval", "images"])
    for figure, shown in ESTIMATE_TITLES.items():
        found = estimates[figure]
        value = "-" if found.value is None else f"{found.value:.4f}"
        bounds = "-" if found.low is None else f"{found.low:.4f} to {found.high:.4f}"
        table.add_row(shown, value, bounds, "" if found.of is None else f"{found.hits}/{found.of}")
    table.caption = "Wilson for counts, DeLong for AUC, bootstrap for the rest; for these images only"
    return table


def tabulate_comparison(found: Comparison) -> Table:
    """Return a table of two runs' figures and their difference, one figure a row."""
    mark = "SYNTHETIC " if found.synthetic else ""
    title = f"{mark}A: {found.first}, B: {found.second}; {found.split}, {found.n} images of {found.data}"
    table = _start(title, ["", "A", "B", "B - A", "95 % interval", "p"])
    for figure, difference in found.differences.items():
        table.add_row(
            ESTIMATE_TITLES[figure].partition(",")[0],
            f"{difference.first:.4f}",
            f"{difference.second:.4f}",
            f"{difference.second - difference.first:+.4f}",
            f"{difference.low:+.4f} to {difference.high:+.4f}",
            "" if difference.p_value is None else f"{difference.p_value:.2g}",
        )
    table.caption = "p: DeLong for AUC, exact McNemar for accuracy; intervals of the rest: paired bootstrap"
    return table


def name_source(figures: Figures) -> str:
    """Return the run's name, marked if drawn images had a part in the figures."""
    return f"SYNTHETIC {figures.run}" if figures.synthetic else figures.run


def tabulate_audit(audit: Audit) -> list[Table]:
    """Return a table of the images and exact duplicates of a data set, one split a row."""
    table = _start(audit.identity.sentence, ["split", "images", "normal", "pneumonia", "exact copies"])
    for name, split in audit.splits.items():
        table.add_row(name, *map(str, (split.images, split.normal, split.pneumonia, split.surplus)))
    table.add_section()
    for pair, images in audit.shared.items():
        table.add_row(f"in both of {pair}", "", "", "", str(images))
    table.caption = (
        f"{audit.groups} groups of byte-equal images ({audit.grouped_images} images), "
        f"{audit.label_conflicts} with differing labels"
    )
    return [table]


def tabulate_examination(found: Examination) -> list[Table]:
    """Return a table of what there is on the machine and one of the kept features."""
    main = _start("this machine", ["", ""])
    main.show_header = False
    main.columns[1].justify, main.columns[1].overflow, main.columns[1].no_wrap = "left", "fold", False
    for name, value in found.versions.items():
        main.add_row(name, Text(value))
    main.add_section()
    main.add_row("processor", Text(f"{found.processor}, {found.cores} cores"))
    main.add_row("native bfloat16", "yes" if found.native_bfloat16 else "no")
    main.add_row("data", Text(found.data or "none yet: pneumocli fetch"))
    main.add_row("weights", Text(found.weights or "none yet: pneumocli fetch"))
    main.add_row("cache", Text(f"{found.cache} ({found.free_bytes / 1e9:.0f} GB free)"))
    total = sum(bank.bytes for bank in found.features)
    kept = _start(f"kept features: {total / 1e9:.2f} GB", ["content", "GB", "last used"])
    for bank in found.features:
        used = datetime.fromtimestamp(bank.used).strftime("%Y-%m-%d %H:%M")
        kept.add_row(Text(bank.content), f"{bank.bytes / 1e9:.2f}", used)
    return [main, kept]


def tabulate_predictions(rows: Iterable[Mapping[str, object]], model: str, synthetic: bool) -> Table:
    """Return the table of answered images."""
    mark = "SYNTHETIC " if synthetic else ""
    table = _start(f"{mark}Probability of pneumonia by {model}", ["image", "probability", "label"])
    for row in rows:
        # As text: a path may hold what Rich takes for markup.
        table.add_row(Text(str(row["path"])), f"{row['probability']:.4f}", str(row["label"]))
    return table


def _start(title: str, columns: Sequence[str]) -> Table:
    table = Table(
        title=Text(title), box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False
    )
    for position, column in enumerate(columns):
        # Numbers and words stay whole; what a user named breaks into lines rather than being cut.
        justify: Literal["left", "right"] = "left" if position == 0 else "right"
        table.add_column(column, justify=justify, no_wrap=position > 0, overflow="fold")
    return table
