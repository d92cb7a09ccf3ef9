"""Interoperability: pyzkserver held against Apache's server and against clients that others wrote.

    pytest tests/interop                            what is quick; Debian's zookeeper and zookeeper-bin take part
    pytest tests/interop -m slow                    kazoo's whole test suite, random conversations
    pytest tests/interop -m "not slow and not interop"      needs neither Java nor any package of Debian's

With ZOOKEEPER_39_CLASSPATH naming the jars of Apache ZooKeeper 3.9, that release takes part as well, and
`--rewrite-transcripts` records its answers anew.  `--conversations` and `--first-seed` steer the random ones.

conversation.py plays scenarios (scenarios_*.py) against a server, calls.py encodes requests, replies.py puts
answers into words, apache.py starts Apache's servers and ours.py ours. transcripts/ holds what Apache 3.9 answered.
"""
