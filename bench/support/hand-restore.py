"""Restores VMs from the lab's save files as one would by hand: python3-libvirt, its connections held open.

The first line it reads is a JSON object: `parallel` restores at a time on a host, and the `hosts`, each with `uri`, the
`folder` of its VMs, `save` (a save file), `xml` (the domain in it), `template` (the folder that XML names) and the
`vms` to restore there; `uid` and `gid` of whom the files are given to. Then it reads words: `restore` makes all VMs
and answers the milliseconds until the last guest agent answered; `restore-named` tells each guest its name and the
time, too, which twins of one saved machine lack; `destroy` removes them and answers the same.
"""

import base64
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import libvirt
import libvirt_qemu

HEADER_BYTES = 92
PING = '{"execute":"guest-ping"}'
TIMEOUT_S = 120

setup = json.loads(sys.stdin.readline())
libvirt.registerErrorHandler(lambda _context, _error: None, None)
connections = {host["uri"]: libvirt.open(host["uri"]) for host in setup["hosts"]}
locks = {host["uri"]: threading.Lock() for host in setup["hosts"]}
empty_disk = os.path.join(tempfile.mkdtemp(), "state.qcow2")
subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", empty_disk, "64k"], check=True)
pools = {host["uri"]: ThreadPoolExecutor(setup["parallel"]) for host in setup["hosts"]}


def write_header(path, xml):
    """Puts another domain into a save file: QEMU's stream behind it stays where it is."""
    with open(path, "r+b") as file:
        raw = bytearray(file.read(HEADER_BYTES))
        (room,) = struct.unpack_from("<I", raw, 20)
        (cookie_at,) = struct.unpack_from("<I", raw, 32)
        old = file.read(room)
        cookie = old[cookie_at:].split(b"\0", 1)[0] + b"\0" if cookie_at else b""
        text = xml.encode() + b"\0"
        if len(text) + len(cookie) > room:
            raise ValueError(f"{path}: the XML does not fit")
        struct.pack_into("<I", raw, 32, len(text) if cookie else 0)
        file.seek(0)
        file.write(raw + (text + cookie).ljust(room, b"\0"))


def agent(domain, execute, **arguments):
    command = json.dumps({"execute": execute, "arguments": arguments})
    return json.loads(libvirt_qemu.qemuAgentCommand(domain, command, 10, 0))["return"]


def write_guest(domain, path, text):
    handle = agent(domain, "guest-file-open", path=path, mode="w")
    agent(domain, "guest-file-write", **{"handle": handle, "buf-b64": base64.b64encode(text.encode()).decode()})
    agent(domain, "guest-file-close", handle=handle)


def restore_named(host, name):
    domain = restore(host, name)
    write_guest(domain, "/proc/sys/kernel/hostname", name)
    write_guest(domain, "/etc/machine-id", domain.UUIDString().replace("-", "") + "\n")
    agent(domain, "guest-set-time", time=time.time_ns())


def restore(host, name):
    folder = os.path.join(host["folder"], name)
    os.makedirs(folder, mode=0o700)
    disk = os.path.join(folder, "state.qcow2")
    shutil.copyfile(empty_disk, disk)
    for path in (folder, disk):
        os.chown(path, setup["uid"], setup["gid"])
    xml = host["xml"].replace(host["oldName"], f"<name>{name}</name>")
    xml = xml.replace(host["oldUuid"], f"<uuid>{uuid.uuid4()}</uuid>").replace(host["template"] + "/", folder + "/")
    connection = connections[host["uri"]]
    # The file speaks of one VM at a time.
    with locks[host["uri"]]:
        write_header(host["save"], xml)
        connection.restoreFlags(host["save"], None, libvirt.VIR_DOMAIN_SAVE_RUNNING)
    domain = connection.lookupByName(name)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            libvirt_qemu.qemuAgentCommand(domain, PING, 10, 0)
            return domain
        except libvirt.libvirtError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def destroy(host, name):
    connections[host["uri"]].lookupByName(name).destroy()
    shutil.rmtree(os.path.join(host["folder"], name))


def on_all(work):
    started = time.perf_counter()
    jobs = [pools[host["uri"]].submit(work, host, name) for host in setup["hosts"] for name in host["vms"]]
    for job in jobs:
        job.result()
    return (time.perf_counter() - started) * 1000


WORDS = {"restore": restore, "restore-named": restore_named, "destroy": destroy}
print(libvirt.getVersion(), flush=True)
for line in sys.stdin:
    print(on_all(WORDS[line.strip()]), flush=True)
shutil.rmtree(os.path.dirname(empty_disk))
