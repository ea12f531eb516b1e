"""Feast's HTTP feature server over a workspace, which asks every caller for a token.

::

    caller ─► token of the identity provider (OIDC) ─► its roles ─► permissions (``permissions``)

The token's signature, end, audience and issuer are verified against the provider's keys; its roles
are those of the ``roles`` claim, or of ``resource_access.<client>.roles``.
"""

import os

from feast import FeatureStore

from feature_repo.errors import ServingError
from feature_repo.folder import FeastFolder
from feature_repo.registry import open_for_reading

_DISCOVERY, _AUDIENCE, _ISSUER, _CLIENT = (
    f"MARQUEE_OIDC_{one}" for one in ("DISCOVERY_URL", "AUDIENCE", "ISSUER", "CLIENT_ID")
)
# Feast 0.67 takes a token with this name for another server of its own, without a look at the
# signature (``oidc_token_parser.py``), so it may not be set where tokens are to be verified.
_UNVERIFIED = "INTRA_COMMUNICATION_BASE64"


def open_for_serving(folder: FeastFolder) -> FeatureStore:
    """Return the feature store whose server verifies tokens; raises ServingError."""
    missing = [name for name in (_DISCOVERY, _AUDIENCE, _ISSUER) if not os.environ.get(name)]
    if missing:
        raise ServingError(f"a feature server verifies tokens: set {', '.join(missing)}")
    if _UNVERIFIED in os.environ:
        raise ServingError(f"{_UNVERIFIED} lets tokens in that nobody signed: unset it")
    auth = {
        "type": "oidc",
        "auth_discovery_url": os.environ[_DISCOVERY],
        "audience": os.environ[_AUDIENCE],
        "issuer": os.environ[_ISSUER],
        "client_id": os.environ.get(_CLIENT) or None,
    }
    return open_for_reading(folder, auth=auth)


def serve(folder: FeastFolder, *, host: str, port: int) -> None:
    """Serve until stopped; behind a proxy that speaks TLS where ``host`` is not this machine's."""
    from feast.feature_server import start_server

    start_server(
        open_for_serving(folder),
        host=host,
        port=port,
        no_access_log=True,
        workers=1,
        worker_connections=1_000,
        max_requests=0,
        max_requests_jitter=0,
        keep_alive_timeout=30,
        registry_ttl_sec=2,
        tls_key_path="",
        tls_cert_path="",
        metrics=False,
    )
