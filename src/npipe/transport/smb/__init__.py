r"""Remote named pipes over SMB: connecting to ``\\host\pipe\name``, and serving behind Samba.

Importing this imports no SMB library; ``connect`` does, and needs the extra "smb".

==================  ===========================================================================
``options.py``      ``Smb``: the user, the password, options of the connection
``dial.py``         ``connect``: the deadline and the retries, for threads and asyncio
``handshake.py``    from TCP to an open pipe; the only file that uses smbprotocol
``messages.py``     the SMB2 messages of an open pipe, as bytes
``sealing.py``      encryption or signing of each message
``channel.py``      one open pipe as a state machine, without I/O
``connection.py``   a ``Connection`` over a channel, for threads (asyncio: ``npipe.aio.smb``)
``status.py``       converts an NTSTATUS to an exception or the end of the stream
``npa.py``          the messages between smbd and a server behind it, as bytes
``samba.py``        ``SambaListener``: a listener for the clients of this computer's Samba
==================  ===========================================================================
"""

from __future__ import annotations

from npipe.transport.smb.options import Smb

__all__ = ["Smb"]
