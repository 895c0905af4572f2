"""Trunk outputs, kept or computed again, and the order in which training sees their rows."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from pneumocli.core.cache import Cache
from pneumocli.core.config import Precision
from pneumocli.core.errors import PneumoError
from pneumocli.core.features import FeatureBatches, compute_features
from pneumocli.core.inference import Rows
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


def build_model(policy: str = "float32") -> keras.Model:
    image = keras.Input((4, 4, 1))
    draw = keras.initializers.GlorotUniform(0)
    return keras.Model(image, keras.layers.Conv2D(3, 2, kernel_initializer=draw, dtype=policy)(image))


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_model()


@pytest.fixture
def inputs() -> CountedRows:
    return CountedRows(np.random.default_rng(0).normal(size=(40, 4, 4, 1)).astype(np.float32))


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "bank")


Compute = Callable[..., Rows]


@pytest.fixture
def compute(model: keras.Model, inputs: CountedRows, cache: Cache) -> Compute:
    def call(**changes: object) -> Rows:
        settings = {"model": model, "cache": cache, "key": {"images": "a"}, "stage": "features"} | changes
        return compute_features(inputs=inputs, **settings)  # type: ignore[arg-type]

    return call


def read_all(rows: Rows) -> NDArray[np.float32]:
    return rows[np.arange(len(rows))]


def the_bank(cache: Cache) -> Path:
    (path,) = cache.directory.glob("*.npy")
    return path


def test_features_are_what_the_model_gives(compute: Compute, model: keras.Model, inputs: CountedRows) -> None:
    kept = read_all(compute())
    assert kept.shape == (40, 3, 3, 3)
    assert kept.dtype == np.float32
    np.testing.assert_allclose(kept, model.predict(inputs.inputs, verbose=0), rtol=1e-5, atol=1e-6)


def test_second_call_reads_the_bank(compute: Compute, inputs: CountedRows, cache: Cache) -> None:
    first = read_all(compute())
    inputs.read = 0
    np.testing.assert_array_equal(read_all(compute()), first)
    assert inputs.read == 0
    assert the_bank(cache).stat().st_size > first.nbytes


def test_writing_to_what_was_read_leaves_the_bank_as_it_is(compute: Compute) -> None:
    kept = compute()
    first = read_all(kept)
    whole = first.copy()
    first[:] = 0
    for again in (kept, compute()):
        np.testing.assert_array_equal(read_all(again), whole)


@pytest.mark.parametrize("key", [{"images": "b"}, {"images": "a", "image_size": 64}, {}])
def test_another_key_computes_anew(compute: Compute, inputs: CountedRows, key: dict[str, object]) -> None:
    compute()
    inputs.read = 0
    inputs.inputs = -inputs.inputs
    changed = read_all(compute(key=key))
    assert inputs.read >= len(inputs)
    assert (changed != read_all(compute())).any()


def test_order_of_the_key_is_of_no_account(compute: Compute, inputs: CountedRows) -> None:
    compute(key={"a": 1, "b": 2})
    inputs.read = 0
    compute(key={"b": 2, "a": 1})
    assert inputs.read == 0


@pytest.mark.parametrize("rows", [[0], [39, 0, 7, 7], list(range(33)), list(range(40))])
def test_without_a_cache_the_same_bytes_are_computed_when_asked_for(
    compute: Compute, inputs: CountedRows, tmp_path: Path, rows: list[int]
) -> None:
    kept = compute()
    inputs.read = 0
    computed = compute(cache=None)
    assert inputs.read == 0
    assert len(computed) == len(kept) == 40
    again, banked = computed[np.array(rows)], kept[np.array(rows)]
    assert inputs.read >= len(rows)
    assert again.dtype == banked.dtype == np.float32
    assert again.tobytes() == banked.tobytes()


def test_without_a_cache_nothing_is_written(compute: Compute, tmp_path: Path) -> None:
    read_all(compute(cache=None))
    assert not list(tmp_path.iterdir())


POLICIES = {
    Precision.FLOAT32: "float32",
    Precision.BFLOAT16: "mixed_bfloat16",
    Precision.FLOAT16: "mixed_float16",
}


@pytest.mark.parametrize("precision", POLICIES)
def test_bank_holds_every_bit_of_each_precision(
    compute: Compute, inputs: CountedRows, precision: Precision
) -> None:
    model = build_model(POLICIES[precision])
    own = np.asarray(model.predict_on_batch(inputs.inputs))
    assert own.dtype.name == precision.value
    for _ in range(2):
        kept = read_all(compute(model=model, precision=precision))
        assert kept.dtype == np.float32
        assert kept.astype(own.dtype).tobytes() == own.tobytes()
        assert kept.tobytes() == own.astype(np.float32).tobytes()
    computed = read_all(compute(model=model, precision=precision, cache=None))
    assert computed.tobytes() == kept.tobytes()


def test_bank_of_half_the_bits_takes_half_the_room(compute: Compute, cache: Cache, tmp_path: Path) -> None:
    compute()
    half = Cache(tmp_path / "half")
    compute(model=build_model("mixed_bfloat16"), precision=Precision.BFLOAT16, cache=half)
    header = 128
    whole, halved = (the_bank(each).stat().st_size - header for each in (cache, half))
    assert whole == 2 * halved == 4 * 40 * 27


@pytest.mark.parametrize("cached", [True, False])
def test_output_is_rounded_to_what_it_is_stored_as(
    compute: Compute, inputs: CountedRows, cache: Cache, cached: bool
) -> None:
    whole, settings = read_all(compute()), {} if cached else {"cache": None}
    rounded = read_all(compute(stored_as=Precision.BFLOAT16, **settings))
    np.testing.assert_array_equal(rounded, whole.astype(ml_dtypes.bfloat16).astype(np.float32))
    assert (rounded != whole).any()
    np.testing.assert_array_equal(read_all(compute()), whole)


def test_precisions_do_not_share_a_bank(compute: Compute, inputs: CountedRows) -> None:
    whole = read_all(compute())
    inputs.read = 0
    rounded = read_all(compute(model=build_model("mixed_bfloat16"), precision=Precision.BFLOAT16))
    assert inputs.read >= len(inputs)
    assert (rounded != whole).any()
    np.testing.assert_array_equal(read_all(compute()), whole)


def test_damaged_bank_is_computed_anew(compute: Compute, cache: Cache) -> None:
    whole = read_all(compute())
    path = the_bank(cache)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content[: len(content) // 2])
    np.testing.assert_array_equal(read_all(compute()), whole)
    np.testing.assert_array_equal(np.load(the_bank(cache)), whole)


def test_a_stop_half_way_leaves_no_bank(compute: Compute, cache: Cache) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compute(listen=stop)
    assert list(cache.directory.iterdir()) == []
    assert np.isfinite(read_all(compute())).all()


def test_no_room_is_said_in_one_line(compute: Compute, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", refuse, raising=False)
    with pytest.raises(PneumoError, match="no room") as caught:
        compute()
    assert len(str(caught.value).splitlines()) == 1
    assert str(cache.directory) in str(caught.value)
    assert list(cache.directory.iterdir()) == []


def test_listener_hears_of_all_rows_at_the_first_and_the_second_call(compute: Compute) -> None:
    for stage in ("features", "features, kept"):
        heard: list[Progress] = []
        compute(listen=heard.append)
        assert heard[-1] == Progress(stage, 40, 40)
        assert [step.done for step in heard] == sorted(step.done for step in heard)


ROWS = np.array([12, 3, 7, 0, 19, 5, 11, 2, 16, 9])


def draw(epoch: int) -> np.random.Generator:
    return derive_generator(0, "order", 0, "head", epoch)


def make_batches(batch_size: int = 4, shuffled: bool = True) -> FeatureBatches:
    """Batches of features that are two to the power of their row, so that a sum tells which rows it holds."""
    features = 2.0 ** np.arange(20, dtype=np.float32)[:, np.newaxis]
    return FeatureBatches([features], ROWS, ROWS % 2, batch_size, draw if shuffled else None)


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


@pytest.mark.parametrize("count", [1, 2, 3])
def test_epochs_take_the_views_in_turn_and_all_rows_of_each(count: int) -> None:
    # Twenty rows a view, so that a number names the view and the row.
    views = [view * 20 + np.arange(20, dtype=np.float32)[:, np.newaxis] for view in range(count)]
    batches = FeatureBatches(views, ROWS, ROWS % 2, 4, draw)
    for epoch in (0, 1, 2, 3, 1, 5):
        batches.start_epoch(epoch)
        seen = np.concatenate([batches[number][0][:, 0] for number in range(len(batches))])
        labels = np.concatenate([batches[number][1][:, 0] for number in range(len(batches))])
        assert seen.tolist() == [epoch % count * 20 + row for row in expect_order(epoch)]
        np.testing.assert_array_equal(labels, seen % 2)


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
