"""`make bench`: gas of every operation on anvil, beside other protocols'; see `operations`.

`compare` judges, `market` deploys, `operations` measures, `report` shows. The peers' figures and
the scenario they were measured under are in peers.json.
"""
