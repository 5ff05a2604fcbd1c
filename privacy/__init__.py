"""The privacy room: mechanisms, accounting, budgets and solvers, as mathematics and bytes.

It imports nothing of the other rooms and does no input or output, so that everything in it can be tested
with numbers alone.
"""
