"""Checks one part of deploy/ against its format's schema and against the binary: every command, flag, variable and
configuration key in these files must exist. Prints what is wrong, one thing a line; exits 1 when anything is."""

import importlib.util
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
FLAGSTOP = sys.argv[2]
# The oldest and the newest Kubernetes that the manifests are for.
KUBERNETES = ["1.30", "1.37"]
# What a worker needs after `worker.grace_ms` to close its connections, in seconds.
GRACE_MARGIN_S = 5

wrong = []


def expect(holds, what):
    if not holds:
        wrong.append(what)


# --- The binary -------------------------------------------------------------------------------------------------


def flagstop(args, environment=None):
    """Runs the binary in an empty directory, with these variables and no others."""
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(
            [FLAGSTOP, *args], cwd=empty, env=environment or {}, capture_output=True, text=True, timeout=60
        )


def check_command(where, args):
    """`--help` is only reached when all that stands before it is known."""
    result = flagstop([*args, "--help"])
    expect(result.returncode == 0, f"{where}: flagstop {shlex.join(args)}: {result.stderr.strip()}")


def check_configuration(where, variables, toml=""):
    """Loads the configuration for a store that is not there: what is wrong with a key is said before that."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        ours = {}
        for name, value in variables.items():
            if not name.startswith("FLAGSTOP__"):
                continue
            if name.endswith("_FILE"):
                value = folder / name
                value.write_text("somewhere:")
            ours[name] = str(value)
        (folder / "flagstop.toml").write_text(toml)
        nowhere = ["--store", f"sqlite:{folder}/nowhere.db"]
        result = flagstop(["migrate", "--check", "--config", f"{folder}/flagstop.toml", *nowhere], ours)
        expect("FS-STORE-SCHEMA" in result.stderr, f"{where}: {result.stderr.strip()}")


# --- Images -----------------------------------------------------------------------------------------------------


def images():
    for path in [DEPLOY / "Dockerfile", ROOT / "examples/subscriber/Dockerfile"]:
        check_dockerfile(path, ROOT if path.parent == DEPLOY else path.parent)
    text = (DEPLOY / "Dockerfile").read_text()
    channel = re.search(r'channel = "(.*)"', (ROOT / "rust-toolchain.toml").read_text())[1]
    expect(f"FROM rust:{channel}-" in text, f"the Dockerfile builds with another Rust than {channel}")
    releases = set(re.findall(r"FROM \S*(bookworm|trixie)\S*", text))
    expect(len(releases) == 1, f"what is built on one Debian need not run on another: {releases}")
    # Debian's slim image has the C library and libgcc_s; the Dockerfile installs the rest.
    needed = set(re.findall(r"NEEDED.*\[(.*?)\]", subprocess.run(
        ["readelf", "-d", FLAGSTOP], capture_output=True, text=True, check=True).stdout))
    there = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    if "zlib1g " in text:
        there.add("libz.so.1")
    expect(needed <= there, f"libraries that the image lacks: {needed - there}")


def check_dockerfile(path, context):
    from dockerfile_parse import DockerfileParser

    where = path.relative_to(ROOT)
    with path.open("rb") as file:
        steps = DockerfileParser(fileobj=file).structure
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "STOPSIGNAL", "ENTRYPOINT", "CMD", "COMMENT"}
    expect({step["instruction"] for step in steps} <= known, f"{where}: an instruction that this check does not know")
    stages = []
    user = None
    for step in steps:
        name, words = step["instruction"], step["value"].split()
        if name == "FROM":
            expect(re.search(r":[^:]*\d|bookworm|trixie", words[0]), f"{where}: {words[0]} has no version")
            stages.append(words[2] if len(words) == 3 else None)
            user = None
        elif name == "USER":
            user = words[0]
        elif name == "COPY" and words[0].startswith("--from="):
            expect(words[0].removeprefix("--from=") in stages[:-1], f"{where}: {step['value']}: no such stage")
        elif name == "COPY":
            for source in words[:-1]:
                expect((context / source).exists(), f"{where}: {source} is not in the context")
        elif name in ("ENTRYPOINT", "CMD"):
            command = json.loads(step["value"])
            if name == "CMD":
                check_command(where, command)
    expect(user is not None and re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), f"{where}: it must end as a plain user")


# --- Compose ----------------------------------------------------------------------------------------------------


def compose():
    import jsonschema

    package = importlib.util.find_spec("compose").submodule_search_locations[0]
    schema = json.loads((Path(package) / "config/compose_spec.json").read_text())
    for path in sorted((DEPLOY / "compose").glob("*.yaml")):
        where = path.relative_to(ROOT)
        composition = yaml.safe_load(path.read_text())
        # Younger than the schema.
        composition.pop("name")
        errors = list(jsonschema.Draft7Validator(schema).iter_errors(composition))
        wrong.extend(f"{where}: {error.json_path}: {error.message}" for error in errors)
        if errors:
            continue
        services = composition["services"]
        expect(services["worker"]["deploy"]["replicas"] >= 2, f"{where}: two workers")
        for name, service in services.items():
            check_service(f"{where}: {name}", path.parent, service, composition)


def check_service(where, folder, service, composition):
    for other, condition in service.get("depends_on", {}).items():
        expect(other in composition["services"], f"{where}: depends on {other}, which is not there")
        if condition["condition"] == "service_healthy":
            expect("healthcheck" in composition["services"][other], f"{where}: {other} has no health check")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        known = (folder / source).exists() if source.startswith(".") else source in composition["volumes"]
        expect(known, f"{where}: there is no {source}")
    build = service.get("build")
    if build is not None:
        build = build if isinstance(build, dict) else {"context": build}
        file = folder / build["context"] / build.get("dockerfile", "Dockerfile")
        expect(file.exists(), f"{where}: there is no {file}")
    else:
        expect(re.search(r":\d", service["image"]), f"{where}: {service['image']} has no version")
    if service.get("image") == "flagstop":
        check_command(where, service["command"])
        check_configuration(where, service["environment"])
        test = service.get("healthcheck", {}).get("test", ["CMD", "flagstop", "--help"])
        expect(test[:2] == ["CMD", "flagstop"], f"{where}: the image has no {test[1]}")
        check_command(where, test[2:])
    if service.get("command", [""])[0] == "worker":
        check_grace(where, int(service["stop_grace_period"].removesuffix("s")), "")


def check_grace(where, grace_s, toml):
    """The worker's own grace must fit into what it is given."""
    configured = re.search(r"^grace_ms = (\d+)", toml, re.MULTILINE)
    default = re.search(r"^const GRACE_MS: u64 = ([\d_]+);", (ROOT / "worker/cli/src/config/mod.rs").read_text(), re.M)
    wanted_ms = int((configured or default)[1])
    expect(grace_s * 1000 >= wanted_ms + GRACE_MARGIN_S * 1000, f"{where}: {grace_s} s of grace for {wanted_ms} ms")


