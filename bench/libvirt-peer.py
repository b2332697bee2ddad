"""The reference: python3-libvirt, its connection held open.

Reads lines "<operation> <count>" and answers each with a JSON list of the calls' durations in nanoseconds.
The first line it prints is the version of its libvirt.
"""

import json
import sys
import time

import libvirt
import libvirt_qemu

connection = libvirt.open(sys.argv[1])
domain = connection.lookupByUUIDString(sys.argv[2])

OPERATIONS = {
    "query_status": lambda: libvirt_qemu.qemuMonitorCommand(domain, '{"execute":"query-status"}', 0),
    "guest_ping": lambda: libvirt_qemu.qemuAgentCommand(domain, '{"execute":"guest-ping"}', 5, 0),
}

print(libvirt.getVersion(), flush=True)
for line in sys.stdin:
    operation, count = line.split()
    call = OPERATIONS[operation]
    durations = []
    for _ in range(int(count)):
        started = time.perf_counter_ns()
        call()
        durations.append(time.perf_counter_ns() - started)
    print(json.dumps(durations), flush=True)
