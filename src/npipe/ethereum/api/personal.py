"""The namespace personal, as in old geth: the accounts of this node. For its owner only.

The development accounts have no passwords and are never locked. Passwords are accepted, because the
methods have that parameter, and ignored. Nothing here is logged.
"""

from __future__ import annotations

from eth_keys import keys
from eth_keys.exceptions import BadSignature
from eth_keys.exceptions import ValidationError as KeyValidationError

from npipe.ethereum.chain.accounts import message_hash
from npipe.ethereum.errors import ChainError
from npipe.ethereum.node.node import Node
from npipe.ethereum.node.worker import CooperativeJob, on_worker
from npipe.ethereum.values.types import Address, Data, TransactionRequest, data, to_bytes
from npipe.rpc.service.context import Context

__all__ = ["Personal"]


class Personal:
    """The accounts of the node, and signing with them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._worker = node.worker

    def list_accounts(self) -> list[str]:
        """Return the addresses of the accounts whose keys the node has.

        Source: documentation of geth 1.13, namespace personal.
        """
        return [data(address) for address in self._node.accounts]

    def unlock_account(
        self, address: Address, password: str | None = None, duration: int | None = None
    ) -> bool:
        """Return true: the accounts of the node are always unlocked.

        Source: documentation of geth 1.13, namespace personal.
        """
        self._node.account(to_bytes(address))
        return True

    def lock_account(self, address: Address) -> bool:
        """Return false: the accounts of the node cannot be locked.

        Source: documentation of geth 1.13, namespace personal.
        """
        self._node.account(to_bytes(address))
        return False

    def sign(self, message: Data, address: Address, password: str | None = None) -> str:
        """Sign a message (EIP-191) with an account of the node. Returns 65 bytes in hex.

        Source: documentation of geth 1.13, namespace personal.
        """
        return self._node.account(to_bytes(address)).sign(to_bytes(message))

    def ec_recover(self, message: Data, signature: Data) -> str:
        """Return the address of the account that signed a message (EIP-191).

        Source: documentation of geth 1.13, namespace personal.
        """
        octets = to_bytes(signature)
        if len(octets) != 65 or octets[64] not in (27, 28):
            raise ChainError("invalid Ethereum signature (V is not 27 or 28)")
        try:
            signed = keys.Signature(octets[:64] + bytes([octets[64] - 27]))
            public = signed.recover_public_key_from_msg_hash(message_hash(to_bytes(message)))
        except (BadSignature, KeyValidationError) as error:
            raise ChainError("invalid signature") from error
        return data(public.to_canonical_address())

    @on_worker
    def send_transaction(
        self, context: Context, transaction: TransactionRequest, password: str | None = None
    ) -> CooperativeJob[str]:
        """Sign and send a transaction, as eth_sendTransaction does. Returns its hash.

        Source: documentation of geth 1.13, namespace personal.
        """
        with self._node.hub.caused_by(context):
            return data((yield from self._node.send(transaction)))
