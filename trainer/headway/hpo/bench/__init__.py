"""How many trials a second a study takes, through the service and beside Optuna's own ways."""
