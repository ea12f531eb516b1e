"""Feast's feature server with tokens of a local identity provider: a JWKS and RS256, no network."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import jwt
import pytest
import requests
import uvicorn
from cryptography.hazmat.primitives.asymmetric import rsa
from feast.errors import FeastPermissionError
from feast.feature_server import get_app
from feast.permissions.auth.auth_manager import AllowAll, set_auth_manager
from feast.permissions.security_manager import get_security_manager, no_security_manager
from feast.permissions.server.utils import (
    AuthManagerType,
    ServerType,
    init_auth_manager,
    init_security_manager,
)
from feast.permissions.user import User
from feast.protos.feast.registry import RegistryServer_pb2 as asked
from feast.registry_server import RegistryServer

from embedding_store.entries import ConsumerRegistered
from feature_repo.apply import registered_views
from feature_repo.errors import ServingError
from feature_repo.folder import PROJECT, FeastFolder
from feature_repo.projection import reconcile
from feature_repo.registry import open_for_reading
from feature_repo.serving import open_for_serving
from tests.unit.feature_repo.small_world import SmallWorld, instant

pytestmark = pytest.mark.filterwarnings("ignore")  # of FastAPI and its server, in a thread

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
Ask = Callable[..., int]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """An identity provider's discovery document and keys."""
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key()))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = {
                "/keys": {"keys": [{**public, "kid": "one", "alg": "RS256", "use": "sig"}]},
                "/discovery": {
                    "jwks_uri": f"{url}/keys",
                    "token_endpoint": f"{url}/token",
                    "authorization_endpoint": f"{url}/authorize",
                },
            }[self.path]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield url
    server.shutdown()
    server.server_close()


def token(*roles: str, key: Any = KEY, **claims: Any) -> str:
    fields = {"sub": "somebody", "roles": roles, "aud": "features", "iss": "provider"}
    fields["exp"] = time.time() + 60
    return jwt.encode({**fields, **claims}, key, algorithm="RS256", headers={"kid": "one"})


@pytest.fixture
def settings(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARQUEE_OIDC_DISCOVERY_URL", f"{provider}/discovery")
    monkeypatch.setenv("MARQUEE_OIDC_AUDIENCE", "features")
    monkeypatch.setenv("MARQUEE_OIDC_ISSUER", "provider")


@pytest.fixture
def guarded(served: SmallWorld, settings: None) -> Iterator[SmallWorld]:
    """A workspace whose frame 1 is read by ranking/home, with Feast's guards in place."""
    served._log(ConsumerRegistered(name="ranking/home", frame=1), at=instant(3))
    reconcile(served.root)
    store = open_for_serving(FeastFolder.of(served.root))
    init_security_manager(AuthManagerType.OIDC, store)
    init_auth_manager(ServerType.REST, AuthManagerType.OIDC, store.config.auth_config)
    yield served
    no_security_manager()
    set_auth_manager(AllowAll())


@pytest.fixture
def ask(guarded: SmallWorld) -> Iterator[Ask]:
    store = open_for_serving(FeastFolder.of(guarded.root))
    server = uvicorn.Server(uvicorn.Config(get_app(store), log_config=None))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        while not server.started:
            time.sleep(0.05)

        def post(held: str | None, path: str = "/get-online-features", **wanted: Any) -> int:
            headers = {"Authorization": f"Bearer {held}"} if held else {}
            return requests.post(url + path, json=wanted, headers=headers, timeout=30).status_code

        yield post
        server.should_exit = True
        thread.join()


def of_stable() -> dict[str, Any]:
    return {"feature_service": "embeddings_f1_stable_user", "entities": {"user_id": ["u5"]}}


def test_a_token_with_the_consumers_role_reads_its_service(ask: Ask) -> None:
    assert ask(token("ranking/home"), **of_stable()) == 200


def test_whoever_is_not_that_consumer_is_refused(ask: Ask) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    assert ask(None, **of_stable()) == 401
    assert ask(token("search/suggest"), **of_stable()) == 403
    assert ask(token(), **of_stable()) == 403
    for odd in (
        token("ranking/home", key=other),
        token("ranking/home", exp=time.time() - 60),
        token("ranking/home", aud="another"),
        token("ranking/home", iss="another"),
    ):
        assert ask(odd, **of_stable()) == 401


def test_what_nobody_named_is_refused_to_everybody(ask: Ask) -> None:
    role = token("ranking/home")
    views = {"features": ["user_embedding__f1__v1:embedding"], "entities": {"user_id": ["u5"]}}
    row = {"user_id": ["u5"], "embedding": [[0.0] * 8], "version": ["v1"]}

    assert ask(role, **views) == 403
    assert (
        ask(role, "/write-to-online-store", feature_view_name="user_embedding__f1__v1", df=row)
        == 403
    )
    assert ask(role, "/materialize", start_ts="2026-01-01", end_ts="2026-01-02") == 403


def test_another_frame_is_refused(guarded: SmallWorld, ask: Ask) -> None:
    guarded.publish(2, frame=2)
    guarded.promote(2, at=instant(4), frame=2)
    reconcile(guarded.root)

    wanted = {"feature_service": "embeddings_f2_stable_user", "entities": {"user_id": ["u5"]}}

    assert ask(token("ranking/home"), **wanted) == 403


def test_the_registry_server_is_denied_too(guarded: SmallWorld) -> None:
    store = open_for_serving(FeastFolder.of(guarded.root))
    server = RegistryServer(store.registry)
    manager = get_security_manager()
    assert manager is not None
    manager.set_current_user(User("somebody", ["ranking/home"]))
    view = next(iter(registered_views(store)))

    with pytest.raises(FeastPermissionError):
        server.GetFeatureView(asked.GetFeatureViewRequest(name=view, project=PROJECT), None)
    with pytest.raises(FeastPermissionError):
        server.GetProject(asked.GetProjectRequest(name=PROJECT), None)


def test_without_consumers_a_server_is_closed_not_open(served: SmallWorld) -> None:
    store = open_for_reading(FeastFolder.of(served.root))

    assert [one.name for one in store.registry.list_permissions(PROJECT)] == ["deny_all"]


def test_a_server_without_all_of_its_provider_does_not_start(
    served: SmallWorld, settings: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = FeastFolder.of(served.root)
    with monkeypatch.context() as bare:
        bare.delenv("MARQUEE_OIDC_AUDIENCE")
        with pytest.raises(ServingError, match="set MARQUEE_OIDC_AUDIENCE"):
            open_for_serving(folder)
    monkeypatch.setenv("INTRA_COMMUNICATION_BASE64", "secret")
    with pytest.raises(ServingError, match="unset it"):
        open_for_serving(folder)
