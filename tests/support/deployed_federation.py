"""A federation of two brands on one machine, every part its own process, set up as the deployment guide says."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import tomli_w
from deployed_certificates import (
    AUTHORITY,
    CERTIFICATE,
    KEY,
    write_certificates,
    write_node_key,
)
from deployed_processes import Processes, answers, free_ports

from client.agent.consent_desk import ConsentDesk, CustomerChoice
from client.agent.keyring import AgentKeys
from client.agent.pseudonyms import Pseudonymizer
from consent.client import ConsentClient
from consent.configuration import CONFIG_VARIABLE, DEFAULT_CONFIG
from consent.contract import (
    Act,
    Label,
    LegalBasis,
    Notice,
    NumericFeature,
    PrivacyTarget,
    Purpose,
    SigningKey,
    SolverSettings,
    TaskSpec,
)
from consent.files import write_private
from consent.wire import Role

BUNDLE = Path(__file__).parents[2] / "deploy" / "flower"
PURPOSE = "conversion"
RUN_ID = "spring"
CUSTOMERS = 400
START_SECONDS = 90.0
AFTER_END_SECONDS = 10.0

FLOWER = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
}

TASK = TaskSpec(
    task_id="conversion-spring",
    purpose=PURPOSE,
    features=tuple(NumericFeature(name=f"x{number}", lower=-3, upper=3) for number in range(4)),
    label=Label(name="converted"),
    privacy=PrivacyTarget(epsilon=4.0, delta=1e-6),
    solver=SolverSettings(rounds=2),
)


def write_customers(path: Path, seed: int) -> list[str]:
    """Write a labelled table whose first column drives the label, and return its customers' ids."""
    random = np.random.default_rng(seed)
    values = random.normal(size=(CUSTOMERS, len(TASK.features)))
    converted = (random.random(CUSTOMERS) < 1 / (1 + np.exp(-2 * values[:, 0]))).astype(int)
    frame = pd.DataFrame(values, columns=[feature.name for feature in TASK.features])
    ids = [f"customer-{seed}-{number}" for number in range(CUSTOMERS)]
    frame.assign(customer=ids, converted=converted).to_csv(path, index=False)
    return ids


