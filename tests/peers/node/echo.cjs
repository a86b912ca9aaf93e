// Node's own net module as a peer: on a Unix socket, or on a named pipe when run on Windows.
//
//   node echo.cjs serve ADDRESS   echoes each connection until its end of input, then ends it
//   node echo.cjs dial ADDRESS    sends its standard input, prints what comes back
//
// It prints "ready" on standard error once the address is open, and runs until it is killed.
const fs = require("fs");
const net = require("net");

const [role, address] = process.argv.slice(2);
// On a named pipe, libuv cannot end one direction only.
const canHalfClose = process.platform !== "win32";

function fail(error) {
  console.error(error);
  process.exit(1);
}

if (role === "serve") {
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  server.on("error", fail);
  server.listen(address, () => console.error("ready"));
} else {
  const input = fs.readFileSync(0);
  const socket = net.connect({ path: address, allowHalfOpen: true });
  let received = 0;
  socket.on("error", fail);
  socket.on("data", (chunk) => {
    process.stdout.write(chunk);
    received += chunk.length;
    if (!canHalfClose && received === input.length) socket.end();
  });
  socket.write(input);
  if (canHalfClose) socket.end();
}
