"""The dashboard: what runs in the browser (``static/``), and the page that begins it.

It has no build step: the ES modules that are written are those that are served, and the few libraries lie beside them
(``static/vendor``, made by ``scripts/vendor``). It knows the server only by its public HTTP API.
"""

from openrft.dashboard.assets import Asset, Assets

__all__ = ["Asset", "Assets"]
