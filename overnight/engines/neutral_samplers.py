"""The samplers of llama.cpp that are no part of what is asked for, switched off."""

# The distribution is the one that was asked for: every sampler that llama.cpp would add by default is off.
NEUTRAL = {
    "min_p": 0.0,
    "typical_p": 1.0,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "dry_multiplier": 0.0,
    "xtc_probability": 0.0,
    "samplers": ["top_k", "top_p", "temperature"],
}
