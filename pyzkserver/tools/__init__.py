"""Tools for data directories: ``pyzkserver log``, ``snapshot``, ``purge``, ``dump`` and ``restore``.

One module for each, and small ones that they share.  Nothing here serves, and nothing here is needed to serve.
"""
