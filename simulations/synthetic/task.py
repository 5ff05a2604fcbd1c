"""The task that the five brands train together, and the purposes and notices that it rests on.

Every bound below was declared by hand from what such a number can be; no data was looked at.
"""

from client.events import Source
from consent.contract import (
    CategoricalFeature,
    Feature,
    Label,
    LegalBasis,
    Notice,
    NumericFeature,
    PrivacyTarget,
    Purpose,
    SolverSettings,
    TaskSpec,
)
from simulations.synthetic.profiles import REGIONS, TIERS

HORIZON_DAYS = 30
TRAINING_PURPOSE = "personalization-training"
DECISION_PURPOSE = "personalization-decisions"

PURPOSES = (
    Purpose(
        purpose=TRAINING_PURPOSE,
        title="Learn together with other brands what customers like, without sharing your data",
        legal_basis=LegalBasis.CONSENT,
        data_categories=("purchases", "visits", "email-engagement", "customer-profile"),
        retention_days=400,
    ),
    Purpose(
        purpose=DECISION_PURPOSE,
        title="Choose what we show and send to you",
        legal_basis=LegalBasis.CONSENT,
        data_categories=("purchases", "visits", "email-engagement", "customer-profile"),
        retention_days=400,
    ),
)

NOTICES = {
    TRAINING_PURPOSE: Notice(
        purpose=TRAINING_PURPOSE,
        language="en",
        text=(
            "With your permission we use your purchases and visits to train a model together with other brands. "
            "Your data stays with us; only protected sums over many customers leave. You can withdraw any time."
        ),
    ),
    DECISION_PURPOSE: Notice(
        purpose=DECISION_PURPOSE,
        language="en",
        text=(
            "With your permission we use that model to choose what we show and send to you, over the channels "
            "that you allow. You can withdraw any time."
        ),
    ),
}
"""The notice behind each notice key of `consents.ndjson`."""

CONVERSION_FEATURES: tuple[Feature, ...] = (
    NumericFeature(name="recency_days", lower=0, upper=365, scale="log"),
    NumericFeature(name="sessions_30d", lower=0, upper=60, scale="log"),
    NumericFeature(name="product_views_30d", lower=0, upper=200, scale="log"),
    NumericFeature(name="cart_adds_30d", lower=0, upper=40, scale="log"),
    NumericFeature(name="channels_90d", lower=0, upper=4),
    NumericFeature(name="email_open_rate_90d", lower=0, upper=1),
    NumericFeature(name="email_clicks_90d", lower=0, upper=20, scale="log"),
    NumericFeature(name="orders_90d", lower=0, upper=30, scale="log"),
    NumericFeature(name="spend_90d", lower=0, upper=10_000, scale="log"),
    NumericFeature(name="average_basket_365d", lower=0, upper=5_000, scale="log"),
    NumericFeature(name="discount_share_365d", lower=0, upper=1),
    NumericFeature(name="tenure_days", lower=0, upper=3650, scale="log"),
    CategoricalFeature(name="tier", levels=TIERS),
    CategoricalFeature(name="region", levels=REGIONS),
    CategoricalFeature(
        name="preferred_channel", levels=(Source.APP.value, Source.EMAIL.value, Source.POS.value, Source.WEB.value)
    ),
)


def conversion_task(
    *,
    epsilon: float = 1.0,
    delta: float = 1e-6,
    task_id: str = "conversion-30d",
    rounds: int = 40,
    minimum_cohort: int = 50,
) -> TaskSpec:
    """Build the task: will a customer order within 30 days after the cut-off?"""
    return TaskSpec(
        task_id=task_id,
        purpose=TRAINING_PURPOSE,
        features=CONVERSION_FEATURES,
        label=Label(name="converted", horizon_days=HORIZON_DAYS),
        privacy=PrivacyTarget(epsilon=epsilon, delta=delta),
        solver=SolverSettings(rounds=rounds),
        minimum_cohort=minimum_cohort,
    )
