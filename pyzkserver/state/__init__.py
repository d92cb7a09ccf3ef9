"""The replicated state machine: plain synchronous code without I/O, clocks or randomness.

``prepare`` turns requests into transactions, ``tree`` applies them, ``queries`` reads.
"""
