"""A language server, started by the tests as an editor starts one."""

from __future__ import annotations

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from npipe.integrations.pygls import start_server

server = LanguageServer("demo", "v1")


@server.feature(types.TEXT_DOCUMENT_HOVER)
def hover(ls: LanguageServer, params: types.HoverParams) -> types.Hover:
    print("printed", flush=True)
    message = types.LogMessageParams(types.MessageType.Info, "hovering")
    ls.window_log_message(message)
    return types.Hover(contents=f"line {params.position.line}")


if __name__ == "__main__":
    start_server(server)
