"""A language server for plain text that an editor reaches over a pipe, with pygls.

It marks the first TODO in each line, and shows the number of words of a line on hover. Needs
``pip install "npipe[pygls]"``. An editor starts it, as VS Code does with ``TransportKind.pipe``:

    python language_server.py --pipe=NAME

The editor listens at NAME and the server connects to it. The messages do not use standard output,
so the server may print to it. Without ``--pipe`` the server uses the standard streams, as usual.
"""

from lsprotocol import types
from pygls.lsp.server import LanguageServer

from npipe.integrations.pygls import start_server

server = LanguageServer("todo", "1")


@server.feature(types.TEXT_DOCUMENT_DID_OPEN)
def did_open(params: types.DidOpenTextDocumentParams) -> None:
    mark(params.text_document.uri)


@server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
def did_change(params: types.DidChangeTextDocumentParams) -> None:
    mark(params.text_document.uri)


@server.feature(types.TEXT_DOCUMENT_HOVER)
def hover(params: types.HoverParams) -> types.Hover:
    lines = server.workspace.get_text_document(params.text_document.uri).lines
    number = params.position.line
    words = lines[number].split() if number < len(lines) else []
    return types.Hover(contents=f"{len(words)} words")


def mark(uri: str) -> None:
    """Send the editor the place of the first TODO in each line of a document."""
    diagnostics = []
    for number, line in enumerate(server.workspace.get_text_document(uri).lines):
        start = line.find("TODO")
        if start >= 0:
            place = types.Range(types.Position(number, start), types.Position(number, start + 4))
            severity = types.DiagnosticSeverity.Information
            diagnostics.append(types.Diagnostic(place, "to do", severity=severity, source="todo"))
    server.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, diagnostics))


if __name__ == "__main__":
    start_server(server)
