"""What one load and one pass save: a process for every prompt and trait, as scripts do it, against one for all."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from overnight.activations.points import SUBLAYERS, Point, labels
from overnight.activations.request import ActivationRequest, SequenceInput
from overnight.engines.holding import host_settings
from overnight.engines.host import EngineHost
from overnight.engines.protocol import Completion
from overnight.engines.sources import fetch
from overnight.engines.transformers.client import TransformersEngine
from overnight.memory.facts import read_facts
from overnight.memory.widths import widths
from overnight.planning.capture_bytes import Widths
from overnight.planning.requests import Request
from overnight.spec.execution import Execution
from overnight.spec.model import ModelSpec
from overnight.store.files import scratch_folder
from overnight.traits.directions import Applied, TraitDirections, write_directions

_CONTEXT_TOKENS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """What a way of capturing took."""

    seconds: float  # from the first process to the end of the last one
    loads: int
    load_s: float  # of the seconds
    passes: int  # sequences that were read
    tokens: int  # that were generated


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureBench:
    """Both ways for the same prompts, traits and lengths, and what generating alone takes."""

    n_prompts: int
    n_traits: int
    max_new_tokens: int
    apart: Way
    together: Way
    generate_s: float  # of the one load: all replies, in batches
    read_s: float  # of the one load: all sequences, every layer, sublayer and trait

    @property
    def ratio(self) -> float:
        """How many times as long as together the captures take apart: T1 / T2."""
        return self.apart.seconds / self.together.seconds

    @property
    def speed_with_reading(self) -> float:
        """Tokens a second with reading, over tokens a second of plain batched generation."""
        return self.generate_s / (self.generate_s + self.read_s)


def bench_capture(
    model: ModelSpec, prompts: Sequence[str], n_traits: int, max_new_tokens: int, execution: Execution
) -> CaptureBench:
    """Capture prompts in both ways, and return what each took; the vectors are random, the work is the same.

    Args:
        model: resolved, held by transformers.
        prompts: each is answered greedily.
        n_traits: vectors that every state is projected on.
        max_new_tokens: of a reply.
        execution: how the model is held.

    Raises:
        EngineError: it cannot be held.
    """
    weights = fetch(model).path
    found = widths(read_facts(weights))
    with scratch_folder("bench") as folder:
        bench = _Bench(model, weights, execution, found, max_new_tokens, folder)
        apart = [bench.way([prompt], 1) for prompt in prompts for _ in range(n_traits)]
        together = bench.way(prompts, n_traits)
    return CaptureBench(
        n_prompts=len(prompts),
        n_traits=n_traits,
        max_new_tokens=max_new_tokens,
        apart=Way(
            seconds=sum(one.way.seconds for one in apart),
            loads=sum(one.way.loads for one in apart),
            load_s=sum(one.way.load_s for one in apart),
            passes=sum(one.way.passes for one in apart),
            tokens=sum(one.way.tokens for one in apart),
        ),
        together=together.way,
        generate_s=together.generate_s,
        read_s=together.read_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    way: Way
    generate_s: float
    read_s: float


class _Bench:
    def __init__(
        self,
        model: ModelSpec,
        weights: Path,
        execution: Execution,
        sizes: Widths,
        max_new_tokens: int,
        folder: Path,
    ) -> None:
        self._model = model
        self._settings = host_settings(model, weights, _CONTEXT_TOKENS, execution)
        self._execution = execution
        self._sizes = sizes
        self._max_new_tokens = max_new_tokens
        self._folder = folder
        self._points = tuple(Point(layer, part) for layer in range(sizes.n_layers) for part in SUBLAYERS)

    def way(self, prompts: Sequence[str], n_traits: int) -> _Measured:
        """Load, answer, read, and end the process."""
        directions = self._directions(n_traits)
        started = time.perf_counter()
        with EngineHost(self._settings, self._folder / "engines", self._model.name) as host:
            host.start()
            n_tokens, generate_s, read_s = asyncio.run(self._work(prompts, directions))
            state = host.state
        seconds = time.perf_counter() - started
        return _Measured(
            way=Way(
                seconds=seconds,
                loads=state.loads,
                load_s=state.load_s or 0.0,
                passes=len(prompts),
                tokens=n_tokens,
            ),
            generate_s=generate_s,
            read_s=read_s,
        )

    async def _work(self, prompts: Sequence[str], directions: Path) -> tuple[int, float, float]:
        engine = TransformersEngine(
            self._folder / "engines" / f"{self._model.name}.json",
            timeout_s=self._execution.request_timeout_s,
            startup_timeout_s=self._execution.engine.startup_timeout_s,
        )
        try:
            requests = [self._request(number, prompt) for number, prompt in enumerate(prompts)]
            started = time.perf_counter()
            answers = await asyncio.gather(*(engine.complete(request) for request in requests))
            generated = time.perf_counter()
            await engine.activations(
                ActivationRequest(
                    sequences=tuple(map(_sequence, requests, answers)),
                    out=self._folder / "states",
                    directions=directions,
                    projected=self._points,
                )
            )
            return (
                sum(answer.completion_tokens or 0 for answer in answers),
                generated - started,
                time.perf_counter() - generated,
            )
        finally:
            await engine.close()

    def _request(self, number: int, prompt: str) -> Request:
        return Request(
            custom_id=f"bench|{number}|control|0.0|0|closed",
            part="bench",
            messages=({"role": "user", "content": prompt},),
            temperature=0.0,
            top_p=1.0,
            top_k=0,
            max_new_tokens=self._max_new_tokens,
            seed=0,
            stop=(),
            logprobs=True,
            tokens=True,
        )

    def _directions(self, n_traits: int) -> Path:
        path = self._folder / f"directions-{n_traits}.safetensors"
        if not path.exists():
            drawn = np.random.default_rng(0).standard_normal((n_traits, 1, self._sizes.hidden))
            names = labels(self._points)
            write_directions(
                path,
                [
                    TraitDirections(
                        trait=f"random_{number}",
                        points=(names[0],),
                        directions=vector.astype(np.float32),
                        chosen=names[0],
                    )
                    for number, vector in enumerate(drawn)
                ],
                names,
                applied=Applied.ONE,
            )
        return path


def _sequence(request: Request, answer: Completion) -> SequenceInput:
    ids = tuple(step.taken.id for step in answer.steps or () if step.taken.id is not None)
    return SequenceInput(id=request.custom_id.split("|")[1], messages=request.messages, reply_ids=ids)
