"""Texts of like length together, so that little is computed for padding."""

from collections.abc import Iterator, Sequence


def length_batches(lengths: Sequence[int], most_tokens: int) -> Iterator[list[int]]:
    """Yield the places of texts, longest first, so many that all of them padded to the longest are few enough.

    The longest come first: where memory is too small for them, that shows at once.

    Args:
        lengths: ``[n_texts]`` in tokens.
        most_tokens: of a batch, padding counted; a text that is longer is a batch of its own.
    """
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > most_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch
