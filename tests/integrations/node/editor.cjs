// VS Code's part, by its own vscode-jsonrpc: node editor.cjs ADDRESS PROGRAM ARGUMENT...
//
// It listens at ADDRESS, starts the language server with --pipe, and asks for a hover.
"use strict";
const { spawn } = require("child_process");
const rpc = require("vscode-jsonrpc/node");

const [address, program, ...words] = process.argv.slice(2);

async function main() {
  const transport = await rpc.createClientPipeTransport(address);
  const options = [`--pipe=${address}`, `--clientProcessId=${process.pid}`];
  const server = spawn(program, [...words, ...options], { stdio: ["ignore", "pipe", "inherit"] });
  let printed = "";
  server.stdout.on("data", (text) => (printed += text));
  const exited = new Promise((done) => server.on("close", done));
  const connection = rpc.createMessageConnection(...(await transport.onConnected()));
  const messages = [];
  connection.onNotification("window/logMessage", ({ message }) => messages.push(message));
  connection.listen();
  const root = { processId: process.pid, rootUri: null, capabilities: {} };
  const { serverInfo } = await connection.sendRequest("initialize", root);
  await connection.sendNotification("initialized", {});
  const hovers = [];
  for (const line of [7, 8]) {
    const place = { textDocument: { uri: "file:///x" }, position: { line, character: 0 } };
    hovers.push((await connection.sendRequest("textDocument/hover", place)).contents);
  }
  await connection.sendRequest("shutdown");
  await connection.sendNotification("exit");
  const status = await exited;
  console.log(JSON.stringify({ serverInfo, hovers, messages, status, printed: printed.trim() }));
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
