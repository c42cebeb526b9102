"""The student's pod of examples/values.yaml, as a hub on Kubernetes would ask for it.

``python -m pytest tests/hub/student_pod.py``, with the packages of requirements.txt here. KubeSpawner, the
part of the hub that makes pods, makes the manifest; the schemas of Kubernetes' API and its Pod Security
Standards judge it. What the chart (4.x) makes of the values before that is in TRAITS and DEFAULTS, by hand,
as its jupyterhub_config.py has it: neither Helm nor a cluster takes part.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from copy import deepcopy
from pathlib import Path
from unittest import mock

import pytest
import yaml
from jupyterhub.auth import Authenticator, DummyAuthenticator
from kubernetes_asyncio.client import ApiClient
from kubernetes_validate import ValidationError, validate
from kubernetes_validate.utils import all_versions, major_minor
from kubespawner import KubeSpawner
from traitlets.config import Config

from labkit.launch.launchers import LAUNCHERS

ROOT = Path(__file__).resolve().parents[2]
UML = ["values.yaml"]
ROOTLESS = ["values.yaml", "values-rootless.yaml"]

# Below "singleuser": what a value must be, and the trait of KubeSpawner that gets it.
TRAITS = {
    "image.name": (str, None),
    "image.tag": (str, None),
    "cloudMetadata.blockWithIptables": (bool, None),
    "cmd": (str, "cmd"),
    "defaultUrl": (str, "default_url"),
    "lifecycleHooks": (dict, "lifecycle_hooks"),
    "memory.guarantee": (str, "mem_guarantee"),
    "memory.limit": (str, "mem_limit"),
    "cpu.guarantee": (float | int, "cpu_guarantee"),
    "cpu.limit": (float | int, "cpu_limit"),
    "extraEnv": (dict, "environment"),
    "extraPodConfig": (dict, "extra_pod_config"),
    "allowPrivilegeEscalation": (bool | None, "allow_privilege_escalation"),
    "uid": (int, "uid"),
    "fsGid": (int, "fs_gid"),
}
# The chart's own values (4.1.0), where they tell in the pod.
DEFAULTS = {
    "singleuser": {
        "cmd": "jupyterhub-singleuser",
        "uid": 1000,
        "fsGid": 100,
        "allowPrivilegeEscalation": False,
        "cloudMetadata": {"blockWithIptables": True},
        "memory": {"guarantee": "1G"},
    }
}
CLASSES = {"KubeSpawner": KubeSpawner, "Authenticator": Authenticator}
HOME = "/home/jovyan"


def merged(first: dict, second: dict) -> dict:
    """As Helm merges: dictionaries key by key, all else replaced, null takes away."""
    found = deepcopy(first)
    for key, value in second.items():
        if isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = merged(found[key], value)
        elif value is None:
            found.pop(key, None)
        else:
            found[key] = deepcopy(value)
    return found


def values_of(files: list[str], change: dict | None = None) -> dict:
    found = DEFAULTS
    for file in files:
        found = merged(found, yaml.safe_load((ROOT / "examples" / file).read_text()))
    return merged(found, change or {})


def leaves(values: dict, before: str = ""):
    for key, value in values.items():
        name = f"{before}{key}"
        if isinstance(value, dict) and name not in TRAITS:
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def config_of(values: dict) -> Config:
    """What the chart's jupyterhub_config.py makes of the values; any that TRAITS lacks is an error."""
    config = Config()
    told = dict(leaves(values["singleuser"]))
    for name, value in told.items():
        kind, trait = TRAITS[name]
        assert isinstance(value, kind), f"singleuser.{name} is {value!r}"
        if trait:
            config.KubeSpawner[trait] = value
    config.KubeSpawner.image = f"{told['image.name']}:{told['image.tag']}"
    config.KubeSpawner.volumes = [
        {"name": "volume-{user_server}", "persistentVolumeClaim": {"claimName": "{pvc_name}"}}
    ]
    config.KubeSpawner.volume_mounts = [{"name": "volume-{user_server}", "mountPath": HOME}]
    if told["cloudMetadata.blockWithIptables"]:
        config.KubeSpawner.init_containers = [
            {
                "name": "block-cloud-metadata",
                "image": "tools",
                "securityContext": {
                    "privileged": True,
                    "runAsUser": 0,
                    "capabilities": {"add": ["NET_ADMIN"]},
                },
            }
        ]
    assert values.keys() <= {"singleuser", "hub"}
    assert values["hub"].keys() == {"config"}
    for name, own in values["hub"]["config"].items():
        assert own.keys() <= set(CLASSES[name].class_trait_names(config=True))
        config[name].update(own)
    return config


async def _manifest(config: Config) -> dict:
    # No cluster is asked for anything to make a manifest; only the spawner's start looks for one.
    with mock.patch.multiple(
        "kubespawner.spawner", load_config=mock.DEFAULT, shared_client=mock.DEFAULT
    ):
        spawner = KubeSpawner(config=config, _mock=True)
    async with ApiClient() as client:
        return client.sanitize_for_serialization(await spawner.get_pod_manifest())


