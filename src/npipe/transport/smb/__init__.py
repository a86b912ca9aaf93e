r"""Remote named pipes over SMB: connecting to ``\\host\pipe\name``, and serving behind Samba.

Importing this imports no SMB library; ``connect`` does, and needs the extra "smb".

==================  ===========================================================================
``options.py``      ``Smb``: the user, the password, what is asked of the connection
``dial.py``         ``connect``: the deadline, the retries, for both flavours
``handshake.py``    from TCP to an open pipe; the only file that uses smbprotocol
``messages.py``     the SMB2 messages of an open pipe, as bytes
``sealing.py``      how each of them is encrypted, or signed, and checked
``channel.py``      one open pipe as a state machine, without I/O
``connection.py``   a ``Connection`` over a channel, for threads (asyncio: ``npipe.aio.smb``)
``status.py``       what an NTSTATUS becomes: an exception, or the end of the stream
``npa.py``          what smbd and a server behind it say to each other, as bytes
``samba.py``        ``SambaListener``: a server on this system that Samba's clients reach
==================  ===========================================================================
"""

from __future__ import annotations

from npipe.transport.smb.options import Smb

__all__ = ["Smb"]
