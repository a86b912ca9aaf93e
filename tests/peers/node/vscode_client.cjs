// vscode-jsonrpc (what language clients use) on a local socket: node vscode_client.cjs ADDRESS
const net = require("net");
const rpc = require("vscode-jsonrpc/node");
const { finish } = require("./common.cjs");

async function main(address) {
  const socket = net.createConnection(address);
  const connection = rpc.createMessageConnection(socket, socket);
  connection.onRequest("client/double", (value) => value * 2);
  connection.listen();
  const positional = await connection.sendRequest("math_subtract", 42, 23);
  const named = await connection.sendRequest(
    "math_subtract",
    rpc.ParameterStructures.byName,
    { subtrahend: 23, minuend: 42 },
  );
  const missing = await connection.sendRequest("math_nothing").catch((error) => error.code);
  const reverse = await connection.sendRequest("math_callBack", 21);
  const source = new rpc.CancellationTokenSource();
  const waiting = connection.sendRequest("math_waitForCancel", source.token);
  await connection.sendRequest("math_waitingNow");
  source.cancel();
  const cancelled = await waiting.catch((error) => error.code);
  connection.dispose();
  socket.destroy();
  return { positional, named, missing, reverse, cancelled };
}

finish(main(process.argv[2]));
