"""The same inputs against the real `fal` under uvicorn and against `LocalServer`: what comes back must be equal."""
