// jayson's server on a local socket: node jayson_server.cjs ADDRESS
const jayson = require("jayson");

const server = new jayson.Server({
  subtract: (params, done) => done(null, params[0] - params[1]),
  fail: (_, done) => done({ code: 444, message: "testError", data: { reason: "asked" } }),
});
server.tcp().listen(process.argv[2], () => console.log("listening"));
