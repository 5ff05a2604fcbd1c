"""The consent room: who said yes to what, for which round, and the log that proves it.

It holds pseudonyms and permissions, never identities, events or features. `consent.contract` is what the
other rooms speak; `consent.service` decides; `consent.log` remembers; `consent.client` is how both sides ask.
"""
