"""Searching hyperparameters: Optuna's samplers and pruners, asked and told by us so that nothing is lost or doubled.

Nothing here is imported by training; `pip install 'headway[hpo]'` brings what it needs.
"""