# --- Kubernetes -------------------------------------------------------------------------------------------------


def kubernetes():
    import kubernetes_validate

    folder = DEPLOY / "kubernetes"
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secrets.example.yaml"}
    expect(files == set(kustomization["resources"]), f"kustomization.yaml lists {kustomization['resources']} of {files}")
    manifests = {}
    for path in sorted(folder.glob("*.yaml")):
        for manifest in yaml.safe_load_all(path.read_text()):
            if path.name == "kustomization.yaml":
                continue
            manifests[manifest["kind"], manifest["metadata"]["name"]] = manifest
            for version in KUBERNETES:
                try:
                    kubernetes_validate.validate(manifest, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    wrong.append(f"{path.name}, Kubernetes {version}: {error.message}")
    toml = manifests["ConfigMap", "flagstop"]["data"]["flagstop.toml"]
    for (kind, name), manifest in manifests.items():
        if kind in ("Deployment", "Job"):
            check_pods(f"{kind} {name}", manifest["spec"]["template"], manifests, toml)
    deployment = manifests["Deployment", "flagstop-worker"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    for owner in (deployment, manifests["PodDisruptionBudget", "flagstop-worker"]):
        expect(owner["spec"]["selector"]["matchLabels"] == labels, f"{owner['kind']} selects other pods")
    target = manifests["HorizontalPodAutoscaler", "flagstop-worker"]["spec"]["scaleTargetRef"]
    expect((target["kind"], target["name"]) in manifests, f"nothing to scale: {target}")
    check_grace("worker.yaml", deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], toml)


def check_pods(where, template, manifests, toml):
    pods = template["spec"]
    sources = {}
    for volume in pods["volumes"]:
        kind, name = ("ConfigMap", volume["configMap"]["name"]) if "configMap" in volume else (
            "Secret", volume["secret"]["secretName"])
        expect((kind, name) in manifests, f"{where}: there is no {kind} {name}")
        manifest = manifests[kind, name]
        sources[volume["name"]] = manifest.get("data") or manifest["stringData"]
    expect(pods["securityContext"]["runAsNonRoot"], f"{where}: runs as root")
    for container in pods.get("initContainers", []) + pods["containers"]:
        at = f"{where}: {container['name']}"
        expect(container["securityContext"]["readOnlyRootFilesystem"], f"{at}: may write into its image")
        check_command(at, container["args"])
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        check_configuration(at, variables, toml)
        mounts = {mount["mountPath"]: sources[mount["name"]] for mount in container["volumeMounts"]}
        for name, path in variables.items():
            mount = next((files for folder, files in mounts.items() if path.startswith(folder + "/")), {})
            expect(path.rsplit("/", 1)[1] in mount, f"{at}: {name}: no volume holds {path}")
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if probe in container:
                expect(container[probe]["httpGet"]["port"] in ports, f"{at}: {probe} asks a port that is not there")


# --- systemd ----------------------------------------------------------------------------------------------------


def systemd():
    for path in sorted((DEPLOY / "systemd").glob("*.service")):
        text = path.read_text()
        command = re.search(r"^ExecStart=/usr/local/bin/flagstop (.*)$", text, re.MULTILINE)[1]
        check_command(path.name, shlex.split(command))
        variables = {}
        for line in re.findall(r"^Environment=(.*)$", text, re.MULTILINE):
            variables.update(pair.split("=", 1) for pair in shlex.split(line))
        check_configuration(path.name, variables)
        credentials = set(re.findall(r"^LoadCredential=(.*?):", text, re.MULTILINE))
        expect({value.removeprefix("%d/") for value in variables.values()} == credentials, "credentials and variables differ")
        check_grace(path.name, int(re.search(r"^TimeoutStopSec=(\d+)$", text, re.MULTILINE)[1]), "")
        with tempfile.TemporaryDirectory() as folder:
            # The check wants the program to be where the unit says, and an instance's name.
            unit = Path(folder) / path.name.replace("@.", "@1.")
            unit.write_text(text.replace("/usr/local/bin/flagstop", FLAGSTOP))
            result = subprocess.run(
                ["systemd-analyze", "verify", "--man=no", "--recursive-errors=one", str(unit)],
                capture_output=True, text=True,
            )
            expect(result.returncode == 0 and not result.stderr, f"{path.name}: {result.stderr.strip()}")


{"images": images, "compose": compose, "kubernetes": kubernetes, "systemd": systemd}[sys.argv[1]]()
for what in wrong:
    print(what)
sys.exit(1 if wrong else 0)
