"""The namespace eth, fourth part: gas prices, now and in past blocks."""

from __future__ import annotations

from typing import Any

from npipe.ethereum.chain.block import MinedBlock
from npipe.ethereum.chain.encode import gas_price
from npipe.ethereum.errors import ChainError, UnknownBlock
from npipe.ethereum.node.node import Node, Place
from npipe.ethereum.node.worker import on_worker
from npipe.ethereum.values.defaults import TIP
from npipe.ethereum.values.types import BlockNumber, Count, quantity, to_int

__all__ = ["EthFees"]

_MAX_BLOCKS = 1_024  # as geth
_MAX_PERCENTILES = 100


class EthFees:
    """Suggested gas prices, and the fees of past blocks."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    @on_worker
    def gas_price(self) -> str:
        """Return a gas price that the next block accepts, in wei per unit of gas, in hex.

        Source: execution-apis.
        """
        return quantity(self._node.gas_price())

    def max_priority_fee_per_gas(self) -> str:
        """Return a sufficient priority fee, in wei per unit of gas, in hex.

        Source: execution-apis.
        """
        return quantity(TIP)

    @on_worker
    def base_fee(self) -> str:
        """Return the base fee of the next block, in wei per unit of gas, in hex (EIP-1559).

        Source: execution-apis.
        """
        return quantity(self._node.chain.next_base_fee())

    @on_worker
    def blob_base_fee(self) -> str:
        """Return the blob base fee of the next block, in wei per unit of blob gas (EIP-4844).

        Source: execution-apis.
        """
        return quantity(self._node.chain.next_blob_base_fee())

    @on_worker
    def fee_history(
        self,
        block_count: Count,
        newest_block: BlockNumber,
        reward_percentiles: list[float] | None = None,
    ) -> dict[str, Any]:
        """Return the base fees, gas used ratios and priority fees of a range of blocks.

        The range ends with ``newest_block``. Fees are in wei per unit of gas, in hex. There is one
        more base fee than there are blocks: the last one is that of the block after the range.
        Source: execution-apis.
        """
        percentiles = reward_percentiles or []
        _check_percentiles(percentiles)
        count = min(_number(block_count), _MAX_BLOCKS)
        newest = self._newest(newest_block)
        last = self._node.head.number if newest.mined is None else newest.mined.number
        first = max(0, last + 1 - count)
        blocks = self._node.chain.blocks[first : last + 1] if count else []
        following = self._node.chain.by_number(last + 1)
        chain = self._node.chain
        next_blob_fee = chain.blob_base_fee(following.header) if following else None
        next_fee = _base_fee(following) if following else chain.next_base_fee()
        history: dict[str, Any] = {
            "oldestBlock": quantity(first if count else 0),
            "baseFeePerGas": [quantity(_base_fee(mined)) for mined in blocks],
            "gasUsedRatio": [mined.header.gas_used / mined.header.gas_limit for mined in blocks],
            "baseFeePerBlobGas": [quantity(chain.blob_base_fee(mined.header)) for mined in blocks],
            "blobGasUsedRatio": [
                getattr(mined.header, "blob_gas_used", 0) / mined.blobs.max_gas for mined in blocks
            ],
        }
        if count:
            history["baseFeePerGas"].append(quantity(next_fee))
            history["baseFeePerBlobGas"].append(
                quantity(chain.next_blob_base_fee() if next_blob_fee is None else next_blob_fee)
            )
        if percentiles and count:
            history["reward"] = [_rewards(mined, percentiles) for mined in blocks]
        return history

    def _newest(self, wanted: BlockNumber) -> Place:
        try:
            return self._node.place(wanted)
        except UnknownBlock:
            if len(str(wanted)) == 66:
                raise
            raise ChainError(
                f"request beyond head block: requested {to_int(wanted)}, "
                f"head {self._node.head.number}"
            ) from None


def _base_fee(mined: MinedBlock) -> int:
    """Return a block's base fee, in wei; 0 before London."""
    return int(getattr(mined.header, "base_fee_per_gas", 0))


def _number(count: Count) -> int:
    """Parse a number in hex or decimal; "" is 0."""
    return (
        count if isinstance(count, int) else int(count or "0", 16 if "x" in count.lower() else 10)
    )


def _check_percentiles(percentiles: list[float]) -> None:
    if len(percentiles) > _MAX_PERCENTILES:
        raise ChainError(f"invalid reward percentile: over the query limit {_MAX_PERCENTILES}")
    before = -1.0
    for at, percentile in enumerate(percentiles):
        if not 0 <= percentile <= 100:
            raise ChainError(f"invalid reward percentile: {percentile:f}")
        if percentile <= before:
            raise ChainError(
                f"invalid reward percentile: #{at - 1}:{before:f} >= #{at}:{percentile:f}"
            )
        before = percentile


def _rewards(mined: MinedBlock, percentiles: list[float]) -> list[str]:
    """Return the priority fees at percentiles of a block's gas, transactions ordered by fee."""
    base_fee = _base_fee(mined)
    tips = sorted(
        (gas_price(item, mined) - base_fee, mined.gas_used(index))
        for index, item in enumerate(mined.block.transactions)
    )
    if not tips:
        return ["0x0" for _ in percentiles]
    rewards, at, sum_used = [], 0, tips[0][1]
    for percentile in percentiles:
        threshold = mined.header.gas_used * percentile / 100
        while sum_used < threshold and at < len(tips) - 1:
            at += 1
            sum_used += tips[at][1]
        rewards.append(quantity(tips[at][0]))
    return rewards