def pod_of(files: list[str], change: dict | None = None) -> dict:
    return asyncio.run(_manifest(config_of(values_of(files, change))))


def spawner(**own) -> dict:
    return {"hub": {"config": {"KubeSpawner": own}}}


def offences(pod: dict) -> list[str]:
    """What a namespace of the level "restricted" would refuse the pod for.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/, without Windows and SELinux.
    """
    spec, found = pod["spec"], []
    outer = spec.get("securityContext", {})
    found += [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"}
    allowed |= {"persistentVolumeClaim", "projected", "secret"}
    found += [f"volume {v['name']}" for v in spec.get("volumes", []) if not allowed & v.keys()]
    found += ["sysctls"] if outer.get("sysctls") else []
    for one in [*spec["containers"], *spec.get("initContainers", [])]:
        own = one.get("securityContext", {})
        both = outer | own
        rights = own.get("capabilities", {})
        held = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "drop": "ALL" in rights.get("drop", []),
            "add": set(rights.get("add", [])) <= {"NET_BIND_SERVICE"},
            "runAsNonRoot": both.get("runAsNonRoot") is True,
            "runAsUser": both.get("runAsUser") != 0,
            "procMount": own.get("procMount", "Default") == "Default",
            "hostPort": not any(port.get("hostPort") for port in one.get("ports", [])),
        }
        for key in ("seccompProfile", "appArmorProfile"):
            kind = both.get(key, {}).get("type", "RuntimeDefault" if key[0] == "a" else None)
            held[key] = kind in ("RuntimeDefault", "Localhost")
        found += [f"{one['name']}: {key}" for key, good in held.items() if not good]
    return found


def flat(tree, before: str = "") -> dict:
    """Every leaf by its path; of a list of named things, by name."""
    if isinstance(tree, dict):
        steps = tree.items()
    elif isinstance(tree, list):
        steps = (
            (one.get("name", n) if isinstance(one, dict) else n, one) for n, one in enumerate(tree)
        )
    else:
        return {before: tree}
    return {k: v for key, one in steps for k, v in flat(one, f"{before}/{key}").items()}


VERSIONS = sorted(set(map(major_minor, all_versions())), key=lambda v: int(v[2:]))


def since(version: str) -> list[str]:
    return VERSIONS[VERSIONS.index(version) :]


@pytest.mark.parametrize("version", since("1.28"))  # the oldest that the chart 4.0 takes
def test_kubernetes_knows_every_field_of_the_pod(version):
    assert validate(pod_of(UML), version, strict=True) == version


@pytest.mark.parametrize("version", since("1.33"))
def test_kubernetes_knows_every_field_of_the_rootless_pod(version):
    assert validate(pod_of(ROOTLESS), version, strict=True) == version


@pytest.mark.parametrize(
    "change",
    [
        spawner(container_security_context={"procmount": "Unmasked"}),
        spawner(container_security_context={"hostUsers": False}),
        spawner(container_security_context={"capabilities": {"drops": ["ALL"]}}),
        spawner(container_security_context={"capabilities": {"drop": "ALL"}}),
        spawner(pod_security_context={"procMount": "Unmasked"}),
        spawner(pod_security_context={"seccompProfile": {"kind": "RuntimeDefault"}}),
        {"singleuser": {"lifecycleHooks": {"postStart": {"exec": {"commands": ["true"]}}}}},
    ],
    ids=str,
)
def test_a_field_that_kubernetes_does_not_know_is_refused(change):
    with pytest.raises(ValidationError):
        validate(pod_of(ROOTLESS, change), VERSIONS[-1], strict=True)


@pytest.mark.parametrize("name", ["hostUser", "host_user", "securitycontext"])
def test_kubespawner_refuses_an_unknown_field_of_the_pod(name):
    with pytest.raises(ValueError, match="did not have an attribute"):
        pod_of(ROOTLESS, {"singleuser": {"extraPodConfig": {name: False}}})


@pytest.mark.parametrize(
    "change",
    [
        {"singleuser": {"extraPodConfg": {"hostUsers": False}}},
        {"singleuser": {"memory": {"limits": "1G"}}},
        {"singleuser": {"cpu": {"limit": "1"}}},
        spawner(container_security_contxt={}),
        {"hub": {"config": {"kubespawner": {}}}},
        {"cul": {"enabled": True}},
    ],
    ids=str,
)
def test_a_value_that_the_chart_does_not_know_is_refused(change):
    with pytest.raises((AssertionError, KeyError)):
        config_of(values_of(UML, change))


