"""A model on an Ollama server: asked over its native API, loaded, watched and unloaded there."""
