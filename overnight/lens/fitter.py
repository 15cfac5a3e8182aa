"""From texts to a fitted lens: vectors, a decoder that learns to say them, an encoder for what it says."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from overnight.activations.architecture import Architecture
from overnight.engines.transformers.loading import Loaded, load
from overnight.errors import OutOfMemory, UsageError
from overnight.lens.adapter import Adapter
from overnight.lens.affine import Affine, explained, fit_affine
from overnight.lens.drawing import Drawer
from overnight.lens.examples import Example, Source, different, examples_of, held_out, read_sources
from overnight.lens.fitting_rows import FittingRows
from overnight.lens.folder import LensDescription
from overnight.lens.loading import Decoder, FittedLens, save_lens
from overnight.lens.patched import Patched
from overnight.lens.reading_out import ReadingOut, TextStates
from overnight.lens.request import VerbaliseRequest
from overnight.lens.soft_prompt import SoftPrompt
from overnight.lens.training import Measurement, Taught, Training
from overnight.spec.lens import LensSpec, PatchedDecoder, SoftPromptDecoder
from overnight.store.files import atomic_bytes, write_text

Say = Callable[[dict[str, Any]], None]

_ROWS: Final = 32  # texts that are read at a time, at most
_MOST_DRAWN: Final = 2048  # vectors whose texts the encoder learns from
_MOST_JUDGED: Final = 256  # held-out vectors by which a lens is judged
_JUDGED_DRAWS: Final = 8  # of each


def fit(settings: dict[str, Any], say: Say) -> dict[str, Any]:
    """Write the folder of a lens, and return what is known of it.

    Raises:
        UsageError: there are too few texts, or the model has no such layer.
        OutOfMemory: not even one text at a time fits.
        GpuUnusable: there is a GPU, and torch cannot use it.
        StoreError: what an earlier process has kept cannot be read.
    """
    torch.set_num_threads(settings["threads"])
    say({"stage": "loading", "done": 0, "of": 1})
    loaded = load(
        Path(settings["model_path"]),
        dtype=settings["dtype"],
        bits=settings["bits"],
        device=settings["device"],
        attention=settings["attention"],
        trust_remote_code=settings["trust_remote_code"],
        gpus_there=settings["gpus_there"],
        may_offload=settings["may_offload"],
    )
    loaded.model.requires_grad_(False)
    return Fitter(loaded, settings, say).fit()


@dataclass(frozen=True, slots=True)
class _Half:
    """Examples of the texts that are learned from, or of those that are held out."""

    examples: list[Example]
    vectors: Tensor  # [n, D] float32, on the processor
    keys: list[str]  # n, of the random numbers that their texts are drawn with

    def first(self, most: int) -> "_Half":
        """Return as many of them, from all texts alike: a fixed order that knows nothing of the texts."""
        if len(self.examples) <= most:
            return self
        order = torch.randperm(len(self.examples), generator=torch.Generator().manual_seed(0))[:most]
        places = order.sort().values.tolist()
        return _Half([self.examples[p] for p in places], self.vectors[places], [self.keys[p] for p in places])


class Fitter:
    """Fits one lens to one model.

    Args:
        loaded: the model.
        settings: of the process.
        say: told how far it is.
    """

    def __init__(self, loaded: Loaded, settings: dict[str, Any], say: Say) -> None:
        self._loaded = loaded
        self._model, self._tokenizer = loaded.model, loaded.tokenizer
        self._lens = LensSpec.model_validate(settings["lens"])
        self._settings = settings
        self._say = say
        self._work = Path(settings["work"])
        assert self._lens.layer is not None  # noqa: S101 - a lens that is fitted names its layer
        assert self._lens.fit is not None  # noqa: S101 - and says how
        self._fit = self._lens.fit
        self._architecture = Architecture(loaded.model)
        self._states = TextStates(loaded.model, self._architecture, loaded.tokenizer, self._lens.layer)
        self._rows = FittingRows("read", loaded.device, lambda: None)
        self._drawer = Drawer(loaded.model, loaded.eos_ids, self._decode)

    def fit(self) -> dict[str, Any]:
        """Write the folder of the lens, and return what is known of it."""
        learned_from, held = self._halves()
        windows = [self._window_states(half, name) for half, name in ((learned_from, "fit"), (held, "held"))]
        facts: dict[str, Any] = {
            "n_vectors": len(learned_from.examples),
            "n_held_out_vectors": len(held.examples),
        }
        kind = self._lens.decoder
        decoder: Decoder
        if isinstance(kind, PatchedDecoder):
            decoder = Patched(self._model, self._architecture, self._tokenizer, kind)
        else:
            decoder, learning = self._trained(kind, learned_from, held)
            facts |= learning
        encoder, reading = self._encoder(decoder, learned_from, held, windows)
        lens = FittedLens(decoder, encoder)
        facts |= reading | self._judged(lens, held)
        description = LensDescription(
            lens=self._lens,
            model=self._settings["model"],
            model_digest=self._settings["model_digest"],
            width=self._states.width,
            data_digest=self._settings["data_digest"],
            fit=facts,
        )
        save_lens(Path(self._settings["out"]), lens, description)
        return facts

    def _halves(self) -> tuple[_Half, _Half]:
        sources = self._sources()
        examples = examples_of(sources, self._fit.positions, self._lens.text_tokens)
        kept_out = held_out(sources, self._fit.held_out, self._fit.seed)
        found = self._kept("vectors", lambda: {"vectors": self._vectors(sources, examples)})["vectors"]
        halves = []
        for is_held in (False, True):
            places = [n for n, each in enumerate(examples) if (each.source in kept_out) == is_held]
            if not places:
                raise UsageError(
                    "fit.datasets: no vector can be taken of the texts that are "
                    f"{'held out' if is_held else 'learned from'}; wanted longer texts, or a lower positions.min_pos"
                )
            chosen = [examples[n] for n in places]
            keys = [f"{sources[each.source].digest}:{each.position}" for each in chosen]
            halves.append(_Half(chosen, found[places], keys))
        return halves[0], halves[1]

    def _sources(self) -> list[Source]:
        with Path(self._settings["texts"]).open(encoding="utf-8") as file:
            texts = different(json.loads(line)["text"] for line in file)
        most = self._settings["context_tokens"]
        ids = [self._tokenizer(text)["input_ids"][:most] for text in texts]
        return read_sources(texts, ids, len(self._states.beginning))

    def _vectors(self, sources: Sequence[Source], examples: Sequence[Example]) -> Tensor:
        places: list[list[int]] = [[] for _ in sources]
        for number, each in enumerate(examples):
            places[each.source].append(number)
        found = torch.empty((len(examples), self._states.width))
        wanted = [number for number, each in enumerate(places) if each]

        def read(batch: Sequence[int]) -> None:
            chosen = [wanted[place] for place in batch]
            states = self._states.at(
                [sources[number].ids for number in chosen],
                [[examples[n].position for n in places[number]] for number in chosen],
            )
            found[[n for number in chosen for n in places[number]]] = states.cpu()

        self._in_batches("vectors", [len(sources[number].ids) for number in wanted], read)
        if not found.isfinite().all():
            raise UsageError("a vector is not made of numbers; choose a model dtype of more range (bfloat16)")
        return found

    def _window_states(self, half: _Half, name: str) -> Tensor:
        """Return what the model makes of the end of each text, read alone."""
        return self._kept(
            f"windows-{name}", lambda: {"states": self._read("windows", [e.window for e in half.examples])}
        )["states"]

    def _read(self, stage: str, texts: Sequence[Sequence[int]]) -> Tensor:
        """Return ``[n, D]``, the state of the last token of each text; of one without tokens no number."""
        found = torch.full((len(texts), self._states.width), torch.nan)
        said = [place for place, ids in enumerate(texts) if ids]

        def read(batch: Sequence[int]) -> None:
            chosen = [said[place] for place in batch]
            found[chosen] = self._states.last([texts[place] for place in chosen]).cpu()

        self._in_batches(stage, [len(texts[place]) for place in said], read)
        return found

    def _in_batches(self, stage: str, sizes: Sequence[int], do: Callable[[Sequence[int]], None]) -> None:
        """Do something with places, longest first and like lengths together; fewer where memory is short."""
        left = sorted(range(len(sizes)), key=lambda place: (-sizes[place], place))
        while left:
            self._say({"stage": stage, "done": len(sizes) - len(left), "of": len(sizes)})
            batch = left[: self._rows.of(_ROWS)]
            if self._rows.fit(len(batch), partial(do, batch)):
                left = left[len(batch) :]

    def _trained(
        self, kind: SoftPromptDecoder, learned_from: _Half, held: _Half
    ) -> tuple[SoftPrompt, dict[str, Any]]:
        torch.manual_seed(self._fit.seed)  # of what begins random
        decoder = self._beginning(kind, learned_from, held)
        training = Training(self._model, decoder, self._fit, self._work / "training.safetensors")

        def tell(found: Measurement) -> None:
            self._say(found.to_json())

        history = training.run(self._taught(learned_from), self._taught(held), tell)
        best = min(history, key=lambda each: each.held_out_loss)
        losses = ["" if each.loss is None else repr(each.loss) for each in history]
        rows = [f"{e.step},{loss},{e.held_out_loss!r}\n" for e, loss in zip(history, losses, strict=True)]
        write_text(Path(self._settings["out"]) / "losses.csv", "step,loss,held_out_loss\n" + "".join(rows))
        return decoder, {
            "steps": history[-1].step,
            "best_step": best.step,
            "loss": history[-1].loss,
            "held_out_loss": best.held_out_loss,
            "first_held_out_loss": history[0].held_out_loss,
        }

    def _beginning(self, kind: SoftPromptDecoder, learned_from: _Half, held: _Half) -> SoftPrompt:
        """Return the decoder that the training begins with.

        Of the last tokens of a text its soft tokens have what can be read off a vector of their embeddings, in closed
        form: of the last one most, of those before it less and less. It is added to the embedding of the commonest
        token: what is read off alone is shorter than any embedding, and a model takes it for nothing that it knows.
        """
        centre = learned_from.vectors.mean(dim=0)
        spread = learned_from.vectors.std(dim=0).clamp_min(1e-6)
        sides = [((half.vectors - centre) / spread).numpy() for half in (learned_from, held)]
        embeddings = [self._embedded(half, kind.soft_tokens) for half in (learned_from, held)]
        common, _ = Counter(token for each in learned_from.examples for token in each.window).most_common(1)[
            0
        ]
        with torch.inference_mode():
            usual: Tensor = self._model.get_input_embeddings().weight[common].float().cpu()
        weights = []
        for token in range(kind.soft_tokens):
            found = fit_affine(sides[0], embeddings[0][:, token], sides[1], embeddings[1][:, token])
            weights.append(torch.from_numpy(found.weight.astype(np.float32)))
        adapter = Adapter.new(self._model, kind.lora_rank) if kind.lora_rank else None
        biases = usual.repeat(kind.soft_tokens, 1)
        return SoftPrompt(self._model, torch.stack(weights), biases, centre, spread, adapter)

    def _embedded(self, half: _Half, n_tokens: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Return ``[n, tokens, E]``: the embeddings of the last tokens; of what a shorter text lacks, its first's."""
        table = self._model.get_input_embeddings()
        rows = [
            [each.window[max(0, len(each.window) - n_tokens + place)] for place in range(n_tokens)]
            for each in half.examples
        ]
        with torch.inference_mode():
            found: Tensor = table(torch.tensor(rows, device=self._loaded.device)).float().cpu()
        return found.numpy()

    def _taught(self, half: _Half) -> Taught:
        """Return what is to be said: the end of the text, and that it ends where there is room for it."""
        most = self._lens.text_tokens
        end = self._tokenizer.eos_token_id
        targets = [
            each.window if len(each.window) == most or end is None else (*each.window, end)
            for each in half.examples
        ]
        return Taught(half.vectors, targets)

    def _encoder(
        self, decoder: Decoder, learned_from: _Half, held: _Half, windows: Sequence[Tensor]
    ) -> tuple[ReadingOut, dict[str, Any]]:
        """Return the map from states of texts to vectors, fitted to what the decoder says.

        Where the decoder was trained it is fitted to the true ends of the texts as well: what the decoder is after.
        """
        sides = []
        for half, states in zip((learned_from, held), windows, strict=True):
            drawn_of = half.first(_MOST_DRAWN)
            drawn = self._read("texts", self._drawn(decoder, drawn_of, 1))
            is_said = drawn.isfinite().all(dim=1)
            inputs, targets = [drawn[is_said]], [drawn_of.vectors[is_said]]
            if isinstance(decoder, SoftPrompt):
                inputs.append(states)
                targets.append(half.vectors)
            sides.append((torch.cat(inputs).numpy(), torch.cat(targets).numpy()))
        (inputs_, targets_), (held_inputs, held_targets) = sides
        if not len(inputs_) or not len(held_inputs):
            raise UsageError("the decoder says nothing of any vector; choose another prompt or layer")
        found = fit_affine(inputs_, targets_, held_inputs, held_targets, self._fit.ridge)
        mean = learned_from.vectors.mean(dim=0)
        weight, bias = (torch.from_numpy(each.astype(np.float32)) for each in (found.weight, found.bias))
        facts = {
            "ridge": found.penalty,
            "held_out_fve_of_true_texts": explained(held.vectors.numpy(), _mapped(found, windows[1])),
        }
        return ReadingOut(self._states, weight, bias, mean), facts

    def _drawn(self, decoder: Decoder, half: _Half, n_draws: int) -> list[list[int]]:
        """Return the tokens that are read of the texts of some vectors, vector by vector."""
        request = VerbaliseRequest(
            lens=Path(),
            vectors=Path(),
            keys=tuple(half.keys),
            n_draws=n_draws,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            max_new_tokens=self._lens.text_tokens,
            seed=self._fit.seed,
            rows=_ROWS,
        )
        self._say({"stage": "drawing", "done": 0, "of": len(half.keys)})
        blank = torch.zeros(self._states.width)
        lens = FittedLens(decoder, ReadingOut(self._states, torch.eye(self._states.width), blank, blank))
        rows = FittingRows("drawn", self._loaded.device, lambda: None)
        texts = self._drawer.draw(lens, half.vectors, request, rows)
        if texts is None:
            raise OutOfMemory("no texts were drawn")
        return self._states.tokens([each.text for of_vector in texts for each in of_vector])

    def _judged(self, lens: FittedLens, held: _Half) -> dict[str, Any]:
        """Return what a lens recovers of held-out vectors: of one draw, of the best of some, and of others' texts."""
        chosen = held.first(_MOST_JUDGED)
        tokens = self._drawn(lens.decoder, chosen, _JUDGED_DRAWS)
        states = [tokens[first : first + _ROWS] for first in range(0, len(tokens), _ROWS)]
        found = torch.cat([lens.encode(batch).cpu() for batch in states])
        draws = found.reshape(len(chosen.vectors), _JUDGED_DRAWS, -1)
        # Half of them further on is another text, but where there is only one.
        of_others = draws.roll(max(1, len(draws) // 2), dims=0)
        return {
            "n_judged_vectors": len(draws),
            "held_out_fve": _recovered(chosen.vectors, draws),
            "held_out_fve_of_other_vectors_texts": _recovered(chosen.vectors, of_others),
        }

    def _kept(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return what an earlier process has made, or make it."""
        path = self._work / f"{name}.safetensors"
        if not path.is_file():
            with atomic_bytes(path) as file:
                file.write(safetensors.torch.save(make()))
        return safetensors.torch.load_file(path)

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return text


def _recovered(vectors_ND: Tensor, draws_NKD: Tensor) -> dict[str, float | None]:  # noqa: N803 - axes
    """Return the share of the variance that one draw recovers, all of them averaged, and the best of all, by K."""
    n_draws = draws_NKD.shape[1]
    best = (draws_NKD - vectors_ND[:, None]).square().sum(dim=-1).argmin(dim=1)
    each = draws_NKD.transpose(0, 1).flatten(0, 1).numpy()
    return {
        "1": explained(np.tile(vectors_ND.numpy(), (n_draws, 1)), each),
        str(n_draws): explained(vectors_ND.numpy(), draws_NKD[torch.arange(len(best)), best].numpy()),
    }


def _mapped(found: Affine, states: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return found(states.numpy())
