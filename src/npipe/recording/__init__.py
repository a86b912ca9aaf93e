"""Record the messages of connections and replay them.

``tape.py``      the file format: one line of JSON per message
``recorder.py``  converts chunks of bytes to events of a tape, in its own thread
``relay.py``     a second address for a server; passes its traffic to a recorder
``tap.py``       a relay at the address of a running server (Unix sockets only)
``replay.py``    sends the client's messages of a tape to a server
``playback.py``  answers clients with the server's messages of a tape
"""

from __future__ import annotations

from npipe.recording.playback import Playback
from npipe.recording.recorder import Recorder
from npipe.recording.relay import Relay
from npipe.recording.replay import Difference, Report, replay
from npipe.recording.tape import Event, Tape, TapeFile, load

__all__ = [
    "Difference",
    "Event",
    "Playback",
    "Recorder",
    "Relay",
    "Report",
    "Tape",
    "TapeFile",
    "load",
    "replay",
]
