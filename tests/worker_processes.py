"""Starts the workers of a training, each as a process on this machine."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[1]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for _ in range(count)
        ]
        return [server.getsockname()[1] for server in servers]


def tf_config(ports, index):
    return json.dumps(
        {
            "cluster": {"worker": [f"127.0.0.1:{port}" for port in ports]},
            "task": {"type": "worker", "index": index},
        }
    )


class Workers:
    """Workers that run one command; `with` ends those that are left.

    Args:
        folder: Gets `worker-<index>.log`, and an empty `tmp-<index>` for each
            worker's temporary files.
        count: How many workers.
        arguments: The Python interpreter's.
        others: More of them for some workers, by index.
    """

    def __init__(self, folder, count, arguments, others=None):
        self.folder = folder
        self.arguments = [str(argument) for argument in arguments]
        self.others = others or {}
        self.ports = free_ports(count)
        self.processes = []

    def __enter__(self):
        for index in range(len(self.ports)):
            self.start(index)
        return self

    def start(self, index):
        temporary = self.folder / f"tmp-{index}"
        temporary.mkdir(exist_ok=True)
        with open(self.log_path(index), "wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [
                        sys.executable,
                        *self.arguments,
                        *self.others.get(index, ()),
                    ],
                    cwd=ROOT,
                    env={
                        **os.environ,
                        "TF_CONFIG": tf_config(self.ports, index),
                        "TF_CPP_MIN_LOG_LEVEL": "3",
                        "TMPDIR": str(temporary),
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    def log_path(self, index):
        return self.folder / f"worker-{index}.log"

    def log(self, index):
        return self.log_path(index).read_text("utf-8", "replace")

    def wait(self, seconds=900):
        """Their exit statuses, once all have ended."""
        return [process.wait(seconds) for process in self.processes]

    def check(self, seconds=900):
        """Raises unless all end well."""
        for index, status in enumerate(self.wait(seconds)):
            assert status == 0, self.log(index)[-3000:]

    def __exit__(self, *error):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
