/** `atp-verifier --help` */
export const HELP = `atp-verifier — says inside a VM whether input and commands sent to it arrived

It connects to the verification server of a test run, is told what to expect, and answers what came.
Only the comparison leaves the guest: never what was typed, unless --trace is given and the server asks for it.

Usage
  atp-verifier --server ws://tests.example:8765 --token-file /etc/atp-verifier/token
  atp-verifier --transport virtio-serial          needs no network: the VM's port atp.verifier.0
  atp-verifier --test-input                       shows what it sees of keyboard and mouse, and connects nowhere

Where to
  --server <address>         ws://host:8765, wss://host, tcp://host:8766, tls://host:8766, unix:/path
  --transport <kind>         websocket, tcp, unix or virtio-serial; follows from the address
  --ca <file>                certificates to trust, PEM, for wss:// and tls://

Who
  --vm-id <id>               default: DMI serial, DMI UUID (libvirt's), machine id, host name; the first there is
  --token-file <file>        the token the server wants; or the variable ATP_VERIFIER_TOKEN. There is no flag for the
                             token itself, since everybody can read those

What
  --verifiers <name,…>       keyboard, mouse, command (default: all three); repeatable
  --plugin <file.js>         a further verifier; repeatable
  --trace                    lets a server that asks for it have every input: the agent is a key logger then

How
  --config <file>            YAML or JSON with the same settings: server, vm_id, verifiers: [keyboard]…
  --no-auto-reconnect        end with the connection; without this it is tried again, up to every minute
  --reconnect-interval <t>   first pause, default 1s; it doubles
  --log-level <level>        error, warn, info (default) or debug; inputs are in no log
  --test-input               show inputs for --test-duration (default 10s), here only
  --help, --version

A flag goes before its variable (--vm-id: ATP_VERIFIER_VM_ID), the variable before the file.

Linux: keyboard and mouse need the right to read /dev/input (root, or the group input).
Windows: low-level hooks through PowerShell. This part has not yet been run on a real Windows guest.
`
