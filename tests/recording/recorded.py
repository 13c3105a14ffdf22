"""What a recording holds, as the public `mcap` package reads it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.exceptions import EndOfFile
from mcap.reader import make_reader
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader


@dataclass(frozen=True)
class Recorded:
    """One message of a recording."""

    direction: str
    kind: str
    data: bytes
    time: int
    app: str

    @property
    def event(self) -> dict[str, Any]:
        """The event of a control message."""
        assert self.kind == "control"
        event: dict[str, Any] = json.loads(self.data)
        return event


def _of(channel: Channel, message: Message) -> Recorded:
    about = channel.metadata
    assert message.log_time == message.publish_time
    return Recorded(about["direction"], about["kind"], message.data, message.log_time, about["app"])


def read_whole(path: Path) -> list[Recorded]:
    """What is in a file that was ended, by its index."""
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        messages = [_of(channel, message) for _, channel, message in reader.iter_messages(log_time_order=False)]
        assert summary.statistics.message_count == len(messages)
        return messages


def read_what_is_there(path: Path) -> list[Recorded]:
    """What is in a file that may end anywhere."""
    channels: dict[int, Channel] = {}
    messages = []
    with path.open("rb") as file:
        try:
            for record in StreamReader(file).records:
                if isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    messages.append(_of(channels[record.channel_id], record))
        except EndOfFile:
            pass
    return messages


def data(messages: list[Recorded]) -> list[tuple[str, str, bytes]]:
    """The messages without events and times."""
    return [(each.direction, each.kind, each.data) for each in messages if each.kind != "control"]


def events(messages: list[Recorded]) -> list[dict[str, Any]]:
    """The events alone."""
    return [each.event for each in messages if each.kind == "control"]
