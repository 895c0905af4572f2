"""Fitting one phase of training, from its start or from where it stood when it was stopped."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from pneumocli.core.backend import takes_xla
from pneumocli.core.checkpoint import Best, Standing
from pneumocli.core.errors import DivergedError
from pneumocli.core.features import FeatureBatches


def fit_phase(
    model: keras.Model,
    phase: str,
    train: FeatureBatches,
    val: FeatureBatches,
    *,
    loss: keras.losses.Loss,
    epochs: int,
    optimizer: keras.optimizers.Optimizer,
    patience: int,
    early_stopping: bool,
    standing: Standing | None,
    start_epoch: Callable[[int], None],
    keep: Callable[[Standing], None] | None,
    report: Callable[[float, int, dict[str, float]], None],
    competes_with_start: bool = False,
) -> list[dict[str, Any]]:
    """Fit in place and return the history; the model is left with the weights of the kept epoch.

    Args:
        standing: in this phase, to go on from.
        start_epoch: prepares an epoch, counted from 0.
        keep: is given the standing after every epoch, with the history of this phase.
        report: is told after every step: epochs done so far, of how many, and figures by name.
        competes_with_start: whether the model as it comes in is kept if no epoch has a lower loss.

    Returns:
        Entries as `training.Trained` describes them.

    Raises:
        DivergedError: no epoch has a validation loss that is a number; without early stopping, the last one
            has none.
    """
    model.compile(
        optimizer=optimizer,
        loss=loss,
        metrics=[keras.metrics.AUC(from_logits=True, name="auc")],
        jit_compile=takes_xla(),
    )
    history: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    finished, best = 0, None
    has_start = competes_with_start and early_stopping
    if standing is not None:
        finished, best = standing.epochs, standing.best
        history = [entry for entry in standing.history if entry["phase"] == phase]
        model.set_weights(standing.weights)
        model.optimizer.build(model.trainable_variables)
        for variable, value in zip(model.optimizer.variables, standing.optimizer, strict=True):
            variable.assign(value)
    elif has_start:
        # A phase that only makes things worse must not be kept: it begins with the one before as its best.
        start = model.evaluate(val, return_dict=True, verbose=0)
        best = Best(float(start["loss"]), epoch=-1, waited=0, weights=model.get_weights())
        history.append(
            {"phase": phase, "epoch": 0, **{f"val_{name}": float(value) for name, value in start.items()}}
        )
    stopping = keras.callbacks.EarlyStopping(
        "val_loss", patience=patience, mode="min", restore_best_weights=True
    )

    def take_up(logs: object) -> None:
        # Keras's early stopping begins every `fit` with nothing known.
        if best is not None:
            stopping.best, stopping.best_epoch = best.loss, best.epoch
            stopping.wait, stopping.best_weights = best.waited, best.weights

    def finish_epoch(epoch: int, logs: dict[str, float]) -> None:
        figures.update(logs)
        history.append({"phase": phase, "epoch": epoch + 1, **logs})

    def finish_batch(batch: int, logs: dict[str, float]) -> None:
        facts = {"epoch": float(len(history) + 1 - has_start), **figures, "loss": logs["loss"]}
        report(facts["epoch"] - 1 + (batch + 1) / len(train), epochs, facts)

    def keep_standing(epoch: int, logs: object) -> None:
        if keep is None:
            return
        keep(
            Standing(
                phase,
                epochs=epoch + 1,
                is_over=model.stop_training or epoch + 1 == epochs,
                history=history,
                weights=model.get_weights(),
                optimizer=[keras.ops.convert_to_numpy(each) for each in model.optimizer.variables],
                best=Best(stopping.best, stopping.best_epoch, stopping.wait, stopping.best_weights)
                if early_stopping
                else None,
            )
        )

    callbacks = [
        keras.callbacks.LambdaCallback(
            on_epoch_begin=lambda epoch, logs: start_epoch(epoch),
            on_train_batch_end=finish_batch,
            on_epoch_end=finish_epoch,
        ),
        *([stopping] if early_stopping else []),
        # Behind early stopping, whose word on the epoch it takes.
        keras.callbacks.LambdaCallback(on_train_begin=take_up, on_epoch_end=keep_standing),
    ]
    if standing is None or not standing.is_over:
        model.fit(
            train,
            validation_data=val,
            initial_epoch=finished,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=callbacks,
        )
    elif best is not None:
        model.set_weights(best.weights)
    report(epochs, epochs, figures)
    kept = len(history) - 1
    if early_stopping:
        # What is not a number is no improvement on anything.
        losses = [entry["val_loss"] if np.isfinite(entry["val_loss"]) else np.inf for entry in history]
        kept = int(np.argmin(losses))
    if not np.isfinite(history[kept]["val_loss"]):
        raise DivergedError(
            f"the loss became not a number in phase {phase}; "
            f"take a smaller learning rate: --{phase}-learning-rate"
        )
    return [
        {
            **{name: value if _is_told(value) else None for name, value in entry.items()},
            "kept": position == kept,
        }
        for position, entry in enumerate(history)
    ]


def _is_told(value: Any) -> bool:
    return isinstance(value, str) or bool(np.isfinite(value))
