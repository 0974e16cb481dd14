"""Does what the Dockerfile says, step by step, in a directory of its own, then starts what it built and looks at it.

For machines without a container engine. Each path of the image becomes one below the directory; all steps run as the
user of the image where this is run by root, which proves that neither the build nor the run needs more. Root also runs
it with every file system read-only but the volume, as an arbitrary user of the group 0. What this script does not
understand in the Dockerfile is an error, so that the two cannot drift apart.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PASSED_ON = re.compile(r"PIP_|SSL_|REQUESTS_|LANG|LC_|TZ|(HTTPS?|NO)_PROXY$", re.IGNORECASE)
FREE = ("EXPOSE", "VOLUME", "LABEL", "STOPSIGNAL")
"""Instructions that do nothing to what is inside."""


def instructions(dockerfile: str) -> Iterator[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", dockerfile, flags=re.MULTILINE))
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        yield word.upper(), rest.strip()


class Container:
    """One directory that stands for the file systems of all stages."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.owner = 65532 if os.geteuid() == 0 else os.geteuid()
        self.directory = self.inside("/")
        self.environ = {name: value for name, value in os.environ.items() if PASSED_ON.match(name)}
        self.environ |= {"HOME": str(self.inside("/home")), "PATH": f"{self.inside('/usr/local/bin')}:/usr/bin:/bin"}
        self.command: dict[str, list[str]] = {}
        self.user = ""
        self.stages: list[str] = []
        self.copied: set[str] = set()

    def inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def rewritten(self, text: str) -> str:
        """Each absolute path in `text` as one below the directory."""
        return re.sub(r"(?<![\w.:/$}])/(?=[a-z])|(?<==)/(?=[a-z])", f"{self.root}/", text)

    def run(self, *command: str, **options: object) -> subprocess.Popen[str]:
        as_user = {"user": self.owner, "group": self.owner, "extra_groups": []} if os.geteuid() == 0 else {}
        # Its overloads tell apart by options that are not known here.
        return subprocess.Popen(command, cwd=self.directory, text=True, **{"env": self.environ} | as_user | options)  # type: ignore[call-overload, no-any-return]

    def must(self, *command: str, **options: object) -> str:
        process = self.run(*command, stdout=subprocess.PIPE, **options)
        output, _ = process.communicate()
        if process.returncode:
            sys.exit(f"{output}\nfailed with {process.returncode}: {shlex.join(command)}")
        return output

    def build(self, dockerfile: str) -> None:
        self.inside("/home").mkdir(parents=True)
        os.chown(self.root, self.owner, self.owner)
        os.chown(self.inside("/home"), self.owner, self.owner)
        self.must(self._python(), "-m", "venv", str(self.inside("/usr/local")))
        for word, rest in instructions(dockerfile):
            print(f"{word} {rest}"[:120], flush=True)
            if word not in FREE:
                getattr(self, f"do_{word.lower()}")(rest)

    def _python(self) -> str:
        """One that the user of the image can run: root's own may be out of reach."""
        probe = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
        for python in (f"{sys.base_prefix}/bin/python3", "/usr/local/bin/python3", "/usr/bin/python3"):
            with contextlib.suppress(OSError):
                if self.run(python, "-c", probe, stderr=subprocess.DEVNULL).wait() == 0:
                    return python
        sys.exit(f"no Python 3.11 with venv that the user {self.owner} can run")

    def do_from(self, rest: str) -> None:
        """A stage begins without what the one before has left; what it copies from there is kept."""
        image, _, name = rest.partition(" AS ")
        if not image.startswith("python:3"):
            sys.exit(f"{image} is no image of Python: what is in it cannot be known here")
        self.stages.append(name)
        self.directory = self.inside("/")

    def do_workdir(self, rest: str) -> None:
        self.directory = self.inside(rest)
        self.directory.mkdir(parents=True, exist_ok=True)
        os.chown(self.directory, self.owner, self.owner)

    def do_copy(self, rest: str) -> None:
        *sources, target = shlex.split(rest)
        if sources[0].startswith("--from="):
            if sources != [f"--from={self.stages[-2]}", target]:
                sys.exit("a COPY from another stage must keep its path")
            self._keep_only(target)
            return
        for source in sources:
            self._copy(ROOT / source, self.directory / (source if target == "./" else target))

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
        for path in (target, *target.rglob("*")):
            os.chown(path, self.owner, self.owner)

    def _keep_only(self, path: str) -> None:
        for left in ("/src", "/wheels"):
            if not path.startswith(left):
                shutil.rmtree(self.inside(left), ignore_errors=True)

    def do_run(self, rest: str) -> None:
        rest = self.rewritten(rest)
        rest = re.sub(r"(-[og]) (?:65532|0)\b", rf"\1 {self.owner}", rest)
        self._allow_in(self.inside("/opt"), self.inside("/var/lib"), self.inside("/wheels"))
        self.must("/bin/sh", "-euc", rest)

    def _allow_in(self, *directories: Path) -> None:
        for directory in directories:
            directory.mkdir(parents=True, exist_ok=True)
            os.chown(directory, self.owner, self.owner)

    def do_env(self, rest: str) -> None:
        name, _, value = rest.partition("=")
        self.environ[name] = self.rewritten(value).replace("$PATH", self.environ["PATH"])

    def do_user(self, rest: str) -> None:
        if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", rest):
            sys.exit(f"USER {rest} is not a number and a group other than root's")
        self.user = rest

    def do_healthcheck(self, rest: str) -> None:
        self.command["health"] = json.loads(rest[rest.index("CMD ") + 4 :])

    def do_entrypoint(self, rest: str) -> None:
        self.command["entrypoint"] = json.loads(rest)

    def do_cmd(self, rest: str) -> None:
        self.command["cmd"] = json.loads(rest)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def fetch(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def wait_for(port: int, path: str, process: subprocess.Popen[str], *, status: int = 200, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            sys.exit(f"the process ended with {process.returncode} before {path} was there")
        with contextlib.suppress(OSError, http.client.HTTPException):
            if fetch(port, path)[0] == status:
                return
        time.sleep(0.2)
    sys.exit(f"{path} did not answer {status} within {seconds} s")


@contextlib.contextmanager
def running(
    container: Container, command: list[str], environ: dict[str, str], **options: object
) -> Iterator[subprocess.Popen[str]]:
    process = container.run(*command, env=container.environ | environ, **options)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


READ_ONLY = """
mount --bind "$1" "$1"
for place in $(findmnt --noheadings --raw --output TARGET); do
    [ "$place" = "$1" ] || mount -o remount,ro,bind "$place" 2>/dev/null || true
done
! touch "$(dirname "$1")" 2>/dev/null || { echo "$(dirname "$1") can be written to" >&2; exit 1; }
shift
exec setpriv --reuid 1000620000 --regid 0 --clear-groups -- "$@"
"""
"""Runs a command in file systems that are read-only but for the first argument, a directory, as a user that nobody has
heard of, in the group 0: what OpenShift does."""


def confined(container: Container, command: list[str]) -> list[str]:
    """The command as OpenShift would run it, with an empty volume. Only root can do so."""
    volume = Path(container.environ["UNPOD_EXPORTER_STATE_PATH"]).parent
    shutil.rmtree(volume)
    volume.mkdir()
    volume.chmod(0o770)
    return ["unshare", "--mount", "sh", "-eu", "-c", READ_ONLY, "sh", str(volume), *command]


def read_sbom(container: Container) -> None:
    """Each package of the image stands in it with its version."""
    found = json.loads(container.inside("/opt/unpod-exporter/sbom.cdx.json").read_text())["components"]
    listed = {part["name"].lower().replace("_", "-") for part in found}
    locked = set(re.findall(r"^([\w.-]+)==[^\s;]+ \\", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    if missing := {"unpod-exporter", *locked} - listed:
        sys.exit(f"the list of what is inside lacks {', '.join(sorted(missing))}")
    print(f"the list of what is inside names {len(listed)} packages")


def smoke(container: Container) -> None:
    entrypoint, command = container.command["entrypoint"], container.command["cmd"]
    print(container.must(*entrypoint, "--version").strip())
    token = {"UNPOD_API_TOKEN": "demo-token"}
    example = container.inside("/etc/unpod-exporter/config.example.yaml")
    container._copy(ROOT / example.name, example)
    container.must(*entrypoint, "check", "--config.file", str(example), env=container.environ | token)
    platform = free_port()
    environ = {
        **token,
        "UNPOD_ORG_HANDLE": "demo-org",
        "UNPOD_BASE_URL": f"http://127.0.0.1:{platform}",
    }
    simulator = [*entrypoint, "simulate", "--listen", f"127.0.0.1:{platform}", "--agents", "2", "--tasks", "50"]
    with running(container, simulator, {}) as simulated:
        # Without a token it refuses, but it is there.
        wait_for(platform, "/api/v2/platform/agents/", simulated, status=401)
        try_out(container, [*entrypoint, *command], environ)
        print("started, healthy, scraped, stopped; the state is on disk")
        if os.geteuid() == 0:
            root = {"user": 0, "group": 0}
            try_out(container, confined(container, [*entrypoint, *command]), environ, **root)
            print("the same with read-only file systems, as an arbitrary user")


def try_out(container: Container, command: list[str], environ: dict[str, str], **options: object) -> None:
    port = free_port()
    environ = {**environ, "UNPOD_EXPORTER_WEB_LISTEN_ADDRESS": f"127.0.0.1:{port}"}
    with running(container, command, environ, **options) as run:
        wait_for(port, "/-/ready", run)
        container.must(*container.command["health"], env=container.environ | environ)
        look_at(fetch(port, "/metrics")[1])
        run.send_signal(signal.SIGTERM)
        code = run.wait(5)
    state = Path(container.environ["UNPOD_EXPORTER_STATE_PATH"])
    if code or not state.stat().st_size:
        sys.exit(f"the exporter ended with {code}; its state file has {state.stat().st_size} bytes")


def look_at(metrics: str) -> None:
    seen = re.findall(r"^unpod_agent_up\{.*\} 1(?:\.0)?$", metrics, re.MULTILINE)
    if not seen:
        sys.exit("no agent is up")
    print(f"{len(seen)} agents are up, {metrics.count(chr(10))} lines of metrics")


def main() -> None:
    root = Path(tempfile.mkdtemp(prefix="container-"))
    root.chmod(0o755)
    try:
        container = Container(root)
        container.build((ROOT / "Dockerfile").read_text())
        read_sbom(container)
        smoke(container)
    finally:
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
