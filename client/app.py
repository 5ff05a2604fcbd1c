"""The Flower ClientApp as deployed: it relays to the agent's local address, which the brand's node config names.

Node config (set by the brand, never by the coordinator): `agent-url`, and `agent-token-file`, the path of the
file that holds the relay's token.
"""

from pathlib import Path

from flwr.app import Context

from client.http_port import AgentOverHttp
from client.port import AgentPort
from client.relay import build_client_app


def agent_over_http(context: Context) -> AgentPort:
    """Return the agent that a node's configuration names."""
    config = context.node_config
    token = Path(str(config["agent-token-file"])).read_text().strip()
    return AgentOverHttp(str(config["agent-url"]), token)


app = build_client_app(agent_over_http)
