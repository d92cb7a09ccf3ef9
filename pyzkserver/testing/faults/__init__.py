"""Faults on demand: rules that make a server fail for some requests, events or connections."""
