// Node's own http client and server on a pipe.
//   node http.cjs serve ADDRESS            answers each request with its method, path and body
//   node http.cjs request ADDRESS PATH     prints status, headers and length of an echoed body
"use strict";
const http = require("http");
const [role, socketPath, path] = process.argv.slice(2);

function read(stream, done) {
  const parts = [];
  stream.on("data", (part) => parts.push(part));
  stream.on("end", () => done(Buffer.concat(parts)));
}

if (role === "serve") {
  const server = http.createServer((request, response) => {
    read(request, (body) => {
      response.setHeader("x-host", request.headers.host);
      response.end(`${request.method} ${request.url} ${body.length}`);
    });
  });
  server.listen(socketPath, () => console.log("ready"));
} else {
  const body = Buffer.alloc(200000, "n");
  const options = { socketPath, path, method: "POST", headers: { host: "node" } };
  const request = http.request(options, (response) => {
    read(response, (text) => {
      const told = { status: response.statusCode, length: text.length, same: text.equals(body) };
      console.log(JSON.stringify(told));
    });
  });
  request.end(body);
}
