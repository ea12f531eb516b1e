"""Who may read what through Feast's servers: nobody, but for consumers that the log knows.

::

    log: ranking/home reads frame 1 ─► role ranking/home ─► READ_ONLINE of embeddings_f1_*
    everything else, whoever asks    ─► deny_all, whose role nobody can have

Feast enforces permissions in its servers alone; whoever can open the registry and the stores needs
none. In 0.67 a matching permission that grants is enough (``permissions/decision.py``, affirmative)
and a registry without any permission is open to every token (``permissions/enforcer.py``), so
``deny_all`` matches everything, grants nothing and is always there.
"""

from collections.abc import Mapping, Sequence

from feast import FeatureService
from feast.permissions.action import ALL_ACTIONS, AuthzedAction
from feast.permissions.permission import Permission
from feast.permissions.policy import RoleBasedPolicy

from embedding_store.state import StoreState

Readers = Mapping[int, Sequence[str]]
"""By frame: the roles that may read it."""


def readers_of(state: StoreState) -> Readers:
    """Return whom the log knows as consumers of which frame; a role is the consumer's name."""
    consumers = sorted(state.consumers.values(), key=lambda one: one.name)
    return {
        frame: [one.name for one in consumers if one.frame == frame]
        for frame in sorted({one.frame for one in consumers})
    }


def permissions_for(readers: Readers) -> dict[str, Permission]:
    """Return the permissions by name: one that denies everything, and one a frame that is read."""
    found = [Permission(name="deny_all", actions=ALL_ACTIONS, policy=RoleBasedPolicy(roles=[]))]
    found += [
        Permission(
            name=f"read_f{frame}",
            types=[FeatureService],  # type: ignore[list-item]  # feast 0.67 says instances
            name_patterns=[f"embeddings_f{frame}_.*"],
            actions=[AuthzedAction.READ_ONLINE],
            policy=RoleBasedPolicy(roles=list(roles)),
        )
        for frame, roles in readers.items()
    ]
    return {one.name: one for one in found}
