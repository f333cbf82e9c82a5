"""A stand-in for the Hugging Face Hub on the loopback: what huggingface_hub asks of it to push and pull small files."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import unquote, urlsplit

API = re.compile(r"/api/(models|datasets)/([\w.-]+/[\w.-]+)(?:/(\w+)/([\w.-]+))?(?:/(.*))?")
FILE = re.compile(r"/(datasets/)?([\w.-]+/[\w.-]+)/resolve/([\w.-]+)/(.+)")


@dataclass
class Hub:
    """Repositories by kind and name, each its files' bytes; ``asked`` is every request, ``private`` who is so."""

    repositories: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    private: set[str] = field(default_factory=set)
    address: str = ""


def commit_of(files: dict[str, bytes]) -> str:
    return hashlib.sha1(repr(sorted(files.items())).encode(), usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        self.hub.asked.append(f"{self.command} {self.path}")

    def answer(self, content: Any, status: int = 200, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def missing(self, code: str = "RepoNotFound") -> None:
        self.answer({"error": "not found"}, 404, X_Error_Code=code)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if match := FILE.fullmatch(path):
            kind, name, _, file = match.groups()
            self.one_file(self.hub.repositories.get(("datasets" if kind else "models", name)), file)
            return
        match = API.fullmatch(path)
        files = self.hub.repositories.get((match[1], match[2])) if match else None
        if match is None or files is None:
            self.missing()
        elif match[3] == "tree":
            sizes = {file: (len(content), commit_of({file: content})) for file, content in files.items()}
            self.answer([{"type": "file", "path": file, "size": n, "oid": oid} for file, (n, oid) in sizes.items()])
        elif match[3] == "revision" and match[4] not in ("main", commit_of(files)):
            self.missing("RevisionNotFound")
        else:
            siblings = [{"rfilename": file} for file in files]
            facts = {"id": match[2], "sha": commit_of(files), "siblings": siblings}
            self.answer(facts | {"private": False, "tags": []})

    def one_file(self, files: dict[str, bytes] | None, name: str) -> None:
        if files is None or name not in files:
            self.missing("RepoNotFound" if files is None else "EntryNotFound")
            return
        etag = hashlib.sha256(files[name]).hexdigest()
        self.answer(files[name], ETag=f'"{etag}"', X_Repo_Commit=commit_of(files))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = unquote(urlsplit(self.path).path)
        if path == "/api/validate-yaml":
            return self.answer({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            given = json.loads(body)
            name = f"{given['organization']}/{given['name']}"
            kind = f"{given.get('type', 'model')}s"
            self.hub.repositories.setdefault((kind, name), {".gitattributes": b"*.safetensors filter=lfs\n"})
            self.hub.private |= {name} if given.get("visibility") == "private" else set()
            return self.answer({"url": f"{self.hub.address}/{'datasets/' * (kind == 'datasets')}{name}"})
        match = API.fullmatch(path)
        files = self.hub.repositories.get((match[1], match[2])) if match else None
        if match is None or files is None:
            return self.missing()
        if match[3] == "preupload":
            modes = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer({"files": modes})
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        url = f"{self.hub.address}/{match[2]}/commit/{commit_of(files)}"
        return self.answer({"commitUrl": url, "commitOid": commit_of(files), "success": True})


@contextmanager
def serving() -> Iterator[Hub]:
    """A hub that answers until the end of the block."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
