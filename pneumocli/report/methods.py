"""What the guidelines ask of how a study was made: its aims, data, truth, parts and model."""

from collections.abc import Iterator

from pneumocli.core.images import describe_steps
from pneumocli.core.summary import Summary
from pneumocli.report.item import Item, make_item
from pneumocli.report.words import (
    describe_attribution,
    describe_folds,
    describe_head,
    describe_input,
    describe_loss,
    describe_optimizer,
    describe_rule,
)


def list_introduction(summary: Summary) -> Iterator[Item]:
    """Title, summary and aims."""
    ours = "A deep network, ResNet-50, that tells chest X-rays labelled pneumonia from those labelled normal."
    yield make_item("1", "1", "A title that names the method, whom it is for and what it tells apart", ours)
    yield make_item(
        "2", "2", "A summary of purpose, methods, results and conclusion", "The answer stands first."
    )
    yield make_item("3", "3a", "Why this is wanted, in which care, and what is there already")
    yield make_item("", "3b", "For which patients, at which point of their care, and who would use it")
    yield make_item("", "3c", "Which groups are known to be worse off")
    yield make_item("4", "4", "The aims, and whether a model is made, evaluated, or both")
    yield make_item("5", "", "Whether data were collected for this, or taken from what there was")
    goal = "A model is made"
    goal += (
        " and evaluated on test images." if "test" in summary.scored else "; no test images are scored yet."
    )
    yield make_item("6", "", "What the study is for", goal, "with which goal")


def list_data(summary: Summary) -> Iterator[Item]:
    """The data: where from, who is in them, what was done to them."""
    data, settings = summary.run.record.data, summary.run.record.settings
    yield make_item(
        "7",
        "5a",
        "Where the data come from, and whom they stand for",
        describe_attribution(summary),
        "how far they stand for the patients meant",
    )
    yield make_item("", "5b", "From when the data are")
    children = "Children of one to five years from one hospital." if summary.is_medmnist else ""
    yield make_item("", "6a", "From which places, and how many", children, "more of the setting")
    yield make_item(
        "8",
        "6b",
        "Who was taken in and who left out",
        "All images of the data set as it is.",
        "by whom and how these were chosen",
    )
    yield make_item("", "6c", "How patients were treated, where that matters")
    yield make_item(
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
    yield make_item("10", "", "Which part of the data was used", chosen)
    yield make_item(
        "11",
        "",
        "How persons were made unrecognisable",
    )
    missing = "An image that cannot be read stops the run; no label is filled in."
    yield make_item("12", "11", "How missing data were handled", missing)
    yield make_item("13", "", "How the images were taken")
    yield make_item(
        "", "9a", "Which inputs were taken, and why", "The pixels of one image; nothing else goes in."
    )
    yield make_item(
        "", "9b", "What exactly goes in, and how it was measured", f"Grey images of {data.pixels} px."
    )
    yield make_item("", "9c", "Who judged inputs that take judgement", "None does.")


def list_reference() -> Iterator[Item]:
    """What counts as the truth."""
    given = "The labels of the data set, normal or pneumonia, as they are."
    yield make_item(
        "14", "8a", "What counts as the truth, and how it was found", given, "how they were found"
    )
    yield make_item("15", "", "Why this truth and no other")
    yield make_item("16", "8b", "Who labelled, and with which skills")
    yield make_item("17", "", "How the test images were labelled")
    yield make_item("18", "", "How far those who labelled agree")
    yield make_item(
        "",
        "8c",
        "Whether those who labelled knew what the model says",
        "The labels were there before the model.",
    )


def list_partitions(summary: Summary) -> Iterator[Item]:
    """How images were divided."""
    record = summary.run.record
    parts = "train, val and test as the data set has them, or divided by the seed where own data name none"
    if record.folds is not None:
        parts += f"; train in {describe_folds(record)}, by seed {record.settings.seed}"
    yield make_item(
        "19", "12a", "How images were divided, and which part is used for what", f"{parts}.".capitalize()
    )
    level = "Images; near duplicates stay in one fold."
    if record.groups is not None and record.groups.named_in is not None:
        level = f"The groups that the user named in {record.groups.named_in}, and near duplicates."
    yield make_item(
        "20", "", "Whether the parts share patients, studies or images", level, "whether they share patients"
    )
    yield make_item(
        "21", "10", "How many were wanted, and why that is enough", "", "no number was set by pneumocli"
    )


def list_model(summary: Summary) -> Iterator[Item]:
    """The model, its training, and what comes out."""
    record, settings = summary.run.record, summary.run.record.settings
    yield make_item(
        "22",
        "12b 12c",
        "The model in detail: input, layers, output, how it was built and checked",
        f"ResNet-50 (He et al. 2015) at {settings.image_size} px, average pooling, "
        f"{describe_head(settings)}. No setting was searched for in this run; the table of settings has all.",
    )
    versions = ", ".join(f"{name} {value}" for name, value in record.versions.items() if name != "system")
    yield make_item("23", "", "Software and its versions", f"{versions}.")
    yield make_item(
        "24", "", "What the weights began as", f"{record.weights.name}; the head by seed {settings.seed}."
    )
    views = f"{settings.views} augmented views an image" if settings.views else "no augmentation"
    yield make_item(
        "25",
        "",
        "How it was trained",
        f"Two phases, up to {settings.head_epochs} epochs of the head and {settings.tune_epochs} of the last "
        f"{settings.tune_layers} layers; {describe_loss(settings)}; {describe_optimizer(settings)}; {views}; "
        f"{len(summary.run.member_paths())} models.",
    )
    kept = "The epoch of the lowest validation loss" if settings.early_stopping else "The last epoch"
    yield make_item("26", "", "How the final model was chosen", f"{kept}; nothing by test images.")
    joined = "None: one model."
    if record.folds is not None:
        joined = f"The mean of the probabilities of {len(record.fold_numbers)} models, one a fold."
    yield make_item("27", "", "How models were joined", joined)
    yield make_item(
        "",
        "13",
        "What was done about unequal classes",
        "The loss gives both classes half of the weight, so that probabilities are those of classes equally "
        "frequent; a temperature mends over- and underconfidence, and not that.",
    )
    yield make_item(
        "", "14", "What was done for fairness", "Nothing: groups of patients are not known to the run."
    )
    output = "A probability and a label."
    if summary.decision is not None:
        output = (
            "A probability of pneumonia; a label from a score of "
            f"{summary.decision.threshold:.4f} on, {describe_rule(summary.decision)}."
        )
    yield make_item("", "15", "What comes out, and how the threshold was found", output)
