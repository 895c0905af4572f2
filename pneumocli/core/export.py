"""A model as one ONNX file: raw pixels in, calibrated answers out, what must be known of it inside."""

import logging
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from pneumocli import DISCLAIMER
from pneumocli.core.atypical import Typical
from pneumocli.core.backend import silenced_stderr
from pneumocli.core.calibration import CLIP, apply_temperature, squash_logits
from pneumocli.core.contract import CARD, ModelCard
from pneumocli.core.errors import PneumoError
from pneumocli.core.evaluation import load_predictor, load_predictor_typical
from pneumocli.core.files import replacing
from pneumocli.core.hashes import record_hash
from pneumocli.core.inference import KerasScorer, take_answers
from pneumocli.core.metrics import average_scores
from pneumocli.core.predictor import hash_predictor, list_source_files
from pneumocli.core.progress import Listener, Progress, ignore
from pneumocli.core.records import describe_versions, find_versions
from pneumocli.core.runs import Run
from pneumocli.core.sample import Sample
from pneumocli.core.session import (
    DISTANCE,
    FEATURES,
    IMAGE,
    INTENDED_USE,
    LOGITS,
    MEMBERS,
    PROBABILITY,
    SCORE,
    Checked,
    Contract,
    MadeFrom,
    Session,
)

LIMIT = 1e-3  # of what a probability may differ
OPSET = 17  # of ONNX's operators
LIBRARIES = ("onnx", "tf2onnx", "onnxruntime")
INSTALL = "pip install 'pneumocli[export]'"


def check_installed() -> None:
    """Check that all is there that `export_onnx` needs.

    Raises:
        PneumoError: a library is not installed, or Keras is set to another backend than tensorflow.
    """
    missing = [name for name in LIBRARIES if find_spec(name) is None]
    if missing:
        raise PneumoError(f"export needs {', '.join(missing)}: {INSTALL}")
    if keras.backend.backend() != "tensorflow":
        raise PneumoError(
            f"export needs Keras on tensorflow; it is set to {keras.backend.backend()}: unset KERAS_BACKEND"
        )


def export_onnx(found: Run | Path, path: Path, sample: Sample, *, listen: Listener = ignore) -> Contract:
    """Write the ONNX file of what `finding.find_predictor` has found, whole or not at all.

    Args:
        sample: on these images the file's answers are compared with the Keras model's.

    Raises:
        PneumoError: as for `check_installed`, or a probability differs by more than 0.001.
        RunError: the model is damaged, or not one of pneumocli.
    """
    check_installed()
    import onnx

    model, card = load_predictor(found)
    typical = load_predictor_typical(found)
    contract = Contract(
        card=card,
        model_sha256=hash_predictor(found),
        made_from=tuple(MadeFrom.of(file) for file in list_source_files(found)),
        versions={**describe_versions(), **find_versions(LIBRARIES)},
    )
    graph = _convert(take_answers(model, typical), card.pixels)
    _add_answers(graph, card, typical)
    graph.producer_name = "pneumocli"
    graph.doc_string = f"{card.name}. {INTENDED_USE} {DISCLAIMER}"
    with replacing(path) as partial:
        _write(graph, contract, partial)
        checked = compare_engines(partial, KerasScorer(model, card, typical), card, sample, listen)
        contract = contract.model_copy(update={"checked": checked})
        _write(graph, contract, partial)
        onnx.checker.check_model(str(partial))
    if isinstance(found, Run) and path.parent.resolve() == found.path.resolve():
        record_hash(path)
    return contract


def compare_engines(
    path: Path, scorer: KerasScorer, card: ModelCard, sample: Sample, listen: Listener = ignore
) -> Checked:
    """Compare all answers of an ONNX file with those that the Keras model gives for the same images.

    Raises:
        PneumoError: a probability or score differs by more than 0.001, or is not a number.
    """
    session = Session(path)
    largest = far = 0.0
    has_distances = card.atypical is not None
    names = [PROBABILITY, SCORE, MEMBERS, *([DISTANCE] if has_distances else [])]
    for start in range(0, len(sample.images), scorer.batch_size):
        batch = sample.images[start : start + scorer.batch_size]
        logits, distances = scorer.score(batch, scorer.batch_size)
        scores = squash_logits(logits.T)
        expected: dict[str, NDArray[Any]] = {
            SCORE: average_scores(scores),
            PROBABILITY: apply_temperature(average_scores(scores), card.temperature),
            MEMBERS: apply_temperature(scores.T, card.temperature),
        }
        outputs = session.run(batch, names)
        largest = max(largest, *(_differ(outputs[name], expected[name]) for name in expected))
        if distances is not None:
            far = max(far, float(np.max(np.abs(outputs[DISTANCE] - distances) / np.maximum(distances, 1e-9))))
        listen(Progress("compared", start + len(batch), len(sample.images)))
    if largest > LIMIT:
        raise PneumoError(
            f"the ONNX file is refused: on {len(sample.images)} {sample.data} a probability differs by "
            f"{largest:.2g} from the Keras model's, more than {LIMIT:g}; nothing was written"
        )
    return Checked(
        images=len(sample.images),
        data=sample.data,
        largest_difference=largest,
        largest_distance_difference=far if has_distances else None,
    )


