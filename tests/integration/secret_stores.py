"""Stores of secrets as people have them: a desktop's keyring in a session of its own, and AWS Secrets Manager's API.

The keyring is GNOME's, behind a message bus that has nothing else; nothing of the machine's own session is met. The
API is a server on loopback for the real `aws`.
"""

import json
import os
import pwd
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.egress_runs import wait_for

TIMEOUT_S = 60
START_S = 60.0
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path={place}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>
</busconfig>
"""
DAEMON = ("gnome-keyring-daemon", "--foreground", "--components=secrets")
OWNED = (
    *("dbus-send", "--print-reply", "--dest=org.freedesktop.DBus", "/", "org.freedesktop.DBus.NameHasOwner"),
    "string:org.freedesktop.secrets",
)


class Session:
    """A user's desktop session, as far as there is a keyring in it; it begins unlocked, with nothing stored.

    The names of its sockets begin with `place`, and must stay short of 108 bytes (unix(7)).
    """

    def __init__(self, place: Path, account: pwd.struct_passwd) -> None:
        place.mkdir(mode=0o700)
        os.chown(place, account.pw_uid, account.pw_gid)
        self.account = account
        self.address = f"unix:path={place}/bus"
        self.variables = {
            "HOME": str(place),
            "XDG_RUNTIME_DIR": str(place),
            "DBUS_SESSION_BUS_ADDRESS": self.address,
            "PATH": "/usr/bin:/bin",
        }
        file = place / "bus.conf"
        file.write_text(BUS.format(place=place))
        file.chmod(0o644)
        self.bus = self._start("dbus-daemon", f"--config-file={file}", "--nofork", "--nopidfile")
        self.daemon = self.bus
        try:
            wait_for(lambda: listens(place / "bus"), START_S)
            self._serve("--unlock", told="password of the session")
        except BaseException:
            self.close()
            raise

    def store(self, service: str, user: str, value: str) -> None:
        """Store a value as people do it."""
        self._outside("secret-tool", "store", "--label=x", "service", service, "username", user, told=value)

    def lock(self) -> None:
        """Begin anew, without the password."""
        self.leave()
        self._serve()

    def leave(self) -> None:
        """End the keyring, and leave the bus without one."""
        self.daemon.kill()
        self.daemon.wait(TIMEOUT_S)

    def close(self) -> None:
        """End both."""
        for one in (self.daemon, self.bus):
            one.kill()
            one.wait(TIMEOUT_S)

    def _serve(self, *options: str, told: str = "") -> None:
        self.daemon = self._start(*DAEMON, *options, told=told)
        wait_for(lambda: "boolean true" in self._outside(*OWNED), START_S)

    def _start(self, *words: str, told: str = "") -> "subprocess.Popen[bytes]":
        quiet: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
        started = subprocess.Popen(words, stdin=subprocess.PIPE, env=self.variables, cwd="/", **quiet, **self._become())
        assert started.stdin is not None
        started.stdin.write(told.encode())
        started.stdin.close()
        return started

    def _outside(self, *words: str, told: str = "") -> str:
        streams: dict[str, Any] = {"input": told, "capture_output": True, "text": True}
        more = streams | self._become()
        done = subprocess.run(words, env=self.variables, cwd="/", timeout=TIMEOUT_S, check=True, **more)
        return str(done.stdout)

    def _become(self) -> dict[str, Any]:
        if self.account.pw_uid == os.geteuid():
            return {}
        return {"user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}


def listens(path: Path) -> bool:
    """Whether somebody does at a socket, which is there a moment before."""
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(str(path)) == 0


# ---- AWS

STUB = r"""
import http.server, json, sys, threading
KEPT = json.loads(sys.argv[1])

class Api(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        name, signature = asked["SecretId"], self.headers["authorization"]
        status, answer = 400, {"__type": "ResourceNotFoundException", "Message": "cannot find it"}
        if self.headers["x-amz-target"] != "secretsmanager.GetSecretValue":
            answer = {"__type": "InvalidAction"}
        elif not signature.startswith("AWS4-HMAC-SHA256 Credential=AKIA"):
            answer = {"__type": "MissingAuthenticationToken"}
        elif name == "broken":
            status, answer = 500, {"__type": "InternalServiceError", "Message": KEPT["app"]}
        elif name == "silent":
            threading.Event().wait()
        elif name == "denied":
            answer = {"__type": "AccessDeniedException", "Message": KEPT["app"]}
        elif name == "binary":
            status, answer = 200, {"Name": name, "SecretBinary": "aGVsbG8gd29ybGQ="}
        elif name in KEPT:
            status, answer = 200, {"Name": name, "SecretString": KEPT[name]}
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
server.daemon_threads = True
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextmanager
def secrets_manager(
    kept: Mapping[str, str], start: Callable[[list[str]], "subprocess.Popen[bytes]"]
) -> Iterator[dict[str, str]]:
    """Serve secrets, with `start` starting the server; give the variables with which `aws` finds it."""
    server = start(["/usr/bin/python3", "-c", STUB, json.dumps(dict(kept))])
    try:
        assert server.stdout is not None
        address = f"http://127.0.0.1:{int(server.stdout.readline())}"
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "AKIA" + "LABLABLABLABLAB7",
            "AWS_SECRET_ACCESS_KEY": "a key of nobody's",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "1",
        }
    finally:
        server.kill()
        server.communicate()