def test_uml_needs_nothing():
    pod = pod_of(UML)
    assert offences(pod) == []
    spec = pod["spec"]
    assert "initContainers" not in spec
    (one,) = spec["containers"]
    assert one["securityContext"] == {
        "runAsUser": 1000,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert spec["securityContext"] == {
        "fsGroup": 100,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["automountServiceAccountToken"] is False
    assert [list(v)[-1] for v in spec["volumes"]] == ["persistentVolumeClaim"]


def test_memory_and_processors_are_bounded_and_promised():
    (one,) = pod_of(UML)["spec"]["containers"]
    mega = 1 << 20
    assert one["resources"] == {
        "limits": {"memory": 1024 * mega, "cpu": 1},
        "requests": {"memory": 384 * mega, "cpu": 0.1},
    }


@pytest.mark.parametrize(
    ("change", "offence"),
    [
        ({"singleuser": {"cloudMetadata": {"blockWithIptables": True}}}, "privileged"),
        ({"singleuser": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation"),
        ({"singleuser": {"extraPodConfig": {"hostNetwork": True}}}, "hostNetwork"),
        ({"singleuser": {"extraPodConfig": {"securityContext": {}}}}, "runAsNonRoot"),
        (spawner(privileged=True), "privileged"),
        (spawner(pod_security_context={"runAsNonRoot": None}), "runAsNonRoot"),
        (spawner(pod_security_context={"seccompProfile": None}), "seccompProfile"),
        (spawner(container_security_context={"runAsUser": 0}), "runAsUser"),
        (spawner(container_security_context={"capabilities": None}), "drop"),
        (spawner(container_security_context={"capabilities": {"add": ["NET_ADMIN"]}}), "add"),
        (spawner(container_security_context={"procMount": "Unmasked"}), "procMount"),
        (spawner(extra_container_config={"securityContext": {}}), "allowPrivilegeEscalation"),
        (spawner(volumes=[{"name": "root", "hostPath": {"path": "/"}}]), "volume root"),
    ],
    ids=str,
)
def test_any_more_is_noticed(change, offence):
    assert any(offence in one for one in offences(pod_of(UML, change)))


def test_rootless_asks_for_this_and_nothing_else():
    first, second = flat(pod_of(UML)), flat(pod_of(ROOTLESS))
    assert first.keys() <= second.keys()
    (one,) = pod_of(UML)["spec"]["containers"]
    own = f"/spec/containers/{one['name']}"
    assert {key: value for key, value in second.items() if first.get(key) != value} == {
        "/spec/hostUsers": False,
        f"{own}/env/LABKIT_LAUNCHER/value": "rootless",
        f"{own}/env/MEM_GUARANTEE/value": str(256 << 20),
        f"{own}/resources/requests/memory": 256 << 20,
        f"{own}/securityContext/seccompProfile/type": "Unconfined",
        f"{own}/securityContext/appArmorProfile/type": "Unconfined",
        f"{own}/securityContext/procMount": "Unmasked",
    }


@pytest.mark.parametrize(("files", "name"), [(UML, "uml"), (ROOTLESS, "rootless")])
def test_the_launcher_is_one_that_there_is(files, name):
    (one,) = pod_of(files)["spec"]["containers"]
    assert {"name": "LABKIT_LAUNCHER", "value": name} in one["env"]
    assert name in {one.name for one in LAUNCHERS}


@pytest.mark.parametrize("files", [UML, ROOTLESS], ids=str)
def test_nobody_may_log_in_until_the_teacher_says_who(files):
    # The chart's own authenticator, which otherwise takes any name with any password.
    door = DummyAuthenticator(config=config_of(values_of(files)))
    assert not door.check_allowed("anybody")
    assert DummyAuthenticator().check_allowed("anybody")


def test_the_server_begins_with_a_notebook_in_the_students_own_volume():
    spec = pod_of(UML)["spec"]
    (one,) = spec["containers"]
    env = {var["name"]: var.get("value") for var in one["env"]}
    (mount,) = one["volumeMounts"]
    assert one["image"] == "registry.example.org/labkit:2026-11"
    assert one["args"] == ["jupyterhub-singleuser"]
    assert env["JUPYTERHUB_ROOT_DIR"] == mount["mountPath"] == HOME
    start = env["JUPYTERHUB_DEFAULT_URL"].removeprefix("/lab/tree/")
    assert (ROOT / start).is_file()


def test_a_students_notebooks_are_copied_once(tmp_path):
    (one,) = pod_of(UML)["spec"]["containers"]
    command = one["lifecycle"]["postStart"]["exec"]["command"]
    image, home = tmp_path / "image", tmp_path / "home"
    (image / "notebooks").mkdir(parents=True)
    (image / "notebooks" / "a").write_text("new")
    (home / ".notebooks").mkdir(parents=True)  # what a start that was cut off leaves
    (home / ".notebooks" / "a").write_text("ne")

    def start() -> str:
        ours = [word.replace("/srv/labkit", str(image)) for word in command]
        assert ours != command
        subprocess.run(ours, env={**os.environ, "HOME": str(home)}, check=True)
        assert [one.name for one in home.iterdir()] == ["notebooks"]
        assert [one.name for one in (home / "notebooks").iterdir()] == ["a"]
        return (home / "notebooks" / "a").read_text()

    assert start() == "new"
    (home / "notebooks" / "a").write_text("the student's")
    assert start() == "the student's"
