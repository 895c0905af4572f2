"""How long the rest of a run takes: what is left of its plan, by what was measured now and before."""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass

from pneumocli.core.hardware import measure_memory
from pneumocli.core.plan import Plan
from pneumocli.core.progress import Progress
from pneumocli.core.rates import Rate, Rates, name_memory, name_work
from pneumocli.core.steps import Step

# Seconds and images from which on a rate of the running step is worth more than an earlier one.
WORTH = 2.0
# How much measured rates differ from one time to the next.
SPREAD = 0.15
# How far operations a second may be from those of other work, and how long a step takes to start.
UNLIKE = 3.0
START = (0.0, 20.0)
MEMORY_EVERY = 1.0  # seconds


@dataclass(frozen=True)
class TimeSpan:
    """Between how many and how many seconds something takes."""

    low: float
    high: float

    def __str__(self) -> str:
        """Return it in words, "12 to 15 min", with one number where both are nearly the same."""
        for unit, seconds, digits in (("s", 1.0, 0), ("min", 60.0, 0), ("h", 3600.0, 1)):
            if self.high < 120 * seconds or unit == "h":
                low, high = (
                    f"{round(value / seconds, digits):.{digits}f}" for value in (self.low, self.high)
                )
                return f"about {high} {unit}" if low == high else f"{low} to {high} {unit}"
        raise AssertionError


@dataclass
class _Heard:
    """What was heard of one step; times are in seconds of any clock."""

    began: float
    first_at: float
    first: int
    last_at: float
    last: int
    total: int
    ended: float | None = None

    def measure(self) -> Rate | None:
        """Return the rate so far, if there was more than one batch."""
        seconds, images = self.last_at - self.first_at, self.last - self.first
        if images <= 0 or seconds <= 0:
            return None
        speed = images / seconds
        return Rate(max(0.0, self.first_at - self.began - self.first / speed), speed)


