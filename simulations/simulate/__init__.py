"""`confide simulate`: any labelled customer table, dealt out to brands, trained as it would be deployed.

`options` says what a run is and refuses what can not work, `run` runs it, `summary` is what it ends in. Only `run`
needs the training stack, which takes seconds to load.
"""
