"""The apps that a gateway serves."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from fal_realtime import _checks as check
from fal_realtime._client import RealtimeClient

from ._types import AppEntry

_NAMESPACES = ("workflows", "comfy")
"""Before owner and alias, in the ids of such apps."""


@dataclass(frozen=True)
class App:
    """An app that is allowed."""

    app: str
    """Its id as it was given."""
    path: str | None
    """The path after it as it was given; None: `/realtime`."""
    whole: str
    """Its id with the path: what a `tokenProvider` is asked for."""
    root: str
    """Its id without anything after the alias."""

    @property
    def alias(self) -> str:
        """What fal's older token API names."""
        return self.root.rpartition("/")[2]


class AllowedApps:
    """The apps of a gateway, by what clients call them."""

    def __init__(self, client: RealtimeClient, entries: Collection[AppEntry]) -> None:
        check.instance("client", client, RealtimeClient, "a RealtimeClient")
        expected = "a collection of app ids, or of (app id, path)"
        check.instance("apps", entries, (list, tuple, set, frozenset), expected)
        if not entries:
            message = f"apps must be {expected}, not empty: nothing would be allowed"
            raise ValueError(message)
        self.all = [_app(client, entry) for entry in entries]
        self._named = {app.whole: app for app in self.all}
        self._named |= {app.app: app for app in self.all if app.path is None}

    def named(self, name: object) -> App | None:
        """The app that a client means by its id, with the path or, where that is `/realtime`, without."""
        return self._named.get(name) if isinstance(name, str) else None

    def with_alias(self, alias: object) -> App | None:
        """The app of this alias, which says everything if no other owner's has the same."""
        found = {app.root: app for app in self.all if app.alias == alias}
        return next(iter(found.values())) if len(found) == 1 else None

    def holds_path(self, path: str) -> bool:
        """Whether a path of an HTTP address, without its first slash, is that of an allowed app or below it."""
        return any(path == app.root or path.startswith(f"{app.root}/") for app in self.all)


def _app(client: RealtimeClient, entry: AppEntry) -> App:
    app, path = entry if isinstance(entry, tuple) else (entry, None)
    # The native core knows what ids mean; nothing is opened.
    whole = client.connect(app, path=path).app
    segments = whole.split("/")
    length = 3 if segments[0] in _NAMESPACES else 2
    return App(app, path, whole, "/".join(segments[:length]))
