"""What the tests of the configuration share: a good address, and how a refusal reads."""

import pytest

from pyzkserver.config import Config, load
from pyzkserver.errors import ConfigError

__all__ = ["ADDRESS", "keyword_refusal", "refusal"]

# What a file needs so that nothing is noted about addresses.
ADDRESS = ("clientPort=2181", "clientPortAddress=127.0.0.1")


def refusal(*args, **kwargs):
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return str(caught.value)


def keyword_refusal(**kwargs):
    with pytest.raises(ConfigError) as caught:
        Config(**kwargs)
    return str(caught.value)
