"""The callers of the load. A route limits each of them to 6,000 orders a minute, so the orders come from many."""

import hashlib

KEYS = [f"bench-{number}" for number in range(64)]


def api_keys():
    """Returns the callers as the secret's `api-keys` has them."""
    return [{"sha256": hashlib.sha256(key.encode()).hexdigest(), "principal": key, "scopes": ["*"]} for key in KEYS]
