"""The results of runs on the test images: kept with their raw scores, checked, and put in a table.

    python examples/results.py keep runs/cv-1 --as original-0 --seconds 1012
    python examples/results.py table
    python examples/results.py update

`keep` copies a run's settings, scores and figures, not its models, to examples/results/NAME; give it on the
machine that trained, or say which it was. `table` computes the figures again from the kept scores, as
`checking.py` says, refuses where one is not what the run says, and prints a Markdown table; `update` writes
that table into README.md. The published rows are those of examples/results/published.csv that it marks as
shown.
"""

import argparse
import csv
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from kept import ABOUT, KeptRun, keep_run, read_kept

from pneumocli import DISCLAIMER
from pneumocli.core.errors import PneumoError, RunError
from pneumocli.core.figures import ENSEMBLE_NAME
from pneumocli.core.files import replacing
from pneumocli.core.hardware import count_cores, read_processor

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
PUBLISHED = "published.csv"
BEGIN, END = "<!-- made by: python examples/results.py update -->", "<!-- end of what it made -->"

COLUMNS = (
    "model",
    "AUC",
    "accuracy at 0.5",
    "accuracy at the rule",
    "F1",
    "sensitivity",
    "specificity",
    "ECE",
    "source",
)
# How the row came to be the one that is reported, and its mark.
PICKED = {"validation": "", "fixed": "", "test": " †", "unchecked": " ‡"}
NOTES = f"""\
On the {{images}}test images. F1, sensitivity and specificity are those at the stored rule, of published rows
those at 0.5. Rule, threshold and temperature were fixed on the scores that a row names. ECE: without / with
the temperature. ± is the standard deviation over seeds. A dash is what is not known.

† checkpoint or settings were picked, or compared, on these test images; of our own, settings that were
returned to after others had been scored on them ([Results](#results)). ‡ how they were picked could not be
checked. More published rows: [published.csv](examples/results/published.csv).

{DISCLAIMER}"""


def read_results(folder: Path) -> list[KeptRun]:
    """Return all kept runs, checked, by their names.

    Raises:
        RunError: one of them is not what its scores say, or they are not of the same test images.
    """
    found = sorted(about.parent for about in folder.glob(f"*/{ABOUT}"))
    runs = [read_kept(path) for path in found if not path.name.startswith(".")]
    for run in runs[1:]:
        if run.test["data_digest"] != runs[0].test["data_digest"]:
            raise RunError(
                f"{run.name} and {runs[0].name} were scored on other test images; keep one of them"
            )
    return runs


def read_published(path: Path) -> list[dict[str, str]]:
    """Return the published rows.

    Raises:
        RunError: the file is missing, or a row lacks how it was picked, or its source.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path} cannot be read ({error})") from None
    for row in rows:
        if row.get("picked") not in PICKED or not row.get("source") or row.get("shown") not in ("yes", "no"):
            raise RunError(
                f"{path}: {row.get('model')}: give picked ({', '.join(PICKED)}), source and shown (yes, no)"
            )
    return rows


def make_table(folder: Path) -> str:
    """Return the whole table, with the notes that belong to it, in Markdown.

    Raises:
        RunError: as for `read_results` and `read_published`.
    """
    lines = [COLUMNS, ("---",) * len(COLUMNS)]
    circumstances = []
    found = read_results(folder)
    groups = list(group_by_recipe(found).values())
    shared = find_shared(groups)
    # The default first and what is nearest to it next; of alike ones that of more seeds, being better known.
    for runs in sorted(groups, key=lambda runs: (len(runs[0].command.split()), -len(runs))):
        runs.sort(key=lambda run: run.about["seed"])
        figures = [list_figures(run) for run in runs]
        recipe, ahead = f"`{runs[0].command}`", ""
        mark = max(PICKED[run.about.get("picked", "fixed")] for run in runs)
        if len(runs) > 1:
            lines.append((f"**{recipe}, {len(runs)} seeds**{mark}", *summarize(figures), "here"))
        else:
            ahead = f"**{recipe}**{mark}, "
        for run, values in zip(runs, figures, strict=True):
            source = f"[{run.name}](examples/results/{run.name})"
            lines.append((f"{ahead}{_name_seed(run)}", *summarize([values]), source))
        circumstances.append(f"- {recipe}: {describe_circumstances(runs, shared)}")
    if shared:
        circumstances.append(f"- All of them: {'; '.join(shared)}.")
    for row in read_published(folder / PUBLISHED):
        if row["shown"] != "yes":
            continue
        names = ("auc", "accuracy", "", "f1", "sensitivity", "specificity", "")
        model = ", ".join(filter(None, (row["model"], row["input"]))) + PICKED[row["picked"]]
        lines.append((model, *(row.get(name) or "-" for name in names), row["source"]))
    table = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
    images = {run.test["models"][ENSEMBLE_NAME]["n"] for run in found}
    notes = NOTES.format(images="".join(f"{n} " for n in images))
    return "\n\n".join(filter(None, (table, "\n".join(circumstances), notes)))


def group_by_recipe(runs: list[KeptRun]) -> dict[tuple[str, ...], list[KeptRun]]:
    """Return the runs that differ in nothing but the seed together.

    Raises:
        RunError: two of them have the same seed.
    """
    groups: dict[tuple[str, ...], list[KeptRun]] = {}
    for run in runs:
        about = run.about
        key = (run.command, about["precision"], str(about["weights"]), str(about["data"]))
        same = groups.setdefault(key, [])
        for other in same:
            if other.about["seed"] == about["seed"]:
                raise RunError(
                    f"{other.name} and {run.name} are the same recipe with the same seed; keep one"
                )
        same.append(run)
    return groups


def list_figures(run: KeptRun) -> tuple[float | None, ...]:
    """Return the ensemble's figures on test as the columns have them, ECE before and after being two."""
    at_half = run.test["models"][ENSEMBLE_NAME]
    at_rule = (run.test.get("at_rule") or {}).get(ENSEMBLE_NAME) or {}
    calibration = run.test.get("calibration") or {}
    return (
        at_half["roc_auc"],
        at_half["accuracy"],
        *(at_rule.get(name) for name in ("accuracy", "f1", "sensitivity", "specificity")),
        *((calibration.get(name) or {}).get("ece") for name in ("before", "after")),
    )


