"""Which library answers: ONNX Runtime where the model has an ONNX file that is still its own, else Keras."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pneumocli.core.contract import ModelCard
from pneumocli.core.errors import PneumoError, RunError, SettingError
from pneumocli.core.hashes import check_hash
from pneumocli.core.predictor import (
    ONNX_SUFFIX,
    hash_predictor,
    list_model_files,
    list_source_files,
    place_onnx,
)
from pneumocli.core.progress import Notice, keep_quiet
from pneumocli.core.runs import Run
from pneumocli.core.scorer import Scorer
from pneumocli.core.session import Session

Engine = Literal["auto", "keras", "onnx"]


@dataclass(frozen=True)
class Chosen:
    """What answers, and by which library.

    Attributes:
        model_sha256: of the Keras model, also where its ONNX file answers.
        words: the library and its version.
    """

    engine: Engine
    card: ModelCard
    model_sha256: str
    words: str


@dataclass(frozen=True)
class Opened:
    """A model that is ready to answer.

    Attributes:
        model: made by `join_classifier` or `join_ensemble`; None where ONNX Runtime answers.
    """

    chosen: Chosen
    scorer: Scorer
    model: Any  # Keras is not imported here


def choose_predictor(
    found: Run | Path,
    engine: Engine = "auto",
    *,
    force: bool = False,
    notify: Notice = keep_quiet,
    warn: Notice = keep_quiet,
) -> Chosen:
    """Choose what other processes are to open and answer with; the Keras model is not loaded here.

    Raises:
        as `open_predictor`.
    """
    session = _open_session(found, engine, None, False, notify)
    if session is not None:
        return _describe_session(session)
    from pneumocli.core.backend import load_backend

    load_backend()
    for path in list_model_files(found):
        check_hash(path, force=force, notify=warn)
    from pneumocli.core.evaluation import read_predictor_card
    from pneumocli.core.inference import name_engine

    return Chosen("keras", read_predictor_card(found), hash_predictor(found), name_engine())


def _describe_session(session: Session) -> Chosen:
    return Chosen("onnx", session.contract.card, session.contract.model_sha256, session.engine)


def open_predictor(
    found: Run | Path,
    engine: Engine = "auto",
    *,
    images: int | None = None,
    explains: bool = False,
    deterministic: bool = False,
    force: bool = False,
    notify: Notice = keep_quiet,
    warn: Notice = keep_quiet,
) -> Opened:
    """Open what `finding.find_predictor` has found, with the library that is asked for or that is there.

    Args:
        images: how many are going to be scored; None for many.
        explains: maps are asked for, which Keras alone can give.
        deterministic: one thread, where Keras answers.
        force, warn: as for `artefact.load_model`.
        notify: is told in a line why an ONNX file that is there is not used.

    Raises:
        SettingError: the model has no such engine, or the engine cannot explain.
        PneumoError: the engine is not installed.
        RunError: the model is damaged, not one of pneumocli, or its ONNX file is missing or not its own.
    """
    session = _open_session(found, engine, images, explains, notify)
    if session is not None:
        return Opened(_describe_session(session), session, None)
    from pneumocli.core.backend import load_backend

    load_backend(deterministic)
    from pneumocli.core.evaluation import load_predictor, load_predictor_typical
    from pneumocli.core.inference import KerasScorer

    model, card = load_predictor(found, force=force, notify=warn)
    scorer = KerasScorer(model, card, load_predictor_typical(found))
    return Opened(Chosen("keras", card, hash_predictor(found), scorer.engine), scorer, model)


def _open_checked(path: Path, images: int | None) -> Session:
    """Open an ONNX file while another thread takes its hash, which for hundreds of MB would be waited for.

    Raises:
        RunError: it is not the file that its run wrote, which is said rather than that it is damaged.
    """
    with ThreadPoolExecutor(1) as other:
        checked = other.submit(check_hash, path)
        try:
            session = Session(path, images)
        except PneumoError:
            checked.result()
            raise
        checked.result()
        return session


def _open_session(
    found: Run | Path, engine: Engine, images: int | None, explains: bool, notify: Notice
) -> Session | None:
    """Return the session that is to answer, or None for Keras."""
    path = place_onnx(found)
    if explains and engine == "onnx":
        raise SettingError("--explain needs the Keras model: leave out --engine onnx")
    if isinstance(found, Path) and found.suffix == ONNX_SUFFIX:
        if explains or engine == "keras":
            option = "--explain" if explains else "--engine keras"
            raise SettingError(f"{option} needs the Keras model, which {found} does not hold: name the run")
        return Session(found, images)
    if engine == "keras":
        return None
    if engine == "auto" and (explains or not path.is_file()):
        if path.is_file():
            notify(f"--explain needs Keras, which answers in place of {path}")
        return None
    try:
        session = _open_checked(path, images)
        if not session.contract.is_of(list_source_files(found)):
            raise RunError(
                f"{path} was made from other files than are there now; make it anew with: pneumocli export"
            )
    except PneumoError as error:
        if engine == "onnx":
            raise
        notify(f"not used: {error}")
        return None
    return session
