"""Spans and metrics of a client's connections for OpenTelemetry.

```python
from fal_realtime import RealtimeClient
from fal_realtime.opentelemetry import instrument

client = instrument(RealtimeClient())
```

Each attempt to open is a span of kind `CLIENT`, whose `traceparent` goes out with the handshake; each request is one.
Needs `pip install opentelemetry-api`, and the SDK that the program has configured. What is not instrumented costs
nothing.
"""

from __future__ import annotations

try:
    import opentelemetry.trace  # noqa: F401 - for the error
except ImportError as _error:
    _missing = f"fal_realtime.opentelemetry needs OpenTelemetry: pip install opentelemetry-api ({_error})"
    raise ImportError(_missing) from _error

from ._instrument import instrument

__all__ = ["instrument"]
