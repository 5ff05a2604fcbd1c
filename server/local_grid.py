"""An in-process Flower grid: the same ServerApp, strategy and ClientApp as deployed, without sockets."""

import copy
import uuid
from collections.abc import Callable, Iterable, Mapping

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

FIRST_NODE_ID = 1001
CLIENT_APP_RAISED = 2


class LocalGrid(Grid):
    """Runs a ClientApp in this process, once per message, one node per entry of `node_configs`.

    Contents are copied on the way in, as a wire would, so that no node sees another's changes. An exception
    in the ClientApp becomes an error reply that names its type and nothing else.

    Args:
        client_app: the ClientApp.
        node_configs: each node's own configuration; the coordinator can not read or change it.
        lost: says of a message whether its reply is lost on the way, to try faults out.
    """

    def __init__(
        self,
        client_app: ClientApp,
        node_configs: Iterable[Mapping[str, str]],
        *,
        lost: Callable[[Message], bool] = lambda _message: False,
    ) -> None:
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        self._run = Run.create_empty(1)
        self._client_app = client_app
        self._lost = lost
        self._replies: dict[str, Message] = {}
        self._contexts = {
            node: Context(1, node, dict(config), RecordDict(), {})
            for node, config in enumerate(node_configs, start=FIRST_NODE_ID)
        }

    def set_run(self, run: Run) -> None:
        """Set the run that messages belong to."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that messages belong to."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Return a message to one node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the nodes' ids."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Deliver messages and return the ids to pull their replies by."""
        ids = []
        for message in messages:
            ids.append(str(uuid.uuid4()))
            message.metadata.__dict__["_message_id"] = ids[-1]  # as Flower's own grids do: there is no setter
            reply = self._deliver(message)
            if not self._lost(reply):
                self._replies[ids[-1]] = reply
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there."""
        return [self._replies.pop(key) for key in message_ids if key in self._replies]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Deliver messages and return their replies; nothing is waited for."""
        del timeout
        return self.pull_messages(self.push_messages(messages))

    def _deliver(self, message: Message) -> Message:
        delivered = Message(
            copy.deepcopy(message.content),
            message.metadata.dst_node_id,
            message.metadata.message_type,
            group_id=message.metadata.group_id,
        )
        delivered.metadata.__dict__["_message_id"] = message.metadata.message_id
        try:
            return self._client_app(delivered, self._contexts[message.metadata.dst_node_id])
        except Exception as error:
            reason = f"the ClientApp raised {type(error).__name__}"
            return Message(Error(code=CLIENT_APP_RAISED, reason=reason), reply_to=delivered)
