"""What two reporting guidelines ask of a study, with what a run can answer and what the user must say.

CLAIM: Tejani et al. 2024, Checklist for Artificial Intelligence in Medical Imaging, 2024 update, Radiology:
Artificial Intelligence 6(4):e240300 (44 items). TRIPOD+AI: Collins et al. 2024, BMJ 385:e078378 (27 items, 52
with their parts). The item numbers are theirs, the words are our own; the tables of both are the ones to fill
in. A filled list says that a thing is told, not that it is good.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pneumocli.core.images import describe_steps
from pneumocli.core.scores import OUT_OF_FOLD
from pneumocli.core.summary import Summary
from pneumocli.report.words import (
    describe_attribution,
    describe_folds,
    describe_head,
    describe_input,
    describe_loss,
    describe_optimizer,
    describe_rule,
    name_model,
    name_split,
    show_estimate,
)

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


def list_items(summary: Summary) -> list[Item]:
    """Return all items of both guidelines, those that ask for the same joined in one row."""
    return [
        *_list_introduction(summary),
        *_list_data(summary),
        *_list_reference(),
        *_list_partitions(summary),
        *_list_model(summary),
        *_list_evaluation(summary),
        *_list_results(summary),
        *_list_discussion(),
        *_list_open_science(summary),
    ]


def _item(claim: str, tripod: str, asks: str, says: str = "", left: str = "") -> Item:
    return Item(tuple(claim.split()), tuple(tripod.split()), asks, says, left)


def _list_introduction(summary: Summary) -> Iterator[Item]:
    ours = "A deep network, ResNet-50, that tells chest X-rays labelled pneumonia from those labelled normal."
    yield _item("1", "1", "A title that names the method, whom it is for and what it tells apart", ours)
    yield _item("2", "2", "A summary of purpose, methods, results and conclusion", "The answer stands first.")
    yield _item("3", "3a", "Why this is wanted, in which care, and what is there already")
    yield _item("", "3b", "For which patients, at which point of their care, and who would use it")
    yield _item("", "3c", "Which groups are known to be worse off")
    yield _item("4", "4", "The aims, and whether a model is made, evaluated, or both")
    yield _item("5", "", "Whether data were collected for this, or taken from what there was")
    goal = "A model is made"
    goal += (
        " and evaluated on test images." if "test" in summary.scored else "; no test images are scored yet."
    )
    yield _item("6", "", "What the study is for", goal, "with which goal")


def _list_data(summary: Summary) -> Iterator[Item]:
    data, settings = summary.run.record.data, summary.run.record.settings
    yield _item(
        "7",
        "5a",
        "Where the data come from, and whom they stand for",
        describe_attribution(summary),
        "how far they stand for the patients meant",
    )
    yield _item("", "5b", "From when the data are")
    children = "Children of one to five years from one hospital." if summary.is_medmnist else ""
    yield _item("", "6a", "From which places, and how many", children, "more of the setting")
    yield _item(
        "8",
        "6b",
        "Who was taken in and who left out",
        "All images of the data set as it is.",
        "by whom and how these were chosen",
    )
    yield _item("", "6c", "How patients were treated, where that matters")
    yield _item(
        "9",
        "7",
        "What was done to the data before use, and how they were checked",
        f"Image files: {describe_steps(data.pixels)}.{describe_input(data.pixels, settings)} "
        "Exact and near duplicates were looked for within train and between val and train, exact ones of "
        "test images as well.",
    )
    chosen = "All training images were used."
    if settings.subset is not None:
        chosen = f"A stratified subset of {data.train_images} training images, by seed {settings.seed}."
    yield _item("10", "", "Which part of the data was used", chosen)
    yield _item(
        "11",
        "",
        "How persons were made unrecognisable",
    )
    missing = "An image that cannot be read stops the run; no label is filled in."
    yield _item("12", "11", "How missing data were handled", missing)
    yield _item("13", "", "How the images were taken")
    yield _item(
        "", "9a", "Which inputs were taken, and why", "The pixels of one image; nothing else goes in."
    )
    yield _item(
        "", "9b", "What exactly goes in, and how it was measured", f"Grey images of {data.pixels} px."
    )
    yield _item("", "9c", "Who judged inputs that take judgement", "None does.")


def _list_reference() -> Iterator[Item]:
    given = "The labels of the data set, normal or pneumonia, as they are."
    yield _item("14", "8a", "What counts as the truth, and how it was found", given, "how they were found")
    yield _item("15", "", "Why this truth and no other")
    yield _item("16", "8b", "Who labelled, and with which skills")
    yield _item("17", "", "How the test images were labelled")
    yield _item("18", "", "How far those who labelled agree")
    yield _item(
        "",
        "8c",
        "Whether those who labelled knew what the model says",
        "The labels were there before the model.",
    )


def _list_partitions(summary: Summary) -> Iterator[Item]:
    record = summary.run.record
    parts = "train, val and test as the data set has them, or divided by the seed where own data name none"
    if record.folds is not None:
        parts += f"; train in {describe_folds(record)}, by seed {record.settings.seed}"
    yield _item(
        "19", "12a", "How images were divided, and which part is used for what", f"{parts}.".capitalize()
    )
    level = "Images; near duplicates stay in one fold."
    if record.groups is not None and record.groups.named_in is not None:
        level = f"The groups that the user named in {record.groups.named_in}, and near duplicates."
    yield _item(
        "20", "", "Whether the parts share patients, studies or images", level, "whether they share patients"
    )
    yield _item(
        "21", "10", "How many were wanted, and why that is enough", "", "no number was set by pneumocli"
    )


def _list_model(summary: Summary) -> Iterator[Item]:
    record, settings = summary.run.record, summary.run.record.settings
    yield _item(
        "22",
        "12b 12c",
        "The model in detail: input, layers, output, how it was built and checked",
        f"ResNet-50 (He et al. 2015) at {settings.image_size} px, average pooling, "
        f"{describe_head(settings)}. No setting was searched for in this run; the table of settings has all.",
    )
    versions = ", ".join(f"{name} {value}" for name, value in record.versions.items() if name != "system")
    yield _item("23", "", "Software and its versions", f"{versions}.")
    yield _item(
        "24", "", "What the weights began as", f"{record.weights.name}; the head by seed {settings.seed}."
    )
    views = f"{settings.views} augmented views an image" if settings.views else "no augmentation"
    yield _item(
        "25",
        "",
        "How it was trained",
        f"Two phases, up to {settings.head_epochs} epochs of the head and {settings.tune_epochs} of the last "
        f"{settings.tune_layers} layers; {describe_loss(settings)}; {describe_optimizer(settings)}; {views}; "
        f"{len(summary.run.member_paths())} models.",
    )
    kept = "The epoch of the lowest validation loss" if settings.early_stopping else "The last epoch"
    yield _item("26", "", "How the final model was chosen", f"{kept}; nothing by test images.")
    joined = "None: one model."
    if record.folds is not None:
        joined = f"The mean of the probabilities of {len(record.fold_numbers)} models, one a fold."
    yield _item("27", "", "How models were joined", joined)
    yield _item(
        "",
        "13",
        "What was done about unequal classes",
        "The loss gives both classes half of the weight, so that probabilities are those of classes equally "
        "frequent; a temperature mends over- and underconfidence, and not that.",
    )
    yield _item(
        "", "14", "What was done for fairness", "Nothing: groups of patients are not known to the run."
    )
    output = "A probability and a label."
    if summary.decision is not None:
        output = (
            "A probability of pneumonia; a label from a score of "
            f"{summary.decision.threshold:.4f} on, {describe_rule(summary.decision)}."
        )
    yield _item("", "15", "What comes out, and how the threshold was found", output)


def _list_evaluation(summary: Summary) -> Iterator[Item]:
    external = ", ".join(f"{scored.figures.data} ({scored.figures.split})" for scored in summary.external)
    yield _item(
        "28",
        "12e",
        "Which measures and plots",
        "AUC, accuracy, F1, sensitivity, specificity, predictive values, average precision, Brier score, "
        "calibration error; ROC curve and reliability.",
        "what a wrong call costs, and so what use it is",
    )
    yield _item(
        "29", "", "How uncertainty was measured", "95 % intervals: Wilson, DeLong, stratified bootstrap."
    )
    yield _item(
        "30",
        "12d",
        "Whether figures hold under other conditions and in other places",
        _show_spread(summary),
        "figures under other conditions and in other places",
    )
    yield _item(
        "31",
        "",
        "How the model's reasons are shown, and whether that is valid",
        "",
        "no such method is part of these figures",
    )
    own = ", ".join(name_split(scored) for scored in summary.scored.values())
    yield _item(
        "32",
        "12g",
        "Evaluation on data of the same source, and how scores were computed",
        f"Scored: {own}; pneumocli evaluate, in float32." if own else "",
    )
    yield _item(
        "33",
        "",
        "Evaluation on data of another source",
        f"Scored: {external}." if external else "",
        "" if external else "no other data were scored",
    )
    yield _item(
        "",
        "12f 24",
        "Whether the model was changed after it was evaluated",
        "It was not: threshold and temperature come from before.",
    )
    yield _item(
        "",
        "16",
        "How data for making and for evaluating it differ",
        _show_difference(summary),
        "in setting and choice of patients",
    )
    yield _item("34", "18d", "Registration, as of a trial")


def _show_spread(summary: Summary) -> str:
    scored = summary.scored.get(OUT_OF_FOLD)
    folds = None if scored is None else scored.figures.folds_at_rule or scored.figures.folds
    if folds is None:
        return ""
    return f"Over the folds the AUC has mean {folds['roc_auc']['mean']:.4f}, sd {folds['roc_auc']['sd']:.4f}."


def _show_difference(summary: Summary) -> str:
    if not summary.scored:
        return ""
    shares = (
        f"{name_split(scored)} {100 * (scored.metrics.fn + scored.metrics.tp) / scored.metrics.n:.1f} %"
        for scored in summary.scored.values()
    )
    return f"Share of pneumonia: {', '.join(shares)}."


def _list_results(summary: Summary) -> Iterator[Item]:
    best = summary.best
    counts = "; ".join(
        f"{name_split(scored)} {scored.metrics.tn + scored.metrics.fp} normal, "
        f"{scored.metrics.fn + scored.metrics.tp} pneumonia"
        for scored in summary.scored.values()
    )
    images = f"Images: {counts}." if counts else ""
    yield _item(
        "35",
        "20a 21",
        "How many were taken in and left out, with and without the finding",
        images,
        "how many patients",
    )
    yield _item("36", "20b 20c", "Who the patients are, part by part")
    figures = ""
    if best is not None:
        found, metrics = best.estimates or {}, best.metrics
        figures = (
            f"{name_split(best).capitalize()}, {name_model(best)}: AUC "
            f"{show_estimate(metrics.roc_auc, found, 'roc_auc')}; sensitivity "
            f"{show_estimate(metrics.sensitivity, found, 'sensitivity')}; specificity "
            f"{show_estimate(metrics.specificity, found, 'specificity')}."
        )
    yield _item("37 38", "23a", "Figures with their uncertainty", figures, "figures of groups of patients")
    yield _item("", "23b", "How figures differ from place to place", "", "the run knows no places")
    wrong = (
        ""
        if best is None
        else f"{best.metrics.fp} normal and {best.metrics.fn} pneumonia images are called wrong."
    )
    yield _item("39", "", "What went wrong, and where", wrong, "what these images have in common")


def _list_discussion() -> Iterator[Item]:
    yield _item("", "25", "What the results mean beside earlier ones")
    yield _item("40", "26", "What limits the results", "Listed under limits.", "what else is known")
    yield _item("41", "", "What follows for practice", "Nothing: not for clinical use.")
    yield _item(
        "",
        "27a",
        "What is done with poor or missing input",
        "A file that cannot be read gets no answer; one unlike those trained on is flagged, or refused with "
        "--strict; beyond that quality is not judged.",
        "how it is to be judged",
    )
    yield _item(
        "",
        "27b",
        "What users have to do and to know",
        "They name image files on a command line.",
        "what they must know of X-rays",
    )
    yield _item("", "27c", "What comes next")


def _list_open_science(summary: Summary) -> Iterator[Item]:
    yield _item("42", "18c", "Where the protocol and more detail are", "", "the settings of the run are here")
    free = "PneumoniaMNIST is public (zenodo.org/records/10519652)." if summary.is_medmnist else ""
    yield _item(
        "43",
        "18e 18f 22",
        "Where data, code and the model can be had",
        f"{free} Code: pneumocli, MIT licence. Model: the .keras files of the run folder.".strip(),
        "where these are",
    )
    yield _item("44", "18a", "Who paid, and what part they had")
    yield _item("", "17", "Who approved the study, and how patients agreed")
    yield _item("", "18b", "What interests the authors have")
    yield _item("", "19", "What part patients and the public had")
