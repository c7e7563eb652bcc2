# SPDX-FileCopyrightText: The muster authors
# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy on an address of its own, which can hold what goes one way, or cut:
a link between two datacenters."""

import select
import socket
import threading

from muster import LIMIT, until


class Wire:
    """Passes on what comes to (host, port) to 127.0.0.1 at the same port."""

    def __init__(self, host, port):
        self.to = ("127.0.0.1", port)
        self.held = set()     # "there", "back": bytes stay in the kernel
        self.cut = False      # connections are reset, new ones too
        self.counted = {"there": 0, "back": 0}
        self.garbage = None   # bytes sent instead of answers
        self.pairs = []
        self.lock = threading.Lock()
        self.listener = socket.create_server((host, port))
        self.closing = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.closing:
            with self.lock:
                pairs = list(self.pairs)
            if self.cut:
                for a, b in pairs:
                    self._drop(a, b)
                pairs = []
            ways = []
            for near, far in pairs:
                ways += [(near, far, "there"), (far, near, "back")]
            ready, _, _ = select.select(
                [self.listener] + [a for a, _, way in ways
                                   if way not in self.held], [], [], 0.02)
            if self.listener in ready:
                self._accept()
            for a, b, way in ways:
                if a in ready:
                    self._pass(a, b, way)

    def _accept(self):
        near, _ = self.listener.accept()
        if self.cut:
            near.close()
            return
        try:
            far = socket.create_connection(self.to, timeout=5)
        except OSError:
            near.close()
            return
        with self.lock:
            self.pairs.append((near, far))

    def _drop(self, a, b):
        with self.lock:
            self.pairs = [p for p in self.pairs if a not in p]
        for s in (a, b):
            try:
                s.close()
            except OSError:
                pass

    def _pass(self, a, b, way):
        try:
            data = a.recv(1 << 16)
            if not data:
                raise OSError
            self.counted[way] += len(data)
            if way == "back" and self.garbage is not None:
                data = self.garbage
            b.settimeout(5)
            b.sendall(data)
        except OSError:
            self._drop(a, b)

    def down(self):
        """Ends all connections, and refuses more."""
        self.cut = True
        # By its own thread: what another one closes, that one may select.
        until(lambda: not self.pairs, "all connections are cut")

    def up(self):
        self.cut = False
        self.held = set()
        self.garbage = None

    def close(self):
        self.closing = True
        self.thread.join(LIMIT)
        for a, b in list(self.pairs):
            self._drop(a, b)
        self.listener.close()