def summarize(figures: list[tuple[float | None, ...]]) -> list[str]:
    """Return mean and standard deviation (n - 1) of each column; what one run lacks is a dash."""
    cells = []
    for column in zip(*figures, strict=True):
        values = [value for value in column if value is not None]
        if len(values) < len(column):
            cells.append("-")
        elif len(values) == 1:
            cells.append(_show(values[0]))
        else:
            cells.append(f"{_show(fmean(values))} ± {_show(stdev(values))}")
    return [*cells[:-2], _join(*cells[-2:])]


def find_shared(groups: list[list[KeptRun]]) -> list[str]:
    """Return in words which weights and data all runs have; what they differ in is left out."""
    inputs = [describe_inputs(runs[0]) for runs in groups]
    return [said[0] for said in zip(*inputs, strict=True) if len(groups) > 1 and len(set(said)) == 1]


def describe_inputs(run: KeptRun) -> tuple[str, str]:
    """Return in words the weights and the data of a run."""
    weights, data = run.about["weights"], run.about["data"]
    checked = f" (SHA-256 {weights['sha256'][:8]}...)" if weights["sha256"] else ""
    return f"weights {weights['name']}{checked}", f"{data['name']}, {data['identity']}"


def describe_circumstances(runs: list[KeptRun], shared: list[str]) -> str:
    """Return in words what the runs of a recipe were trained with, but for what all recipes share."""
    seconds = [run.about["seconds"] for run in runs]
    minutes = " / ".join("-" if value is None else f"{value / 60:.0f}" for value in seconds)
    machines = " / ".join(
        dict.fromkeys(f"{run.about['processor']}, {run.about['cores']} cores" for run in runs)
    )
    measured = f"{minutes} min" if any(seconds) else "time not measured,"
    time = f"{measured} on {machines}, in {runs[0].about['precision']}"
    return "; ".join((time, *(said for said in describe_inputs(runs[0]) if said not in shared))) + "."


def update_readme(readme: Path, table: str) -> None:
    """Write the table between the two marks.

    Raises:
        RunError: the file does not have each of the marks once.
    """
    text = readme.read_text(encoding="utf-8")
    before, after = _cut(readme, text)
    with replacing(readme) as partial:
        partial.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8", newline="\n")


def read_table(readme: Path) -> str:
    """Return what stands between the two marks.

    Raises:
        RunError: as for `update_readme`.
    """
    text = readme.read_text(encoding="utf-8")
    before, after = _cut(readme, text)
    return text[len(before) + len(BEGIN) : len(text) - len(after) - len(END)].strip()


def _cut(readme: Path, text: str) -> tuple[str, str]:
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise RunError(f"{readme} must have the lines {BEGIN} and {END} once each, in this order")
    return text[: text.index(BEGIN)], text[text.index(END) + len(END) :]


def _name_seed(run: KeptRun) -> str:
    decision: dict[str, Any] = run.test.get("decision") or {}
    if not decision:
        return f"seed {run.about['seed']}"
    source = decision["source"].replace("_", "-")
    return f"seed {run.about['seed']}; {decision['rule']} on {source}: {decision['threshold']:.3f}"


def _join(before: str, after: str) -> str:
    return "-" if before == after == "-" else f"{before} / {after}"


def _show(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the kept runs are")
    commands = parser.add_subparsers(dest="command", required=True)
    keep = commands.add_parser("keep", help="copy what is needed to check a run's figures")
    keep.add_argument("run", type=Path, help="a cross-validation's folder, scored on val and test")
    keep.add_argument("--as", dest="name", required=True, help="the folder's name")
    keep.add_argument("--seconds", type=float, help="how long the training took, where it was measured")
    keep.add_argument(
        "--processor", default=read_processor().name, help="of the training; else this machine's"
    )
    keep.add_argument(
        "--cores", type=int, default=count_cores(), help="of the training; else of this machine"
    )
    keep.add_argument(
        "--picked",
        choices=PICKED,
        default="fixed",
        help="test: if its settings were returned to after a look",
    )
    commands.add_parser("table", help="print the table")
    update = commands.add_parser("update", help="write the table into README.md")
    update.add_argument("--readme", type=Path, default=ROOT / "README.md")
    given = parser.parse_args(words)
    try:
        if given.command == "keep":
            if Path(given.name).name != given.name:
                raise RunError(f"--as takes the name of one folder; received {given.name!r}")
            folder = given.results / given.name
            print(keep_run(given.run, folder, given.seconds, given.processor, given.cores, given.picked))
        elif given.command == "table":
            print(make_table(given.results))
        else:
            update_readme(given.readme, make_table(given.results))
    except PneumoError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
