"""Recording what a connection carries, and playing it again.

``tape.py``      the file: one line of JSON for each message
``recorder.py``  from chunks of bytes to the lines of a tape, in a thread of its own
``relay.py``     a second address for a server, whose traffic a recorder may see
``tap.py``       a relay at the address of a live server (Unix sockets only)
``replay.py``    a tape played against a server: the recorded client
``playback.py``  a tape played to clients: the recorded server
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
