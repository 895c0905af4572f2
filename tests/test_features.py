"""The feature bank, and the order in which training sees its rows."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.errors import PneumoError
from pneumocli.core.features import FeatureBatches, bank_features
from pneumocli.core.progress import Progress
from pneumocli.core.seeding import derive_generator


class CountedRows:
    """Inputs that count how many of their rows were asked for."""

    def __init__(self, inputs: NDArray[np.float32]) -> None:
        self.inputs = inputs
        self.read = 0

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]:
        self.read += len(rows)
        return self.inputs[rows]


@pytest.fixture(scope="module")
def model() -> keras.Model:
    image = keras.Input((4, 4, 1))
    draw = keras.initializers.GlorotUniform(0)
    return keras.Model(image, keras.layers.Conv2D(3, 2, kernel_initializer=draw)(image))


@pytest.fixture
def inputs() -> CountedRows:
    return CountedRows(np.random.default_rng(0).normal(size=(40, 4, 4, 1)).astype(np.float32))


Bank = Callable[..., NDArray[np.float32]]


@pytest.fixture
def bank(model: keras.Model, inputs: CountedRows, tmp_path: Path) -> Bank:
    def call(**changes: object) -> NDArray[np.float32]:
        settings = {"directory": tmp_path / "bank", "key": {"images": "a"}, "stage": "features"}
        return bank_features(model, inputs, **{**settings, **changes})  # type: ignore[arg-type]

    return call


def the_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "bank").iterdir()
    return path


def test_bank_holds_what_the_model_gives(bank: Bank, model: keras.Model, inputs: CountedRows) -> None:
    kept = bank()
    assert kept.shape == (40, 3, 3, 3)
    assert kept.dtype == np.float32
    np.testing.assert_allclose(kept, model.predict(inputs.inputs, verbose=0), rtol=1e-5, atol=1e-6)


def test_second_call_reads_the_bank(bank: Bank, inputs: CountedRows, tmp_path: Path) -> None:
    first = np.array(bank())
    inputs.read = 0
    np.testing.assert_array_equal(bank(), first)
    assert inputs.read == 0
    assert the_file(tmp_path).stat().st_size > first.nbytes


def test_bank_cannot_be_written_through_its_map(bank: Bank) -> None:
    kept = bank()
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 0


@pytest.mark.parametrize("key", [{"images": "b"}, {"images": "a", "image_size": 64}, {}])
def test_another_key_computes_anew(bank: Bank, inputs: CountedRows, key: dict[str, object]) -> None:
    bank()
    inputs.read = 0
    inputs.inputs = -inputs.inputs
    changed = bank(key=key)
    assert inputs.read >= len(inputs)
    assert (changed != bank()).any()


def test_order_of_the_key_is_of_no_account(bank: Bank, inputs: CountedRows) -> None:
    bank(key={"a": 1, "b": 2})
    inputs.read = 0
    bank(key={"b": 2, "a": 1})
    assert inputs.read == 0


def cut_off(content: bytes) -> bytes:
    return content[: len(content) // 2]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": cut_off,
    "one byte short": lambda content: content[:-1],
    "only the header": lambda content: content[:128],
    "half a header": lambda content: content[:20],
    "empty": lambda content: b"",
    "not an array": lambda content: b"something else" * 100,
    "header broken": lambda content: content.replace(b"(40, 3, 3, 3)", b"(40, 3, 3, 3 "),
    "other numbers": lambda content: content.replace(b"<f4", b"<i4"),
    "other shape": lambda content: content.replace(b"(40, 3, 3, 3)", b"(30, 4, 3, 3)"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_bank_is_computed_anew(bank: Bank, tmp_path: Path, damage: str) -> None:
    whole = np.array(bank())
    path = the_file(tmp_path)
    content = DAMAGES[damage](path.read_bytes())
    path.unlink()
    path.write_bytes(content)
    again = bank()
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, whole)
    np.testing.assert_array_equal(np.load(the_file(tmp_path)), whole)


def test_a_stop_half_way_leaves_no_bank(bank: Bank, inputs: CountedRows, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bank(listen=stop)
    assert list((tmp_path / "bank").iterdir()) == []
    assert np.isfinite(bank()).all()


def test_no_room_is_said_in_one_line(bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse, raising=False)
    with pytest.raises(PneumoError, match="no room") as caught:
        bank()
    assert len(str(caught.value).splitlines()) == 1
    assert str(tmp_path) in str(caught.value)
    assert list((tmp_path / "bank").iterdir()) == []


def test_listener_hears_of_all_rows_at_the_first_and_the_second_call(bank: Bank) -> None:
    for _ in range(2):
        heard: list[Progress] = []
        bank(listen=heard.append)
        assert heard[-1] == Progress("features", 40, 40)
        assert [step.done for step in heard] == sorted(step.done for step in heard)


ROWS = np.array([12, 3, 7, 0, 19, 5, 11, 2, 16, 9])


def draw(epoch: int) -> np.random.Generator:
    return derive_generator(0, "order", 0, "head", epoch)


def make_batches(batch_size: int = 4, shuffled: bool = True) -> FeatureBatches:
    """Batches of features that are two to the power of their row, so that a sum tells which rows it holds."""
    features = 2.0 ** np.arange(20, dtype=np.float32)[:, np.newaxis]
    return FeatureBatches(features, ROWS, ROWS % 2, batch_size, draw if shuffled else None)


def visit(batches: FeatureBatches) -> Iterator[list[int]]:
    for number in range(len(batches)):
        features, labels = batches[number]
        rows = np.log2(features[:, 0]).astype(int)
        assert labels.dtype == np.float32
        np.testing.assert_array_equal(labels, rows[:, np.newaxis] % 2)
        yield rows.tolist()


def expect_order(epoch: int) -> list[int]:
    return [int(row) for row in ROWS[draw(epoch).permutation(len(ROWS))]]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 100])
def test_every_row_once_an_epoch_with_its_label(batch_size: int) -> None:
    batches = make_batches(batch_size)
    for epoch in range(3):
        batches.start_epoch(epoch)
        visited = list(visit(batches))
        assert len(visited) == len(batches)
        assert all(len(rows) == batch_size for rows in visited[:-1])
        assert sorted(chain(*visited)) == sorted(ROWS.tolist())


def test_order_depends_on_the_epoch_alone() -> None:
    batches = make_batches()
    orders = []
    for epoch in (0, 1, 2, 1, 0):
        batches.start_epoch(epoch)
        np.random.seed(epoch)
        orders.append(list(chain(*visit(batches))))
    assert orders[:3] == [expect_order(epoch) for epoch in range(3)]
    assert orders[3:] == [orders[1], orders[0]]
    assert len({tuple(order) for order in orders}) == 3


def test_order_without_a_generator_is_the_order_of_the_rows() -> None:
    batches = make_batches(shuffled=False)
    batches.start_epoch(5)
    assert list(chain(*visit(batches))) == ROWS.tolist()


def test_fit_sees_each_epoch_in_its_own_order() -> None:
    # The loss is the output itself, so a step of plain descent changes the one weight by the
    # batch's mean feature, which names the rows of the batch.
    batches = make_batches(batch_size=4)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(1.0), lambda truth, output: keras.ops.mean(output), jit_compile=False)
    seen: list[list[set[int]]] = []
    sizes = [4, 4, 2]

    def begin(epoch: int, logs: object) -> None:
        batches.start_epoch(epoch)
        seen.append([])

    def start_batch(batch: int, logs: object) -> None:
        model.set_weights([np.zeros((1, 1), np.float32)])

    def end_batch(batch: int, logs: object) -> None:
        total = round(-model.get_weights()[0].item() * sizes[batch])
        seen[-1].append({row for row in range(20) if total >> row & 1})

    watch = keras.callbacks.LambdaCallback(
        on_epoch_begin=begin, on_train_batch_begin=start_batch, on_train_batch_end=end_batch
    )
    model.fit(batches, validation_data=batches, epochs=4, shuffle=False, verbose=0, callbacks=[watch])
    orders = [expect_order(epoch) for epoch in range(4)]
    assert seen == [[set(order[:4]), set(order[4:8]), set(order[8:])] for order in orders]
