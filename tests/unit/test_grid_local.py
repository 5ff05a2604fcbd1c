"""The in-process grid: copies on the way in, no exception's words on the way out, replies that may be lost."""

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from server.local_grid import CLIENT_APP_RAISED, FIRST_NODE_ID, LocalGrid

PRIVATE = "customer ann@example.com is 34"


def client_app() -> ClientApp:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        array = message.content["arrays"]["x"].numpy()
        message.content["arrays"]["x"] = Array(array + 1)
        message.content["seen"] = ConfigRecord({"brand": str(context.node_config["brand"])})
        return Message(message.content, reply_to=message)

    @app.query("fail")
    def fail(message: Message, context: Context) -> Message:
        del message, context
        raise ValueError(PRIVATE)

    @app.query("stop")
    def stop(message: Message, context: Context) -> Message:
        del message, context
        raise KeyboardInterrupt

    return app


def grid(**options: object) -> LocalGrid:
    return LocalGrid(client_app(), [{"brand": "ant"}, {"brand": "bee"}], **options)  # type: ignore[arg-type]


def message(node: int, kind: str = "train") -> Message:
    content = RecordDict({"arrays": ArrayRecord({"x": Array(np.zeros(2))})})
    return Message(content, dst_node_id=node, message_type=kind, group_id="3")


def test_each_node_answers_for_itself_and_for_its_own_message() -> None:
    nodes = list(grid().get_node_ids())
    assert nodes == [FIRST_NODE_ID, FIRST_NODE_ID + 1]
    sent = [message(node) for node in nodes]
    replies = list(grid().send_and_receive(sent, timeout=1))
    assert [reply.metadata.src_node_id for reply in replies] == nodes
    assert [reply.content["seen"]["brand"] for reply in replies] == ["ant", "bee"]


def test_what_a_node_changes_stays_with_it() -> None:
    shared = RecordDict({"arrays": ArrayRecord({"x": Array(np.zeros(2))})})
    sent = [
        Message(shared, dst_node_id=node, message_type="train", group_id="")
        for node in (FIRST_NODE_ID, FIRST_NODE_ID + 1)
    ]
    replies = list(grid().send_and_receive(sent))
    for reply in replies:
        np.testing.assert_array_equal(reply.content["arrays"]["x"].numpy(), [1.0, 1.0])
    np.testing.assert_array_equal(shared["arrays"]["x"].numpy(), [0.0, 0.0])


def test_an_exception_becomes_an_error_reply_without_its_words() -> None:
    (reply,) = grid().send_and_receive([message(FIRST_NODE_ID, "query.fail")])
    assert reply.has_error()
    assert reply.error.code == CLIENT_APP_RAISED
    assert "raised" in str(reply.error.reason)
    assert PRIVATE not in str(reply.error.reason)


def test_a_message_to_an_unknown_node_is_an_error_reply() -> None:
    (reply,) = grid().send_and_receive([message(7)])
    assert reply.has_error()


def test_an_interrupt_is_not_taken_for_a_failed_node() -> None:
    with pytest.raises(KeyboardInterrupt):
        grid().send_and_receive([message(FIRST_NODE_ID, "query.stop")])


def test_a_reply_can_be_lost_and_is_pulled_once() -> None:
    lossy = grid(lost=lambda reply: reply.metadata.src_node_id == FIRST_NODE_ID)
    ids = list(lossy.push_messages([message(FIRST_NODE_ID), message(FIRST_NODE_ID + 1)]))
    assert len(set(ids)) == 2
    assert [reply.metadata.src_node_id for reply in lossy.pull_messages(ids)] == [FIRST_NODE_ID + 1]
    assert list(lossy.pull_messages(ids)) == []


def test_a_created_message_is_addressed_to_its_node() -> None:
    made = grid().create_message(RecordDict(), "train", FIRST_NODE_ID, "2", ttl=9.0)
    assert (made.metadata.dst_node_id, made.metadata.group_id, made.metadata.ttl) == (FIRST_NODE_ID, "2", 9.0)
