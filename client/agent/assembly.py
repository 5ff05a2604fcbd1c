"""Putting one brand's agent together from its folder, its trust anchors and its ports."""

from dataclasses import dataclass
from pathlib import Path

from client.agent.agent import BrandAgent
from client.agent.cohort import CohortGate, CustomerSource
from client.agent.consent_desk import ConsentDesk
from client.agent.keyring import AgentKeys
from client.agent.ledger import BrandLedger
from client.agent.models import ModelStore
from client.agent.policy import BrandPolicy
from client.agent.pseudonyms import Pseudonymizer
from client.agent.trust import BrandIdentity, TrustAnchors
from consent.client import ConsentClient
from consent.clock import Clock, utc_now
from privacy.aggregation import OpenMasker
from privacy.randomness import NoiseSource, SystemNoise

LEDGER = "ledger.db"
MODELS = "models"


@dataclass(frozen=True)
class AgentParts:
    """An agent with the parts that its operator also uses directly."""

    agent: BrandAgent
    desk: ConsentDesk
    keys: AgentKeys
    pseudonymizer: Pseudonymizer


def assemble_agent(
    *,
    brand: str,
    folder: Path,
    anchors: TrustAnchors,
    policy: BrandPolicy,
    consent: ConsentClient,
    customers: CustomerSource,
    noise: NoiseSource | None = None,
    clock: Clock = utc_now,
) -> AgentParts:
    """Return the agent of a brand; keys and ledger in `folder` are created on the first start."""
    keys = AgentKeys.open(folder)
    pseudonymizer = Pseudonymizer(keys.pseudonym)
    desk = ConsentDesk(brand, consent, pseudonymizer)
    agent = BrandAgent(
        identity=BrandIdentity(brand, keys.signing),
        anchors=anchors,
        policy=policy,
        ledger=BrandLedger(folder / LEDGER, clock=clock),
        cohorts=CohortGate(pseudonymizer, desk, customers),
        models=ModelStore(folder / MODELS),
        unspent=desk,
        noise=noise or SystemNoise(),
        masker=OpenMasker(),
        clock=clock,
    )
    return AgentParts(agent, desk, keys, pseudonymizer)
