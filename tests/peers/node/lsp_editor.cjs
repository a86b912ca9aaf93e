// The part of an editor, by VS Code's own vscode-jsonrpc: node lsp_editor.cjs ADDRESS COMMAND...
//
// It listens at ADDRESS, starts the language server with --pipe, and opens and changes a document.
"use strict";
const { spawn } = require("child_process");
const rpc = require("vscode-jsonrpc/node");

const [address, program, ...words] = process.argv.slice(2);

async function main() {
  const transport = await rpc.createClientPipeTransport(address);
  const options = [`--pipe=${address}`, `--clientProcessId=${process.pid}`];
  const server = spawn(program, [...words, ...options], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = new Promise((done) => server.on("close", done));
  const connection = rpc.createMessageConnection(...(await transport.onConnected()));
  const diagnostics = [];
  connection.onNotification("textDocument/publishDiagnostics", (params) => diagnostics.push(params));
  connection.listen();
  const root = { processId: process.pid, rootUri: null, capabilities: {} };
  const { serverInfo } = await connection.sendRequest("initialize", root);
  await connection.sendNotification("initialized", {});
  const uri = "file:///a";
  const textDocument = { uri, languageId: "plaintext", version: 1, text: "one TODO\ntwo" };
  await connection.sendNotification("textDocument/didOpen", { textDocument });
  const changed = { textDocument: { uri, version: 2 }, contentChanges: [{ text: "a b c" }] };
  await connection.sendNotification("textDocument/didChange", changed);
  const place = { textDocument: { uri }, position: { line: 0, character: 0 } };
  const { contents } = await connection.sendRequest("textDocument/hover", place);
  await connection.sendNotification("textDocument/didClose", { textDocument: { uri } });
  const shutdown = await connection.sendRequest("shutdown");
  await connection.sendNotification("exit");
  const status = await exited;
  console.log(JSON.stringify({ serverInfo, diagnostics, contents, shutdown, status }));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
