"""A W&B server on the loopback, with as much memory as the tests ask about: runs, their history, files and artifacts.

It answers what wandb 0.31 asks when it logs in, starts or resumes a run, streams history, and uploads files and
artifacts. Lines of a stream are put where the client says they belong, so a line that is sent twice at two places
shows twice. What it was asked and did not know is kept in `unknown`.
"""

from __future__ import annotations

import gzip
import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import PIPE
from typing import Any

HISTORY, EVENTS, SUMMARY = "wandb-history.jsonl", "wandb-events.jsonl", "wandb-summary.json"
KEY = "0123456789abcdef" * 3
ENTITY = "team"


@dataclass
class Run:
    """What the server holds of a run."""

    name: str
    display_name: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    streams: dict[str, list[str]] = field(default_factory=dict)
    upserts: list[dict[str, Any]] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)

    @property
    def history(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.streams.get(HISTORY, [])]

    @property
    def values(self) -> dict[str, Any]:
        """Its config as the user gave it."""
        return {key: item["value"] for key, item in self.config.items() if key != "_wandb"}


@dataclass
class Artifact:
    """What the server holds of an artifact."""

    name: str
    type: str
    metadata: dict[str, Any]
    aliases: list[str]
    run: str
    digest: str
    committed: bool = False


class WandbServer:
    """Runs in threads of this process until `die`."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}
        self.artifacts: list[Artifact] = []
        self.uploads: dict[str, bytes] = {}
        self.views: list[dict[str, Any]] = []
        self.unknown: list[str] = []
        self.crashes_clients = False
        self.denies = False
        self.full = False
        self.heard: list[bytes] = []
        self.lines = threading.Condition()
        self._hanging = False
        self._connections: set[socket.socket] = set()
        self._http = _Http(self)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        """What a process has to have in its environment to be logged in here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": KEY}

    def wait_for_history(self, lines: int, timeout: float = 60) -> None:
        """Return once that many lines of history have come, of all runs together."""
        with self.lines:
            assert self.lines.wait_for(lambda: sum(len(run.history) for run in self.runs.values()) >= lines, timeout)

    def die(self) -> None:
        """Close the port and every connection: from now on connections are refused."""
        self._hanging = False
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._connections):
            _cut(connection)

    def hang(self) -> None:
        """Take what is asked from now on, and never answer."""
        self._hanging = True

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        if self._hanging or self.denies:
            return {"errors": [{"message": "denied"}]}
        with self.lines:
            if path == "/graphql":
                question = json.loads(body)
                return {"data": self._graphql(question)}
            if path.endswith("/file_stream"):
                self._stream(self.runs[path.split("/")[-2]], json.loads(body))
            elif not path.startswith("/sdk/otel/"):
                self.unknown.append(path)
            self.lines.notify_all()
            return {}

    def _graphql(self, question: dict[str, Any]) -> dict[str, Any]:
        # Some questions have no operationName; their text begins with `query Name(...`.
        name = question.get("operationName") or question["query"].split("(")[0].split("{")[0].split()[1]
        answer = getattr(self, f"_{name}", None)
        if answer is None:
            self.unknown.append(question["query"])
            return {}
        given: dict[str, Any] = question.get("variables") or {}
        return answer(given.get("input", given))  # type: ignore[no-any-return]

    @staticmethod
    def _stream(run: Run, message: dict[str, Any]) -> None:
        for name, chunk in (message.get("files") or {}).items():
            lines = run.streams.setdefault(name, [])
            assert chunk["offset"] <= len(lines), f"{name} begins at {chunk['offset']}, {len(lines)} lines have come"
            lines[chunk["offset"] : chunk["offset"] + len(chunk["content"])] = chunk["content"]
        if message.get("complete"):
            run.exit_codes.append(message["exitcode"])

    def _Viewer(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"viewer": {"id": "u", "entity": ENTITY, "username": "someone", "email": "someone@example.org",
                           "flags": "{}", "teams": {"edges": []}}}  # fmt: skip

    def _GetDefaultEntity(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._Viewer(given)

    def _UpsertView2(self, given: dict[str, Any]) -> dict[str, Any]:
        self.views.append(given)
        return {"upsertView": {"view": {"id": "v", "name": given["name"]}, "inserted": True}}

    def _ServerFeaturesQuery(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"serverInfo": {"features": []}}

    def _OrganizationCoreWeaveOrganizationID(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"entity": {"organization": None}}

    def _RunResumeStatus(self, given: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(given["name"])
        bucket = None
        if run is not None:
            history, events = run.streams.get(HISTORY, []), run.streams.get(EVENTS, [])
            bucket = {
                "id": f"run-{run.name}", "name": run.name, "displayName": run.display_name, "tags": [], "notes": None,
                "config": json.dumps(run.config), "summaryMetrics": (run.streams.get(SUMMARY) or ["{}"])[-1],
                "historyLineCount": len(history), "eventsLineCount": len(events), "logLineCount": 0,
                "historyTail": json.dumps(history[-1:]), "eventsTail": json.dumps(events[-1:]),
                "wandbConfig": '{"t": 1}',
            }  # fmt: skip
        return {"model": {**self._project(given), "bucket": bucket}}

    def _UpsertBucket(self, given: dict[str, Any]) -> dict[str, Any]:
        inserted = given["name"] not in self.runs
        run = self.runs.setdefault(given["name"], Run(given["name"]))
        run.upserts.append(given)
        run.config = json.loads(given["config"]) if given.get("config") else run.config
        run.display_name = given.get("displayName") or run.display_name
        bucket = {
            "id": f"run-{run.name}", "name": run.name, "displayName": run.display_name, "description": None,
            "config": json.dumps(run.config), "sweepName": None, "project": self._project(given),
            "historyLineCount": len(run.streams.get(HISTORY, [])),
        }  # fmt: skip
        return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}

    def _ArtifactType(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"project": {"artifact": None}}

    def _CreateArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        if self.crashes_clients:
            return {}  # wandb-core 0.31 takes what it asked for to be in every answer, and dies where it is not
        self.artifacts.append(
            Artifact(
                name=(given.get("artifactCollectionNames") or [given.get("artifactCollectionName")])[0],
                type=given["artifactTypeName"],
                metadata=json.loads(given.get("metadata") or "{}"),
                aliases=[alias["alias"] for alias in given["aliases"]],
                run=given["runName"],
                digest=given["digest"],
            )
        )
        number = len(self.artifacts) - 1
        return {"createArtifact": {"artifact": {
            "id": str(number), "state": "PENDING", "artifactSequence": {"id": "s", "latestArtifact": None},
        }}}  # fmt: skip

    def _CreateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._manifest("createArtifactManifest", given["artifactID"])

    def _UpdateArtifactManifest(self, given: dict[str, Any]) -> dict[str, Any]:
        return self._manifest("updateArtifactManifest", given["artifactManifestID"])

    def _manifest(self, question: str, name: str) -> dict[str, Any]:
        file = {"id": name, "uploadUrl": self._storage("manifests", name), "uploadHeaders": []}
        return {question: {"artifactManifest": {"id": name, "file": file}}}

    def _CreateArtifactFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        nodes = [
            {
                "storagePath": f"artifacts/{file['artifactID']}/{file['name']}",
                "uploadUrl": self._storage("artifacts", file["artifactID"], file["name"]),
                "uploadHeaders": [], "uploadMultipartUrls": None, "artifact": {"id": file["artifactID"]},
            }
            for file in given["artifactFiles"]
        ]  # fmt: skip
        return {"createArtifactFiles": {"files": {"edges": [{"node": node} for node in nodes]}}}

    def _CommitArtifact(self, given: dict[str, Any]) -> dict[str, Any]:
        artifact = self.artifacts[int(given["artifactID"])]
        artifact.committed = True
        return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": artifact.digest}}}

    def _ArtifactByID(self, given: dict[str, Any]) -> dict[str, Any]:
        number = int(given["id"])
        artifact = self.artifacts[number]
        project = {"id": "p", "internalId": "p", "name": "alignlab", "entity": {"name": ENTITY}}
        collection = {"__typename": "ArtifactSequence", "name": artifact.name, "project": project}
        aliases = [
            {"artifactCollection": collection, "__typename": "ArtifactAlias", "id": alias, "alias": alias}
            for alias in artifact.aliases
        ]
        return {"artifact": {
            "__typename": "Artifact", "id": given["id"], "artifactSequence": collection, "versionIndex": number,
            "artifactType": {"name": artifact.type}, "description": None, "metadata": json.dumps(artifact.metadata),
            "ttlDurationSeconds": -2, "ttlIsInherited": True, "tags": [], "historyStep": None,
            "state": "COMMITTED" if artifact.committed else "PENDING", "size": 0, "digest": artifact.digest,
            "commitHash": "", "fileCount": 1, "createdAt": "2026-01-01T00:00:00", "updatedAt": None,
            "aliases": aliases,
        }}  # fmt: skip

    def _CreateRunFiles(self, given: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": self._storage(given["run"], name)} for name in given["files"]]
        return {"createRunFiles": {"runID": given["run"], "uploadHeaders": [], "files": files}}

    def _storage(self, *parts: str) -> str:
        return "/".join((self.url, "storage", *parts))

    @staticmethod
    def _project(given: dict[str, Any]) -> dict[str, Any]:
        return {"id": "p", "name": given.get("project") or "alignlab", "entity": {"id": "e", "name": ENTITY}}


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, wandb: WandbServer) -> None:
        self.wandb = wandb
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.wandb._connections.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients may go away at any time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http

    def do_POST(self) -> None:
        self._reply(self.server.wandb.answer(self.path, self._body()))

    def do_PUT(self) -> None:
        wandb = self.server.wandb
        wandb.uploads[self.path] = self._body()
        self._reply({}, 403 if wandb.full and self.path.startswith("/storage/artifacts/") else 200)

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.server.wandb.heard.append(body)
        return body

    def _reply(self, answer: dict[str, Any], status: int = 200) -> None:
        while self.server.wandb._hanging:
            time.sleep(0.1)
        text = json.dumps(answer).encode()
        self.send_response(401 if self.server.wandb.denies else status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    except OSError:
        pass  # it was closed already


@contextmanager
def silent_server() -> Iterator[str]:
    """The address of a server that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"  # the kernel accepts, up to its backlog


class Forks:
    """Processes that begin as forks of one that has imported what takes seconds; they are run one after another.

    code: Python that defines `work(job, process)`, which a fork calls in the job's folder and environment.
    """

    def __init__(self, code: str) -> None:
        self._script = subprocess.Popen(
            [sys.executable, "-c", code + _FORKS], env=bare_environment(), stdin=PIPE, stdout=PIPE, text=True, bufsize=1
        )

    def start(self, folder: Path, environment: dict[str, str], processes: Sequence[Any], **job: Any) -> Job:
        """Start as many processes as `processes` has items; `HOME` is a folder of their own."""
        (folder / "home").mkdir(parents=True)
        environment = bare_environment() | {"HOME": str(folder / "home")} | environment
        job |= {"folder": str(folder), "environment": environment, "processes": processes}
        assert self._script.stdin is not None
        self._script.stdin.write(json.dumps(job) + "\n")
        return Job(self._script, folder, len(processes))

    def end(self) -> None:
        self._script.kill()
        self._script.wait()


_FORKS = """
import json, os, sys

for line in sys.stdin:
    job = json.loads(line)
    for process in job["processes"]:
        if (child := os.fork()) == 0:
            os.chdir(job["folder"])
            for number, name in ((1, "printed"), (2, "complaints")):
                os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
            os.environ.clear()
            os.environ.update(job["environment"])
            sys.argv[1:] = job.get("arguments", ())
            sys.exit(work(job, process))
        print(os.waitpid(child, 0)[1], flush=True)
"""


class Job:
    """Processes that have been started."""

    def __init__(self, script: subprocess.Popen[str], folder: Path, count: int) -> None:
        self._script, self._folder, self._count = script, folder, count

    def end(self) -> Job:
        """Wait for the end; then there are the exit statuses and the complaints."""
        assert self._script.stdout is not None
        self.statuses = []
        for _ in range(self._count):
            assert select.select([self._script.stdout], [], [], 100)[0], "a process does not end"
            self.statuses.append(int(self._script.stdout.readline()))
        self.complaints = (self._folder / "complaints").read_text()
        return self


def bare_environment() -> dict[str, str]:
    """This environment with nothing of W&B."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return kept | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
