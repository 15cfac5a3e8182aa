"""The four experiments, as small as they come, on a tiny model: all of them in one folder of configuration."""

import json
import textwrap
from pathlib import Path

from tests.tiny_models import write_lens, write_model

_EXECUTION = (
    "{audit: {share: 0}, tracking: {wandb: 'off'}, engine: {batch_invariant: true}, memory_margin: null}"
)
_FILES = {
    "prompt-sweep.yaml": f"""
        kind: prompt-sweep
        name: prompt-sweep
        experiment:
          datasets: [facts, passages]
          defaults: {{max_new_tokens: {{closed: 3, open: 3}}}}
          sweep: {{models: [tiny], prompt_sets: [terse, polite], temps: [0.0]}}
          statistics: {{analyses: []}}
        execution: {_EXECUTION}
    """,
    "prompts/terse.yaml": "{control: control.txt, treatment: terse.txt}",
    "prompts/polite.yaml": "{control: control.txt, treatment: polite.txt}",
    "prompts/control.txt": "the cat is in the house",
    "prompts/terse.txt": "a cat",
    "prompts/polite.txt": "the big cat is in the red house and the dog is in the tree",
    "uncertainty-sweep.yaml": f"""
        kind: uncertainty-sweep
        name: uncertainty-sweep
        experiment:
          models: [tiny]
          datasets: [facts]
          items_per_dataset: 2
          asking: {{style: short, shots: 0}}
          max_new_tokens: 3
          sampling: {{samples_per_item: 2, temperature: 0.7}}
        execution: {_EXECUTION}
    """,
    "datasets/facts.yaml": "{type: closed, path: facts.jsonl}",
    "datasets/facts.jsonl": "\n".join(
        json.dumps(row)
        for row in (
            {"id": "cat", "question": "is the cat big", "answers": ["it is"]},
            {"id": "dog", "question": "is the dog red", "answers": ["it was", "red"]},
            {"id": "tree", "question": "is the tree in the city", "answers": ["far"]},
        )
    ),
    "datasets/passages.yaml": "{type: open, path: passages.jsonl}",
    "datasets/passages.jsonl": "\n".join(
        json.dumps(row)
        for row in (
            {"id": "ate", "context": "the dog ate a red cat", "question": "is it red", "answers": ["red"]},
            {"id": "far", "context": "the city is far", "question": "is it a cat", "answers": []},
        )
    ),
    "trait-capture.yaml": f"""
        kind: trait-capture
        name: trait-capture
        experiment:
          models: [tiny]
          datasets: [sure, inside]
          traits: [doubt]
          max_new_tokens: [3]
          vectors: {{nulls: 2, permutations: 9, folds: 3}}
          raw: {{layers: [1], dtype: float32}}
        execution: {_EXECUTION}
    """,
    "datasets/sure.yaml": "{format: prompts, path: sure.txt}",
    "datasets/sure.txt": "the cat is in\na dog ate the red\n",
    "datasets/inside.yaml": "{format: prompts, path: inside.txt}",
    "datasets/inside.txt": "a dog ate the red\n",
    "traits/doubt/positive.txt": """
        the cat saw a house and it was far
        a dog ran in a tree
        the big dog ate
        it was in the city
    """,
    "traits/doubt/negative.txt": """
        the name of the cat is X
        the name of the dog is X
        a red cat is a red cat
        the house is the house
    """,
    "best-of-k-sweep.yaml": f"""
        kind: best-of-k-sweep
        name: best-of-k-sweep
        experiment:
          models: [tiny]
          lenses: [patched]
          datasets: [texts, chats]
          k_values: [1, 2]
          positions: {{per_sequence: 2, min_pos: 2}}
          statistics: {{n_resamples: 20}}
        execution: {_EXECUTION[:-1]}, lens: {{vectors_per_chunk: 2}}}}
    """,
    "lenses/patched.yaml": "{path: ../fitted}",
    "datasets/texts.yaml": "{format: prompts, path: texts.txt}",
    "datasets/texts.txt": "the cat saw a big red house in the city\na dog ran far and it was in a tree\n",
    "datasets/chats.yaml": "{format: chats, path: chats.jsonl}",
    "datasets/chats.jsonl": json.dumps(
        {
            "messages": [
                {"role": "user", "content": "is it a dog"},
                {"role": "assistant", "content": "it is a cat"},
            ]
        }
    ),
}
KINDS = ("prompt-sweep", "uncertainty-sweep", "trait-capture", "best-of-k-sweep")


def write_sweeps(folder: Path) -> Path:
    """Write ``<kind>.yaml`` of each kind and all that they name; return the folder."""
    for name, text in _FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(textwrap.dedent(text).lstrip("\n"))
    write_lens(folder, *write_model(folder, context_tokens=1024))
    return folder
