"""Interoperability: pyzkserver held against Apache's server and against clients that others wrote."""
