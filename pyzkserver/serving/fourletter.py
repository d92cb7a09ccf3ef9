WORDS = frozenset({b"ruok", b"srvr"})
DEFAULT_TRACE_MASK = 0


def answer(service, word, argument, asker):
    return b"imok"
