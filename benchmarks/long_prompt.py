"""A system prompt as long as real ones are, made of the starter prompts."""

from overnight.spec.config_root import shipped_config


def long_treatment(n_words: int) -> str:
    """Return so many words of the shipped treatments, over and over."""
    texts = [
        path.read_text(encoding="utf-8")
        for path in sorted((shipped_config() / "prompts").glob("*.treatment.txt"))
    ]
    words = " ".join(texts).split()
    return " ".join((words * (1 + n_words // len(words)))[:n_words])
