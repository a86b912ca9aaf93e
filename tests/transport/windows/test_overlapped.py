"""npipe.transport.windows.overlapped, on the fake kernel."""

from __future__ import annotations

from npipe.transport.windows.overlapped import Operation, State
from transport.windows.fake_kernel32 import FakeKernel32


def test_an_operation_that_fails_at_once_is_idle_again(fake: FakeKernel32) -> None:
    """Its status says "pending" for ever: that is not looked at."""
    code, event = fake.CreateEvent()
    assert not code
    operation = Operation(fake, 12345, event)
    code = operation.begin(lambda handle, reference: fake._fail(reference, 6))
    assert (code, operation.state, operation.result) == (6, State.IDLE, (6, 0))
    assert operation.cancel() == (6, 0)
    fake.CloseHandle(event)
