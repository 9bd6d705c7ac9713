"""What a driver's program prints: one line of JSON for each step, to be compared between two runs."""

import json

# More connections than the pool has.
CLIENTS = 12


def report(step, result):
    print(f"{step}: {json.dumps(result, default=str)}", flush=True)


def describe(error):
    """An error as the database said it."""
    # SQLAlchemy's error has the driver's in it, which for asyncpg has another one below.
    error = getattr(error, "orig", None) or error
    if getattr(error, "sqlstate", None) is None and error.__cause__ is not None:
        error = error.__cause__
    return [type(error).__name__, getattr(error, "sqlstate", None), str(error).splitlines()[:3]]
