// What the round trips of ethers and viem share: a contract, and how a result gets out.
//
// The contract answers 42 to any call. Init code: copy the 10 bytes at offset 12 to memory and
// return them; run-time code: store 0x2a at 0 and return 32 bytes.
exports.BYTECODE = "0x600a600c600039600a6000f3" + "602a60005260206000f3";

exports.finish = (work) =>
  work.then(
    (result) => {
      const plain = (_, value) => (typeof value === "bigint" ? "0x" + value.toString(16) : value);
      process.stdout.write(JSON.stringify(result, plain) + "\n", () => process.exit(0));
    },
    (error) => {
      console.error(error);
      process.exit(1);
    },
  );
