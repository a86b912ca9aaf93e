// ethers 6 against an Ethereum node's IPC endpoint: node ethers_roundtrip.cjs ADDRESS
const { IpcSocketProvider } = require("ethers");
const { BYTECODE, finish } = require("./common.cjs");

async function main(address) {
  // Without a cache: else a balance asked for again within 250 ms is the old one.
  const provider = new IpcSocketProvider(address, undefined, { cacheTimeout: -1 });
  const chainId = (await provider.getNetwork()).chainId;
  const [from, to] = await provider.send("eth_accounts", []);
  const signer = await provider.getSigner(from);
  const head = new Promise((resolve) => provider.on("block", resolve));
  const before = await provider.getBalance(to);
  const transfer = await (await signer.sendTransaction({ to, value: 1000n })).wait();
  const deployed = await (await signer.sendTransaction({ data: BYTECODE })).wait();
  const answer = await provider.call({ to: deployed.contractAddress });
  const result = {
    chainId,
    received: (await provider.getBalance(to)) - before,
    transferStatus: transfer.status,
    deployStatus: deployed.status,
    answer: BigInt(answer),
    head: await head,
    block: (await provider.getBlock(transfer.blockNumber)).hash === transfer.blockHash,
    unknown: await provider.send("eth_noSuchMethod", []).catch((error) => error.info.error.code),
  };
  provider.destroy();
  return result;
}

finish(main(process.argv[2]));
