"""Joining the parts of a classifier, or of several, into one model, and taking them out again."""

from collections.abc import Sequence

import keras

from pneumocli.core.model import Parts, name_cut


def compute_logit(parts: Parts, maps: keras.KerasTensor) -> keras.KerasTensor:
    """Return the logit (B, 1) of a classifier for the trunk's output (B, h, w, c).

    Where there is a probe, it is the mean of the network's logit and the probe's.
    """
    logit = parts.head(parts.tail(maps))
    if parts.probe is None:
        return logit
    return keras.layers.Average(dtype="float32", name="mean_logit")([logit, parts.probe(maps)])


def join_classifier(parts: Parts) -> keras.Model:
    """Return the parts as one model: uint8 (B, P, P, 1) in, logit (B, 1) out."""
    image = keras.Input(parts.trunk.input_shape[1:], dtype="uint8", name="image")
    return keras.Model(image, compute_logit(parts, parts.trunk(image)), name="classifier")


def split_classifier(classifier: keras.Model) -> Parts:
    """Return the parts of a model made by `join_classifier`; they share its weights.

    Raises:
        ValueError: the model was not made by `join_classifier`.
    """
    return _find_parts(classifier.get_layer("trunk"), classifier)


def join_ensemble(members: Sequence[Parts]) -> keras.Model:
    """Return one model that holds the members' common trunk once, and of each member the rest.

    Its input is uint8 (B, P, P, 1); its outputs are a dictionary: "member_logits" (B, K), and
    "probability" (B, 1), the mean of the members' probabilities of pneumonia.

    Raises:
        ValueError: the members' trunks differ, so they cannot be shared.
    """
    trunk = members[0].trunk
    if not all(_same_trunk(trunk, member.trunk) for member in members[1:]):
        raise ValueError("the members' trunks differ; an ensemble needs members of one run")
    image = keras.Input(trunk.input_shape[1:], dtype="uint8", name="image")
    features = trunk(image)
    logits = [_build_member(parts, number)(features) for number, parts in enumerate(members, start=1)]
    member_logits = keras.layers.Concatenate(dtype="float32", name="member_logits")(logits)
    probabilities = keras.layers.Activation("sigmoid", dtype="float32", name="member_probabilities")(
        member_logits
    )
    # The mean over K columns, as a layer that any loader knows.
    columns = keras.layers.Reshape((len(members), 1), name="columns")(probabilities)
    probability = keras.layers.GlobalAveragePooling1D(dtype="float32", name="probability")(columns)
    outputs = {"probability": probability, "member_logits": member_logits}
    return keras.Model(image, outputs, name="ensemble")


def split_members(model: keras.Model) -> list[Parts]:
    """Return the parts of each member of a model made by `join_classifier` or `join_ensemble`.

    They share its weights; the members of an ensemble have one trunk.

    Raises:
        ValueError: the model was made by neither.
    """
    if not isinstance(model.output, dict):
        return [split_classifier(model)]
    trunk = model.get_layer("trunk")
    count = model.output["member_logits"].shape[-1]
    members = [model.get_layer(f"member_{number}") for number in range(1, count + 1)]
    return [_find_parts(trunk, member) for member in members]


def _find_parts(trunk: keras.Model, member: keras.Model) -> Parts:
    probes = [layer for layer in member.layers if layer.name == "probe"]
    return Parts(trunk, member.get_layer("tail"), member.get_layer("head"), *probes)


def _build_member(parts: Parts, number: int) -> keras.Model:
    features = keras.Input(parts.tail.input_shape[1:], name="features")
    # Two layers of one name cannot stand in one model, so each member wraps its own.
    return keras.Model(features, compute_logit(parts, features), name=f"member_{number}")


def _same_trunk(one: keras.Model, other: keras.Model) -> bool:
    ours, theirs = one.get_weights(), other.get_weights()
    # Of every layer: how large an image is made, and what of it goes on, is in no weight.
    shapes = [
        (model.input_shape, name_cut(model), [layer.output.shape for layer in model.layers])
        for model in (one, other)
    ]
    return (
        len(ours) == len(theirs)
        and shapes[0] == shapes[1]
        and all(a.shape == b.shape and (a == b).all() for a, b in zip(ours, theirs, strict=True))
    )
