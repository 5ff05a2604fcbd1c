"""The Flower ClientApp as deployed: it relays to the agent's local address, which the brand's node config names.

Node config (set by the brand, never by the coordinator): `agent-url`, and `agent-token-file`, the path of the
file that holds the relay's token.
"""

from pathlib import Path

from flwr.app import Context

from client.errors import RefusalError
from client.http_port import AgentOverHttp
from client.port import AgentPort
from client.relay import build_client_app

AGENT_URL = "agent-url"
TOKEN_FILE = "agent-token-file"  # noqa: S105 - the name of a setting


class NodeConfigError(RefusalError):
    """The node's own configuration does not lead to an agent, so nothing of the brand takes part."""

    code = "node_misconfigured"


def agent_over_http(context: Context) -> AgentPort:
    """Return the agent that a node's configuration names.

    Raises:
        NodeConfigError: it names none, or the token can not be read.
    """
    config = context.node_config
    missing = [key for key in (AGENT_URL, TOKEN_FILE) if key not in config]
    if missing:
        raise NodeConfigError(f"The node config lacks {' and '.join(missing)}; start the SuperNode with it.")
    try:
        token = Path(str(config[TOKEN_FILE])).read_text().strip()
    except OSError as error:
        raise NodeConfigError(f"The relay's token can not be read ({type(error).__name__}).") from None
    return AgentOverHttp(str(config[AGENT_URL]), token)


app = build_client_app(agent_over_http)