def _differ(ours: NDArray[Any], theirs: NDArray[Any]) -> float:
    """Return the largest difference; 1 where one is not a number or the shapes are not the same."""
    if ours.shape != theirs.shape:
        return 1.0
    return float(np.max(np.nan_to_num(np.abs(ours.astype(np.float64) - theirs), nan=1.0)))


def _convert(network: keras.Model, pixels: int) -> Any:
    """Return a Keras model with one output as an ONNX model; tf2onnx speaks of what no user can mend."""
    import onnx

    # Models of earlier versions drop out units unless they are told not to: see `model._build_trunk`.
    image = keras.Input((pixels, pixels, 1), dtype="uint8", name=IMAGE)
    network = keras.Model(image, network(image, training=False))
    network(np.zeros((1, pixels, pixels, 1), np.uint8))  # tf2onnx needs it called once
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            warnings.catch_warnings(),
            silenced_stderr(),
        ):
            warnings.simplefilter("ignore")
            written = Path(folder) / "network.onnx"
            network.export(str(written), format="onnx", opset_version=OPSET, verbose=False)
            return onnx.load(str(written))
    finally:
        logging.disable(level)


def _add_answers(model: Any, card: ModelCard, typical: Typical | None) -> None:
    """Add to the graph what follows the network's one output (B, K + F): see `session.MEANINGS`."""
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    ((image,), (answers,)) = graph.input, graph.output
    nodes: list[Any] = []

    def keep(name: str, values: Any, dtype: Any = np.float32) -> str:
        graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), f"pneumocli/{name}"))
        return f"pneumocli/{name}"

    def add(kind: str, inputs: list[str], output: str, **options: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=f"pneumocli/{kind}/{output}", **options))
        return output

    width = answers.type.tensor_type.shape.dim[1].dim_value - card.members
    split = keep("widths", [card.members, width], np.int64)
    nodes.append(
        helper.make_node("Split", [answers.name, split], [LOGITS, FEATURES], name="pneumocli/Split", axis=1)
    )
    one, least, most = keep("one", 1), keep("least", CLIP), keep("most", 1 - CLIP)
    temperature = keep("temperature", card.temperature)

    def calibrate(score: str, output: str) -> None:
        clipped = add("Clip", [score, least, most], f"pneumocli/{output}_clipped")
        against = add("Sub", [one, clipped], f"pneumocli/{output}_against")
        logs = [add("Log", [name], f"{name}_log") for name in (clipped, against)]
        logit = add("Sub", logs, f"pneumocli/{output}_logit")
        add("Sigmoid", [add("Div", [logit, temperature], f"{logit}_divided")], output)

    scores = add("Sigmoid", [LOGITS], "pneumocli/scores")
    add("ReduceMean", [scores], SCORE, axes=[1], keepdims=0)
    calibrate(SCORE, PROBABILITY)
    calibrate(scores, MEMBERS)
    count, members, features = "images", card.members, width
    outputs: dict[str, tuple[int, list[str | int]]] = {
        PROBABILITY: (TensorProto.FLOAT, [count]),
        SCORE: (TensorProto.FLOAT, [count]),
        MEMBERS: (TensorProto.FLOAT, [count, members]),
        LOGITS: (TensorProto.FLOAT, [count, members]),
        FEATURES: (TensorProto.FLOAT, [count, features]),
    }
    if typical is not None:
        # In float64, as `Typical.measure` has it; the arrays themselves are kept in float32.
        mean = add("Cast", [keep("mean", typical.mean)], "pneumocli/mean64", to=TensorProto.DOUBLE)
        whitening = add(
            "Cast", [keep("whitening", typical.whitening)], "pneumocli/whitening64", to=TensorProto.DOUBLE
        )
        exact = add("Cast", [FEATURES], "pneumocli/features64", to=TensorProto.DOUBLE)
        away = add("Sub", [exact, mean], "pneumocli/away")
        white = add("MatMul", [away, whitening], "pneumocli/white")
        squared = add("Mul", [white, white], "pneumocli/squared")
        axes = keep("axes", [1], np.int64)
        total = add("ReduceSum", [squared, axes], "pneumocli/total", keepdims=0)
        add("Sqrt", [total], DISTANCE)
        outputs[DISTANCE] = (TensorProto.DOUBLE, [count])
    graph.node.extend(nodes)
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name == image.name:
                node.input[place] = IMAGE
    del graph.input[:], graph.output[:]
    shape: list[str | int] = [count, card.pixels, card.pixels, 1]
    graph.input.append(helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, shape))
    for name, (kind, form) in outputs.items():
        graph.output.append(helper.make_tensor_value_info(name, kind, form))


def _write(model: Any, contract: Contract, path: Path) -> None:
    import onnx
    from onnx import helper

    del model.metadata_props[:]
    helper.set_model_props(model, {CARD: contract.model_dump_json(indent=2)})
    onnx.save(model, str(path))
