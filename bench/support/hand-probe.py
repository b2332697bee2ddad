"""Presses a key of a VM as one would by hand, with nothing between the key and the system call.

It reads JSON objects, one a line, and answers each with one: `open` a way (`libvirt`: an `uri` and a VM's `uuid`; `socket`:
the `path` of QEMU's own QMP socket; `spice`: `host`, `port`, `password`), `press` and release left Shift, `close` the way.
The answer to `press` is when it was sent, in nanoseconds of CLOCK_MONOTONIC.
"""

import json
import socket
import struct
import subprocess
import sys
import tempfile
import time

import libvirt
import libvirt_qemu

SHIFT = 0x2A


def input_event():
    def event(down):
        return {"type": "key", "data": {"down": down, "key": {"type": "qcode", "data": "shift"}}}

    return json.dumps({"execute": "input-send-event", "arguments": {"events": [event(True), event(False)]}})


class Libvirt:
    def __init__(self, uri, uuid):
        self.connection = libvirt.open(uri)
        self.domain = self.connection.lookupByUUIDString(uuid)
        self.command = input_event()

    def press(self):
        at = time.monotonic_ns()
        libvirt_qemu.qemuMonitorCommand(self.domain, self.command, 0)
        return at

    def close(self):
        self.connection.close()


class Socket:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.lines = self.socket.makefile("r")
        self.lines.readline()
        self.ask('{"execute":"qmp_capabilities"}')
        self.command = input_event()

    def ask(self, command):
        at = time.monotonic_ns()
        self.socket.sendall(command.encode())
        while '"return"' not in self.lines.readline():
            pass
        return at

    def press(self):
        return self.ask(self.command)

    def close(self):
        self.lines.close()
        self.socket.close()


class Spice:
    MAIN, INPUTS = 1, 3
    MAIN_INIT = 103
    KEY_DOWN, KEY_UP = 101, 102

    def __init__(self, host, port, password):
        self.at = (host, port)
        self.password = password
        self.main = self.link(self.MAIN, 0)
        while True:
            kind, size = struct.unpack("<HI", self.read(self.main, 6))
            body = self.read(self.main, size)
            if kind == self.MAIN_INIT:
                break
        (session,) = struct.unpack("<I", body[:4])
        self.inputs = self.link(self.INPUTS, session)

    def link(self, channel, session):
        """Auth selection, SPICE's own tickets, short headers."""
        stream = socket.create_connection(self.at)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = struct.pack("<IBBIIII", session, channel, 0, 1, 0, 18, 0b1011)
        stream.sendall(struct.pack("<4sIII", b"REDQ", 2, 2, len(message)) + message)
        *_, size = struct.unpack("<4sIII", self.read(stream, 16))
        reply = self.read(stream, size)
        key = reply[4:166]
        with tempfile.NamedTemporaryFile() as file:
            file.write(key)
            file.flush()
            encrypt = ["openssl", "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", file.name]
            padding = ["-pkeyopt", "rsa_padding_mode:oaep"]
            password = self.password.encode() + b"\0"
            ticket = subprocess.run(encrypt + padding, input=password, capture_output=True, check=True).stdout
        stream.sendall(struct.pack("<I", 1) + ticket)
        if struct.unpack("<I", self.read(stream, 4)) != (0,):
            raise PermissionError("the SPICE server refused the password")
        return stream

    @staticmethod
    def read(stream, size):
        data = b""
        while len(data) < size:
            more = stream.recv(size - len(data))
            if not more:
                raise ConnectionError("the SPICE server closed the connection")
            data += more
        return data

    def press(self):
        at = time.monotonic_ns()
        self.inputs.sendall(struct.pack("<HII", self.KEY_DOWN, 4, SHIFT))
        self.inputs.sendall(struct.pack("<HII", self.KEY_UP, 4, SHIFT | 0x80))
        return at

    def close(self):
        self.inputs.close()
        self.main.close()


WAYS = {"libvirt": Libvirt, "socket": Socket, "spice": Spice}
libvirt.registerErrorHandler(lambda _context, _error: None, None)
way = None
for line in sys.stdin:
    command = json.loads(line)
    if "open" in command:
        way = WAYS[command["open"]](**command["with"])
        answer = True
    elif "press" in command:
        answer = way.press()
    else:
        way.close()
        answer = True
    print(json.dumps(answer), flush=True)
