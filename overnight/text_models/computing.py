"""A text-pair model on its device, and what it says of pairs of texts."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from overnight.engines.transformers.memory import is_out_of_memory, release
from overnight.errors import BadResponse, OutOfMemory
from overnight.spec.text_model import TextModelKind
from overnight.text_models.batching import length_batches
from overnight.text_models.values import PairValues

_MOST_TOKENS = 16_384  # of a batch; larger ones are no faster on a GPU, and slower on a processor
_MOST_TOKENS_OF_A_PROCESSOR = 2_048
_POOLER = "pooler."  # a head that embeddings do not use; models come without it


class TextModel:
    """A model that reads two texts."""

    def __init__(self, folder: Path, options: Mapping[str, Any], device: torch.device) -> None:
        """Load it, in float32.

        Args:
            folder: of a Hugging Face model.
            options: ``TextModelFacts.as_options``.
            device: where to.

        Raises:
            ValueError: the folder lacks weights that the kind needs.
            RuntimeError, MemoryError: it does not fit.
        """
        transformers.utils.logging.disable_progress_bar()
        self.kind = TextModelKind(options["kind"])
        self._facts = options
        self._device = device
        self._most_tokens = _MOST_TOKENS if device.type != "cpu" else _MOST_TOKENS_OF_A_PROCESSOR
        is_embedding = self.kind is TextModelKind.SENTENCE_EMBEDDING
        maker = AutoModel if is_embedding else AutoModelForSequenceClassification
        model, info = maker.from_pretrained(
            folder,
            dtype=torch.float32,
            device_map={"": str(device)},
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
        # transformers makes up what is missing, at random.
        missing = sorted(
            name for name in info["missing_keys"] if not (is_embedding and name.startswith(_POOLER))
        )
        if missing:
            raise ValueError(f"no weights for {', '.join(missing[:3])}: it is no {self.kind.value} model")
        self._model = model.eval()
        # What is asked about stands at the end of a text, the same for both texts of a pair at the beginning.
        self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, truncation_side="left")
        limits = (options["max_tokens"], self._tokenizer.model_max_length)
        self.max_tokens = int(min(limit for limit in limits if limit is not None))
        self.halvings = 0
        release(device)

    def values(self, pairs: Sequence[tuple[str, str]]) -> list[PairValues]:
        """Return ``[n_pairs]``: what the model says of each.

        Raises:
            OutOfMemory: not even one pair fits.
            BadResponse: an output is no number.
        """
        if not pairs:
            return []
        stripped = [(self._read(one), self._read(other)) for one, other in pairs]
        if self.kind is TextModelKind.SENTENCE_EMBEDDING:
            return self._cosines(stripped)
        texts = [one for one, _ in stripped], [other for _, other in stripped]
        rows, cut = self._computed(texts, self._probabilities)
        return [PairValues(row.tolist(), is_cut) for row, is_cut in zip(rows, cut, strict=True)]

    def _read(self, text: str) -> str:
        """Return a text as the model was trained to read it."""
        stripped = (
            text.encode("utf-8", "replace").decode("utf-8").strip()
        )  # tokenizers refuse lone surrogates
        return stripped.lower() if self._facts["lower_cased"] else stripped

    def _cosines(self, pairs: Sequence[tuple[str, str]]) -> list[PairValues]:
        """Return the cosines of pairs, none below 0: a text that says the opposite is not alike."""
        texts = sorted({text for pair in pairs for text in pair})
        rows, cut = self._computed((texts,), self._vectors)
        units = torch.nn.functional.normalize(rows, dim=1)
        place = {text: number for number, text in enumerate(texts)}
        ones = torch.tensor([place[one] for one, _ in pairs])
        others = torch.tensor([place[other] for _, other in pairs])
        cosines = (units[ones] * units[others]).sum(dim=1)
        cosines[ones == others] = 1.0  # rounding aside
        scores = cosines.clamp(0.0, 1.0).tolist()
        return [
            PairValues([score], cut[place[one]] or cut[place[other]])
            for score, (one, other) in zip(scores, pairs, strict=True)
        ]

    def _vectors(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return ``[rows, width]``: the vector that stands for each text.

        Source: the model's own pooling configuration; Reimers, Gurevych (2019), EMNLP, arXiv:1908.10084.
        """
        states = self._model(**inputs).last_hidden_state
        is_text = inputs["attention_mask"].unsqueeze(-1).bool()
        match self._facts["pooling"]:
            case "cls":
                return torch.as_tensor(states[:, 0])
            case "max":
                return torch.as_tensor(states.masked_fill(~is_text, -torch.inf).amax(dim=1))
            case _:
                return torch.as_tensor(states.masked_fill(~is_text, 0.0).sum(dim=1) / is_text.sum(dim=1))

    def _probabilities(self, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return ``[rows, 1]`` scores of a cross-encoder as it was trained, or ``[rows, labels]`` probabilities."""
        logits = self._model(**inputs).logits
        if self.kind is TextModelKind.CROSS_ENCODER:
            return torch.as_tensor(logits.sigmoid())
        place = self._facts["entailment"]
        others = [label for label in range(logits.shape[1]) if label != place]
        return torch.as_tensor(logits.softmax(dim=1)[:, [place, *others]])

    def _computed(
        self,
        texts: tuple[list[str], ...],
        compute: Callable[[Mapping[str, torch.Tensor]], torch.Tensor],
    ) -> tuple[torch.Tensor, list[bool]]:
        """Return ``[n, width]`` in float64 of texts, or of pairs of them, and which of them were cut."""
        lengths = [len(ids) for ids in self._tokenizer(*texts, verbose=False)["input_ids"]]
        cut = [length > self.max_tokens for length in lengths]
        rows: list[torch.Tensor] = [torch.empty(0)] * len(lengths)
        for batch in length_batches([min(length, self.max_tokens) for length in lengths], self._most_tokens):
            found = self._computed_batch([[column[place] for place in batch] for column in texts], compute)
            for place, row in zip(batch, found, strict=True):
                rows[place] = row
        return torch.stack(rows), cut

    def _computed_batch(
        self,
        texts: list[list[str]],
        compute: Callable[[Mapping[str, torch.Tensor]], torch.Tensor],
    ) -> torch.Tensor:
        n_rows = len(texts[0])
        try:
            inputs = self._tokenizer(
                *texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt"
            ).to(self._device)
            with torch.inference_mode():
                rows = compute(inputs).double().cpu()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if n_rows == 1:
                raise OutOfMemory(f"a text of up to {self.max_tokens} tokens does not fit: {error}") from None
        else:
            if not bool(rows.isfinite().all()):
                raise BadResponse("the text model gave a value that is no number")
            return rows
        # Outside of the handler: the error holds on to what did not fit.
        release(self._device)
        self.halvings += 1
        halves = slice(n_rows // 2), slice(n_rows // 2, None)
        return torch.cat(
            [self._computed_batch([column[half] for column in texts], compute) for half in halves]
        )
