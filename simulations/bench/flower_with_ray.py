"""Times no-op rounds in Flower's own simulation; run in a process of its own, as it never lets go of ray's.

Prints one line of JSON: milliseconds from the start until the ServerApp runs and the first replies are there, and
of each further round.
"""

import json
import sys
import time
from itertools import pairwise

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation


def main(nodes: int, rounds: int) -> None:
    """Run the rounds and print what they took."""
    client, server, times = ClientApp(), ServerApp(), [time.perf_counter()]

    @client.train()
    def echo(message: Message, _context: Context) -> Message:
        return Message(message.content, reply_to=message)

    @server.main()
    def serve(grid: Grid, _context: Context) -> None:
        content = RecordDict({"arrays": ArrayRecord([np.zeros(64)])})
        while len(list(grid.get_node_ids())) < nodes:
            time.sleep(0.01)
        for _ in range(rounds + 1):
            messages = [Message(content, node, "train") for node in grid.get_node_ids()]
            if len(list(grid.send_and_receive(messages))) != nodes:
                raise RuntimeError("A node did not answer.")
            times.append(time.perf_counter())

    run_simulation(server, client, nodes, backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}})
    steps = [1000 * (after - before) for before, after in pairwise(times)]
    sys.stdout.write(json.dumps({"start": steps[0], "rounds": steps[1:]}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
