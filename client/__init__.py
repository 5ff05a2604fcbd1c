"""The brand's room: the agent that owns customers' rows, and the thin Flower ClientApp beside it.

The agent is the enforcement point: it opens data, checks consent, trains, bounds, adds noise, signs, decides,
and refuses what its own policy and ledger do not allow. The ClientApp passes messages and sees no row.
"""
