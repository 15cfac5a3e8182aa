"""The values of golden.md, X3, that concern the prompt sweep and are not tested beside their functions."""

import pytest

from overnight.ids import trial_slug
from overnight.spec.pricing import PricingSpec


def test_item_7_the_price_of_a_run() -> None:
    # 44.8 M x .15 + 8.3 M x .60 = 6.72 + 4.98 = 11.70; the original's batch discount of one half makes 5.85.
    pricing = PricingSpec(input_per_million=0.15, output_per_million=0.60, batch_discount=0.5)
    assert pricing.rates(None).usd(44_800_000, 8_300_000) == pytest.approx(5.85, abs=1e-9)


def test_item_8_the_slug_begins_as_that_of_old_runs() -> None:
    slug = trial_slug(
        model="llama", prompt_set="terse", top_p=1.0, top_k=50, closed=1024, opened=1024, fingerprint="f" * 64
    )
    assert slug == "llama-terse-tp1-tk50-mx1024-1024-ffffffff"
