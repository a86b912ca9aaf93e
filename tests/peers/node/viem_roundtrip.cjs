// viem 2 against an Ethereum node's IPC endpoint: node viem_roundtrip.cjs ADDRESS
const { createPublicClient, createWalletClient } = require("viem");
const { ipc } = require("viem/node");
const { BYTECODE, finish } = require("./common.cjs");

async function main(address) {
  const transport = ipc(address);
  const reader = createPublicClient({ transport, pollingInterval: 50 });
  const wallet = createWalletClient({ transport });
  const chainId = await reader.getChainId();
  const [from, to] = await wallet.getAddresses();
  const head = new Promise((resolve, reject) =>
    reader.watchBlockNumber({ onBlockNumber: resolve, onError: reject }),
  );
  const before = await reader.getBalance({ address: to });
  const send = async (transaction) => {
    const hash = await wallet.sendTransaction({ account: from, chain: null, ...transaction });
    return reader.waitForTransactionReceipt({ hash });
  };
  const transfer = await send({ to, value: 1000n });
  const deployed = await send({ data: BYTECODE });
  const { data } = await reader.call({ to: deployed.contractAddress });
  return {
    chainId,
    received: (await reader.getBalance({ address: to })) - before,
    transferStatus: transfer.status,
    deployStatus: deployed.status,
    answer: BigInt(data),
    head: await head,
    block: (await reader.getBlock({ blockNumber: transfer.blockNumber })).hash === transfer.blockHash,
  };
}

finish(main(process.argv[2]));
