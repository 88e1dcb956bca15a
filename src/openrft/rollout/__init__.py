"""Producing completions.

- ``prompt``, ``collect``   messages → prompt tokens → completions → grades → groups
- ``native``                the engine in this process: same model code and tensors as training
- ``scripted``              an engine that answers by script, for tests
- ``chat``                  a conversation with an engine

Beneath the native engine: ``wave`` (the decoding loop), ``forward`` (the policy's forward pass), ``kv_cache``,
``sampling``, ``noise``, ``stops``.
"""