@dataclass(frozen=True)
class DeployedBrand:
    """One brand: its folder, where its agent listens, and the relay's token."""

    name: str
    folder: Path
    port: int
    keys: AgentKeys
    relay_token: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class DeployedFederation:
    """Sets everything up in a folder and starts it; `processes.stop()` ends it.

    Args:
        folder: an empty folder; each party has its own below it.
        processes: starts what runs.
    """

    def __init__(self, folder: Path, processes: Processes) -> None:
        self.processes = processes
        self.folder = folder
        self.log_folder = folder / "consent" / "data" / "log"
        self._consent_port, self._superlink_port, *self._ports = free_ports(6)
        self._consent_url = f"http://127.0.0.1:{self._consent_port}"
        self._http = httpx.Client(base_url=self._consent_url, trust_env=False, timeout=30)
        self.coordinator_key = SigningKey.generate()
        self._submitted = 0

    def start(self, *names: str) -> None:
        """Start the consent service, the SuperLink, and an agent and a SuperNode per brand."""
        self._start_superlink()
        self._start_consent()
        operator = self._client((self.folder / "consent" / "data" / "operator.token").read_text().strip())
        self.officer = self._client(operator.enrol(Role.OFFICER, "officer"))
        self.brands = {name: self._brand(name, operator) for name in names}
        self._agree(operator)
        self._configure_coordinator(operator)
        for brand in self.brands.values():
            self._start_supernode(brand)
            self._record_grants(brand)
        for brand in self.brands.values():
            hello = partial(answers, f"{brand.url}/v1/hello", 401)
            self.processes.wait_for(f"the agent of {brand.name}", hello, seconds=START_SECONDS)

    def stop(self) -> None:
        """End every process."""
        self._http.close()
        self.processes.stop()

    def flwr_run(self, name: str, bundle: Path, *options: str) -> int:
        """Submit a bundle and return the command's exit status."""
        status = self._flwr(name, "run", str(bundle), "here", *options)
        self._submitted += status == 0
        return status

    def wait_for_run(self, what: str, ready: Callable[[], bool], *, seconds: float) -> None:
        """Return as soon as something of a run is so, or fail soon after its ServerApp has ended without it."""

        def over() -> bool:
            return self.processes.output("superlink").count("Finished task") >= self._submitted

        self.processes.wait_for(what, lambda: ready() or over(), seconds=seconds)
        self.processes.wait_for(what, ready, seconds=AFTER_END_SECONDS)

    def _client(self, token: str) -> ConsentClient:
        return ConsentClient(self._http, token)

    def _start_consent(self) -> None:
        folder = self.folder / "consent"
        config = {"consent": {"data_dir": str(folder / "data"), "port": self._consent_port}}
        environment = _configured(folder, config)
        assert self.processes.run("consent-init", "confide", "consent", "init", folder=folder, **environment) == 0
        self.processes.start("consent", "confide", "consent", "serve", folder=folder, **environment)
        self.processes.wait_for(
            "the consent service", lambda: answers(f"{self._consent_url}/healthz"), seconds=START_SECONDS
        )

    def _brand(self, name: str, operator: ConsentClient) -> DeployedBrand:
        """Enrol a brand and start its agent."""
        folder = self.folder / "brands" / name
        keys = AgentKeys.open(folder / "agent")
        brand = DeployedBrand(name, folder, self._ports.pop(), keys, secrets.token_urlsafe())
        write_private(folder / "relay.token", brand.relay_token.encode())
        token = operator.enrol(Role.BRAND, name, keys.signing.public_key)
        write_private(folder / "consent.token", token.encode())
        table = {"kind": "table", "path": str(folder / "customers.csv"), "id_column": "customer"}
        limits = {"epsilon": TASK.privacy.epsilon, "delta": TASK.privacy.delta, "minimum_cohort": 100}
        agent = {
            "brand": name,
            "data_dir": str(folder / "agent"),
            "consent_url": self._consent_url,
            "consent_token_file": str(folder / "consent.token"),
            "consent_key": operator.service_key(),
            "coordinator_key": self.coordinator_key.public_key,
            "port": brand.port,
            "relay_token_file": str(folder / "relay.token"),
            "customers": table,
            "purposes": {PURPOSE: limits},
        }
        environment = _configured(folder, {"agent": agent})
        self.processes.start(f"agent-{name}", "confide", "agent", "serve", folder=folder, **environment)
        return brand

    def _agree(self, operator: ConsentClient) -> None:
        operator.declare_purpose(
            Purpose(
                purpose=PURPOSE,
                title="Learn together what customers like",
                legal_basis=LegalBasis.CONSENT,
                data_categories=("behaviour",),
                retention_days=365,
            )
        )
        notice = Notice(purpose=PURPOSE, language="en", text="May we learn from how you use our shop?")
        self._notice = self.officer.publish_notice(notice)
        self.officer.approve_task(TASK, TASK.privacy.epsilon, tuple(self.brands))

    def _record_grants(self, brand: DeployedBrand) -> None:
        """Write the brand's customers and record that all of them said yes."""
        ids = write_customers(brand.folder / "customers.csv", seed=brand.port)
        client = self._client((brand.folder / "consent.token").read_text())
        desk = ConsentDesk(brand.name, client, Pseudonymizer(brand.keys.pseudonym))
        desk.record([CustomerChoice(customer, Act.GRANT, PURPOSE, notice=self._notice) for customer in ids])

    def _start_superlink(self) -> None:
        """Start the SuperLink, whose ServerApp will read the coordinator's settings from the environment."""
        folder = self.folder / "coordinator"
        folder.mkdir(mode=0o700)
        write_certificates(folder)
        (self.folder / "flwr").mkdir()
        link = {"address": f"127.0.0.1:{self._superlink_port}", "root-certificates": str(folder / AUTHORITY)}
        (self.folder / "flwr" / "config.toml").write_text(tomli_w.dumps({"superlink": {"here": link}}))
        command = (
            "flower-superlink",
            *("--host", "127.0.0.1", "--port", str(self._superlink_port)),
            *("--ssl-ca-certfile", AUTHORITY, "--ssl-certfile", CERTIFICATE, "--ssl-keyfile", KEY),
            "--enable-supernode-auth",
        )
        environment = {CONFIG_VARIABLE: str(folder / DEFAULT_CONFIG), "FLWR_HOME": str(folder / "flwr")}
        self.processes.start("superlink", *command, folder=folder, **environment)

    def _configure_coordinator(self, operator: ConsentClient) -> None:
        """Enrol the coordinator, write its settings and wait until the SuperLink takes submissions."""
        folder = self.folder / "coordinator"
        token = operator.enrol(Role.COORDINATOR, "coordinator", self.coordinator_key.public_key)
        write_private(folder / "consent.token", token.encode())
        write_private(folder / "coordinator.key", self.coordinator_key.private_bytes())
        (folder / "task.json").write_text(TASK.model_dump_json())
        coordinator = {
            "run_id": RUN_ID,
            "data_dir": str(folder / "runs"),
            "task_file": str(folder / "task.json"),
            "key_file": str(folder / "coordinator.key"),
            "consent_url": self._consent_url,
            "consent_token_file": str(folder / "consent.token"),
            "brands": {name: brand.keys.signing.public_key for name, brand in self.brands.items()},
            "reply_timeout": 120.0,
        }
        _configured(folder, {"coordinator": coordinator})
        health = partial(answers, f"https://127.0.0.1:{self._superlink_port}/health", authority=folder / AUTHORITY)
        self.processes.wait_for("the SuperLink", health, seconds=START_SECONDS)

    def _start_supernode(self, brand: DeployedBrand) -> None:
        """Register the brand's node key and start its SuperNode."""
        public = write_node_key(brand.folder / "node")
        assert self._flwr(f"register-{brand.name}", "supernode", "register", str(public), "here") == 0
        command = (
            "flower-supernode",
            *("--superlink", f"127.0.0.1:{self._superlink_port}"),
            *("--root-certificates", str(self.folder / "coordinator" / AUTHORITY)),
            *("--auth-supernode-private-key", str(brand.folder / "node")),
            *("--host", "127.0.0.1", "--port", str(self._ports.pop())),
            *("--node-config", f"agent-url='{brand.url}' agent-token-file='{brand.folder / 'relay.token'}'"),
        )
        home = str(brand.folder / "flwr")
        self.processes.start(f"supernode-{brand.name}", *command, folder=brand.folder, FLWR_HOME=home)

    def _flwr(self, name: str, *arguments: str) -> int:
        home = str(self.folder / "flwr")
        return self.processes.run(name, "flwr", *arguments, folder=self.folder, FLWR_HOME=home)


def _configured(folder: Path, tables: Mapping[str, Any]) -> dict[str, str]:
    """Write a party's settings and return the variable that points to them."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / DEFAULT_CONFIG
    path.write_text(tomli_w.dumps(tables))
    return {CONFIG_VARIABLE: str(path)}
