# Copyright (c) The background.jobs authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A web server for tests: `server.py FOLDER [PORT]` serves a folder in the background, on a free port where none is given.

It prints the port. GET /quit ends it, GET /secret wants the password, GET /moved leads to /page; POST returns what came.
"""

from __future__ import annotations

import functools
import http.server
import os
import sys
import threading


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/quit":
            self.send_response(200)
            self.end_headers()
            threading.Thread(target=self.server.shutdown).start()
        elif self.path == "/moved":
            self.answer(302, Location="/page")
        elif self.path == "/secret" and self.headers.get("Authorization") != "Basic dXNlcjpwYXNzd29yZA==":
            self.answer(401, WWW_Authenticate='Basic realm="tests"')
        else:
            super().do_GET()

    def answer(self, status, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def date_time_string(self, timestamp=None):
        return super().date_time_string(0 if timestamp is None else timestamp)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def main():
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Handler, directory=sys.argv[1]))
    print(server.server_port, flush=True)
    if os.fork():
        return
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(null, fd)
    server.serve_forever()


if __name__ == "__main__":
    main()
