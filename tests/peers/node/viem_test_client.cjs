// viem's client for test chains, in the mode of anvil or hardhat: node viem_test_client.cjs ADDRESS MODE
const { createTestClient, publicActions, walletActions, parseEther } = require("viem");
const { ipc } = require("viem/node");
const { finish } = require("./common.cjs");

const NOBODY = "0x00000000000000000000000000000000000000c0";
const CONTRACT = "0x00000000000000000000000000000000000000c1";
const WORD = "0x" + "00".repeat(31) + "2a";

async function main(address, mode) {
  const client = createTestClient({ mode, transport: ipc(address), pollingInterval: 50 })
    .extend(publicActions)
    .extend(walletActions);
  const [to] = await client.getAddresses();
  const told = {};

  const snapshot = await client.snapshot();
  await client.setBalance({ address: NOBODY, value: parseEther("1") });
  await client.setNonce({ address: NOBODY, nonce: 7 });
  await client.setCode({ address: CONTRACT, bytecode: "0x602a60005260206000f3" });
  await client.setStorageAt({ address: CONTRACT, index: 1, value: WORD });
  told.slot = await client.getStorageAt({ address: CONTRACT, slot: "0x1" });
  told.answer = (await client.call({ to: CONTRACT })).data;

  await client.impersonateAccount({ address: NOBODY });
  const hash = await client.sendTransaction({ account: NOBODY, chain: null, to, value: 1n });
  told.impersonated = (await client.waitForTransactionReceipt({ hash })).status;
  await client.stopImpersonatingAccount({ address: NOBODY });

  const before = await client.getBlock();
  await client.increaseTime({ seconds: 1000 });
  await client.mine({ blocks: 3, interval: 60 });
  const after = await client.getBlock();
  told.mined = after.number - before.number;
  told.seconds = after.timestamp - before.timestamp >= 1120n;
  await client.setNextBlockTimestamp({ timestamp: after.timestamp + 500n });
  await client.setNextBlockBaseFeePerGas({ baseFeePerGas: 123n });
  await client.setCoinbase({ address: NOBODY });
  await client.setBlockGasLimit({ gasLimit: 20000000n });
  await client.mine({ blocks: 1 });
  const made = await client.getBlock();
  told.made = [made.timestamp - after.timestamp, made.baseFeePerGas, made.gasLimit];

  await client.setAutomine(false);
  told.automine = await client.getAutomine();
  const waits = await client.sendTransaction({ account: to, chain: null, to: NOBODY, value: 1n });
  told.waiting = (await client.getTxpoolStatus()).pending;
  await client.dropTransaction({ hash: waits });
  told.left = (await client.getTxpoolStatus()).pending;
  await client.setAutomine(true);

  const { results } = await client.simulateCalls({
    account: to,
    calls: [{ to: CONTRACT }, { to: NOBODY, value: 1n }],
  });
  told.simulated = results.map((result) => result.status);
  await client.revert({ id: snapshot });
  told.reverted = await client.getBalance({ address: NOBODY });
  await client.mine({ blocks: 1 });
  await client.reset();
  told.height = await client.getBlockNumber({ cacheTime: 0 });
  return told;
}

finish(main(...process.argv.slice(2)));
