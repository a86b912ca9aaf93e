"""What replay and playback need to know of a message."""

from __future__ import annotations

from npipe.recording.messages import calls, is_call, is_reply, items, question, with_values


def test_kinds_of_messages() -> None:
    call, notification = {"id": 1, "method": "m"}, {"method": "m"}
    reply, error = {"id": 1, "result": None}, {"id": None, "error": {}}
    assert [is_call(each) for each in (call, notification, reply, error)] == [True, *[False] * 3]
    assert [is_reply(each) for each in (call, notification, reply, error)] == [
        *(False, False),
        *(True, True),
    ]
    assert list(calls([call, notification, 5])) == [call]
    assert items("text") == items([]) == []


def test_the_same_question_has_the_same_text() -> None:
    one = question({"id": 1, "method": "m", "params": [{"a": 1, "b": 2}]})
    assert one == question({"id": 2, "method": "m", "params": [{"b": 2, "a": 1}]})
    assert one != question({"id": 1, "method": "m", "params": [{"a": 1}]})
    assert question({"id": 1, "method": "m"}) == question({"id": 1, "method": "m", "params": []})


def test_values_are_exchanged_at_any_depth_and_whole_only() -> None:
    value = {"0x1": ["0x1", {"a": "0x1", "b": "0x11"}, 1, None]}
    assert with_values(value, {"0x1": "0x2"}) == {
        "0x1": ["0x2", {"a": "0x2", "b": "0x11"}, 1, None]
    }
