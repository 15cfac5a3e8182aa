"""The folder of a made-up capture run: the numbers are drawn, their shapes are those of a small model."""

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from overnight.captures.index import write_index
from overnight.captures.lines import read_lines
from overnight.captures.reading import read_captures
from overnight.captures.summary import Dynamics, write_summary
from overnight.captures.table import write_projections
from overnight.store.files import write_json
from overnight.store.manifest import RunManifest, TrialRecord, TrialState, seal, write_manifest
from overnight.store.run_folder import RunFolder
from tests.unit.captures.made_up import SUBLAYERS, line, write_sequence

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TRAITS = ("uncertainty", "commitment", "cognitive_load", "sycophancy", "warmth", "retrieval")
SENTENCE = (
    "the of and a to in is that it was for on as with be by at this from or an are not but what all were when we"
    " there can said which do how if will up out them some could time would like into has look two more write go see"
)
WORDS = tuple(SENTENCE.split())
DYNAMICS = Dynamics(velocity=np.diff, commitment_position=lambda x: 1, persistence=lambda x: 2)


def write_capture_run(
    experiments: Path,
    *,
    groups: dict[str, int] | None = None,
    n_layers: int = 4,
    n_tokens: int = 24,
    traits: tuple[str, ...] = TRAITS[:3],
    has_z: bool = True,
    hostile: str = "",
) -> RunFolder:
    """Write a run with a trial a group of prompts; the first prompt of the second group failed."""
    folder = RunFolder(experiments / "run_r1")
    rng = np.random.default_rng(7)
    groups = groups or {"uncertainty": 3, "commitment": 2}
    points = [f"{layer}.{sublayer}" for layer in range(n_layers) for sublayer in SUBLAYERS]
    trials = {}
    for place, (group, n_prompts) in enumerate(groups.items()):
        slug = f"tiny-{group}-{place:08d}"
        results = folder.trial(slug).results
        lines = []
        for number in range(n_prompts):
            name = f"{group}-{number}"
            if (place, number) == (1, 0):
                error = {
                    "prompt_id": name,
                    "group": group,
                    "prompt": "Too long.",
                    "error": "OutOfMemory: 9 GiB",
                }
                lines.append(error)
                continue
            n_own = n_tokens + int(rng.integers(-3, 4))
            tokens = ["<bos>", *(" " + str(word) for word in rng.choice(WORDS, n_own - 1))]
            tokens[3] = hostile or tokens[3]
            tokens[-4] = ".\n"
            n_prompt = n_own // 3
            projections = curves(rng, n_own, n_layers, len(traits), place - 0.5)
            projections[:, :3, -1] = np.nan  # the vector of the first layer has no length
            norms = np.exp(np.linspace(1, 4, len(points)))[None] * np.ones((n_own, 1))
            more = {"norms": norms.astype(np.float32)}
            if has_z:
                more["z"] = (projections / (0.05 * norms[:, :, None])).astype(np.float32)
            write_sequence(
                folder.path / f"captures/{name}.safetensors",
                n_prompt=n_prompt,
                projections=projections,
                points=points,
                traits=list(traits),
                more=more,
            )
            row = line(name, tokens, n_prompt, group=group)
            row["pieces"][-2] = {"hex": "f09f"}
            lines.append(row)
        results.mkdir(parents=True)
        with (results / "captures.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in lines)
        trials[slug] = {"model": "tiny", "group": group, "engine": "transformers"}
    _write_vectors(folder.path / "vectors" / "tiny", n_layers, traits)
    write_tables(folder, list(trials))
    _write_manifest(folder, trials)
    return folder


def curves(rng: np.random.Generator, n_tokens: int, n_layers: int, n_traits: int, shift: float) -> np.ndarray:
    """Return projections ``[T, P, V]`` that wander over tokens and grow over layers; the first token is an outlier."""
    walk = np.cumsum(rng.normal(0, 0.35, (n_tokens, 1, n_traits)), axis=0)
    depth = np.linspace(0, 1, 3 * n_layers)[None, :, None]
    drawn = rng.normal(0, 0.3, (n_tokens, 3 * n_layers, n_traits))
    values = (walk * 0.6 + shift) * depth**1.5 * 4 + drawn * (0.4 + 2 * depth)
    values[0] *= 40
    return values


def _write_vectors(folder: Path, n_layers: int, traits: tuple[str, ...]) -> None:
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True)
    points = [f"{layer}.residual_out" for layer in range(n_layers)]
    vectors = rng.normal(size=(1, len(traits), 8)).astype(np.float32)
    save_file(
        {"directions": vectors, "group_of_point": np.zeros(n_layers, np.int64)},
        folder / "directions.safetensors",
        metadata={"traits": json.dumps(list(traits)), "points": json.dumps(points)},
    )
    worth = {trait: {"mean_difference": _worth(trait, n_layers, place)} for place, trait in enumerate(traits)}
    write_json(folder / "validity.json", {"schema_version": 1, "definitions": {}, "traits": worth})
    units = vectors[0] / np.linalg.norm(vectors[0], axis=1, keepdims=True)
    with (folder / "superposition.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["trait", *traits])
        table.writerows([trait, *row] for trait, row in zip(traits, (units @ units.T).tolist(), strict=True))


def _worth(trait: str, n_layers: int, number: int) -> dict[str, Any]:
    """Return a record of validity; the second trait is no better than its null."""

    def accuracy(layer: int) -> float:
        if number == 1:
            return 0.52 + 0.02 * (layer % 3)
        return min(1.0, 0.55 + 0.4 * (layer + 1) / n_layers - 0.03 * number)

    def nulls(mean: float, p95: float) -> dict[str, Any]:
        return {"accuracy": {"n": 100, "mean": mean, "p95": p95, "p": 0.41 if number == 1 else 0.0099}}

    points = [
        {
            "point": f"{layer}.residual_out",
            "held_out": {
                "accuracy": None if (layer, number) == (0, 2) else accuracy(layer),
                "cohens_d": 2 * accuracy(layer) - 1,
                "auroc": accuracy(layer),
            },
            "permuted": nulls(0.5, 0.62),
            "random": nulls(0.52, 0.66 - 0.05 * layer / n_layers),
            "undefined_because": "the two sides do not differ there" if (layer, number) == (0, 2) else None,
        }
        for layer in range(n_layers)
    ]
    chosen = points[n_layers // 2]
    return {
        "trait": trait,
        "method": "mean_difference",
        "is_paired": True,
        "n_positive": 20,
        "n_negative": 20,
        "n_folds": 5,
        "seed": 0,
        "drop_massive": None,
        "chosen": chosen["point"],
        "nested": {
            "held_out": chosen["held_out"],
            "chosen_by_fold": [chosen["point"]] * 5,
            "permuted": nulls(0.5, 0.61),
        },
        "points": points,
    }


def write_tables(folder: RunFolder, slugs: list[str]) -> None:
    """Write what follows from the files of the sequences."""
    for slug in slugs:
        results = folder.trial(slug).results
        lines = results / "captures.jsonl"
        write_projections(results / "projections.parquet", read_captures(folder.path, lines))
        write_summary(results / "summary.csv", read_captures(folder.path, lines), DYNAMICS)
        write_index(results / "index.json", folder.path, read_lines(lines))


def _write_manifest(folder: RunFolder, trials: dict[str, dict[str, str]]) -> None:
    def sealed(slug: str) -> dict[str, Any]:
        files = sorted(folder.trial(slug).results.iterdir())
        return dict(seal(folder.path, path) for path in files)

    write_manifest(
        folder,
        RunManifest(
            run_id="r1",
            kind="trait-capture",
            name="traits of a tiny model",
            fingerprint="f" * 64,
            state=TrialState.DONE,
            created=NOW,
            updated=NOW,
            execution={},
            environment={"python": "3.11"},
            trials={
                slug: TrialRecord(
                    fingerprint="a" * 64, requested=asked, state=TrialState.DONE, artifacts=sealed(slug)
                )
                for slug, asked in trials.items()
            },
            artifacts=dict(
                seal(folder.path, path) for path in sorted((folder.path / "vectors").rglob("*.*"))
            ),
        ),
    )
