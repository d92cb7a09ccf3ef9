"""Servers for tests: hosted for synchronous code, and as pytest fixtures."""
