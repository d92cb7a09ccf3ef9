"""The parts of ``pyzkserver.config``, which is what other modules import."""
