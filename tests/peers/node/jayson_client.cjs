// jayson's client on a local socket: node jayson_client.cjs ADDRESS
const jayson = require("jayson/promise");
const { finish } = require("./common.cjs");

async function main(path) {
  const client = jayson.Client.tcp({ path });
  const positional = await client.request("math_subtract", [42, 23]);
  const named = await client.request("math_subtract", { subtrahend: 23, minuend: 42 });
  const missing = await client.request("math_nothing", []);
  const batch = await client.request([
    client.request("math_subtract", [1, 1], undefined, false),
    client.request("math_subtract", [3, 1], undefined, false),
  ]);
  return {
    positional: positional.result,
    named: named.result,
    missing: missing.error.code,
    batch: batch.map((reply) => reply.result),
  };
}

finish(main(process.argv[2]));