class Pace:
    """Listens to a run that follows a plan, and says how long the rest takes."""

    def __init__(self, plan: Plan, known: Rates, gpu: bool = False) -> None:
        """Take a plan and what was measured in earlier runs."""
        self.plan = plan
        self._known = known
        self._gpu = gpu
        self._steps = {step.stage: step for step in plan.steps}
        self._heard: dict[str, _Heard] = {}
        self._free_since: dict[str, float] = {}
        self._kept = {step.stage for step in plan.steps if step.is_kept}
        self._begun: float | None = None
        self._memory, self._memory_at = 0, -MEMORY_EVERY

    def begin(self, now: float) -> None:
        """Say that the work begins."""
        self._begun = now

    def hear(self, step: Progress, now: float) -> None:
        """Take note of a step of the work."""
        if self._begun is None:
            self._begun = now
        if now - self._memory_at >= MEMORY_EVERY:
            self._memory, self._memory_at = max(self._memory, measure_memory() or 0), now
        stage = step.stage.removesuffix(", kept")
        planned = self._steps.get(stage)
        if planned is None:
            return
        if stage != step.stage:
            self._kept.add(stage)
            self._free_since[planned.title] = now
            return
        if not planned.title:
            self._kept.discard(stage)  # computed after all
        heard = self._heard.get(stage)
        if heard is None:
            heard = _Heard(self._find_begin(planned.title), now, step.done, now, step.done, step.total)
            self._heard[stage] = heard
        elif heard.ended is None and (step.done < step.total or heard.last == heard.first):
            # The end may come early, when training stops: what is told then was not all done.
            heard.last_at, heard.last = now, step.done
        heard.total = step.total
        if step.done >= step.total and heard.ended is None:
            heard.ended = now
            heard.last = max(heard.last, heard.first)
            self._free_since[planned.title] = now

    def _find_begin(self, title: str) -> float:
        """Return since when a step that is heard of for the first time can have been under way."""
        ends = self._free_since
        others = [end for other, end in ends.items() if other]
        if title in ends:
            return ends[title]
        if len(others) < self.plan.jobs:
            # The first folds begin where what all of them share ends.
            others = [ends[""]] if "" in ends else others
        return max(others, default=self._begun or 0.0)

    def speed(self, stage: str) -> float | None:
        """Return the images a second of a step so far, if they are known."""
        heard = self._heard.get(stage)
        rate = None if heard is None else heard.measure()
        return None if rate is None else rate.speed

    def share(self, now: float) -> float | None:
        """Return which share of the whole work is done, by time, 0 to 1, if that is known."""
        left = self.left(now)
        if left is None or self._begun is None:
            return None
        gone = now - self._begun
        middle = (left.low + left.high) / 2
        return gone / (gone + middle) if gone + middle > 0 else 1.0

    def memory(self) -> dict[str, int]:
        """Return the run's own memory in bytes under its name, if one process does all of it."""
        if not self._memory or self.plan.jobs > 1:
            return {}
        return {name_memory(self.plan, self._gpu): self._memory}

    def measured(self) -> dict[str, Rate]:
        """Return the rates of finished steps, the last of each kind of work, under their names."""
        found: dict[str, Rate] = {}
        for stage, heard in self._heard.items():
            rate = heard.measure() if heard.ended is not None else None
            if rate is not None:
                found[name_work(self.plan, self._steps[stage], self._gpu)] = rate
        return found

    def left(self, now: float) -> TimeSpan | None:
        """Return how long the rest takes, or None while nothing of it is known."""
        here, drift = self._rates_here(), self._measure_drift()
        shared, known = [0.0, 0.0], False
        folds: dict[str, list[float]] = {}
        for step in self.plan.steps:
            if step.stage in self._kept:
                continue
            heard = self._heard.get(step.stage)
            if heard is not None and heard.ended is not None:
                continue
            span = self._time(step, heard, now, here, drift)
            if span is None:
                return None
            known = True
            sums = folds.setdefault(step.title, [0.0, 0.0]) if step.title else shared
            sums[0] += span.low
            sums[1] += span.high
        if not known:
            return TimeSpan(0.0, 0.0)
        low, high = (
            shared[bound] + _share_out([times[bound] for times in folds.values()], self.plan.jobs)
            for bound in (0, 1)
        )
        return TimeSpan(low, high)

    def _rates_here(self) -> Mapping[str, Rate]:
        """Return the rates of this run by kind of work, of running steps only if they are worth it."""
        found: dict[str, Rate] = {}
        for stage, heard in self._heard.items():
            rate = heard.measure()
            enough = heard.ended is not None or heard.last_at - heard.first_at >= WORTH
            if rate is not None and enough:
                found[name_work(self.plan, self._steps[stage], self._gpu)] = rate
        return found

    def _measure_drift(self) -> float:
        """Return how much longer this run took so far than earlier ones did for the same; 1 if not known."""
        here = before = 0.0
        for stage, heard in self._heard.items():
            rate = heard.measure()
            known = self._known.steps.get(name_work(self.plan, self._steps[stage], self._gpu))
            if rate is not None and known:
                here += rate.time(heard.last)
                before += sum(each.time(heard.last) for each in known) / len(known)
        return here / before if before else 1.0

    def _time(
        self, step: Step, heard: _Heard | None, now: float, here: Mapping[str, Rate], drift: float
    ) -> TimeSpan | None:
        name = name_work(self.plan, step, self._gpu)
        rates = (here[name],) if name in here else self._known.steps.get(name, ())
        if heard is not None:
            own = heard.measure()
            if own is not None and heard.last_at - heard.first_at >= WORTH:
                rates = (own,)
        fewest, most = step.fewest, step.images
        if not rates:
            return self._guess(step, here)
        if heard is None:
            times = [rate.time(images) for rate in rates for images in (fewest, most)]
        else:
            rest = [max(0, images - heard.last) for images in (fewest, most)]
            times = [max(0.0, n / rate.speed - (now - heard.last_at)) for rate in rates for n in rest]
        low, high = min(times) * (1 - SPREAD), max(times) * (1 + SPREAD)
        if name not in here:
            # A busier or a less busy machine than before shows in what was done already.
            low, high = low * min(1.0, drift), high * max(1.0, drift)
        return TimeSpan(low, high)

    def _guess(self, step: Step, here: Mapping[str, Rate]) -> TimeSpan | None:
        """Judge work that was never measured by its operations and the speed of other work here."""
        speeds = []
        for stage, heard in self._heard.items():
            rate, other = heard.measure(), self._steps[stage]
            if rate is not None and other.operations:
                speeds.append(rate.speed * other.operations)
        if not speeds:
            return None
        low = step.fewest * step.operations / max(speeds) / UNLIKE
        high = step.images * step.operations / min(speeds) * UNLIKE
        return TimeSpan(START[0] + low, START[1] + high)


def _share_out(times: list[float], jobs: int) -> float:
    """Return when the last of some folds ends if so many processes take one after the other, in order."""
    free = [0.0] * max(1, jobs)
    for time in times:
        heapq.heapreplace(free, free[0] + time)
    return max(free)
