"""The transparency log: append-only, checkable by anybody, in the formats of C2SP.

An RFC 6962 tree whose leaves are salted commitments, heads signed as notes, and tiles in a folder that any
static server can hand out. `verify` re-derives everything from that folder without network or database.
"""
