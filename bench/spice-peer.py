"""The reference: spice-gtk without a window.

Reads lines of JSON, one command each, and answers each with a line of JSON:
  {"connect": {"host", "port", "password", "channels"}}   opens a session with these types of channels
  {"compression": n}                                      asks for SPICE_IMAGE_COMPRESSION_* n
  {"pixel": [x, y, rgb]}                                  waits until the screen shows that colour there
  {"cpu": true}                                           processor time of this process, microseconds
  {"picture": true}                                       size and SHA-256 of the screen's pixels, 0x00RRGGBB
  {"key": scancode, "down": true}                         sends a key; the answer is when, monotonic nanoseconds
  {"disconnect": true}
"""

import ctypes
import hashlib
import json
import os
import resource
import sys
import time

import gi

gi.require_version("SpiceClientGLib", "2.0")
from gi.repository import GLib, GObject, SpiceClientGLib  # noqa: E402

LOOK_MS = 10
library = ctypes.CDLL("libspice-client-glib-2.0.so.8")


class Primary(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("format", "width", "height", "stride", "shmid")] + [
        ("data", ctypes.c_void_p),
        ("marked", ctypes.c_int),
    ]


library.spice_display_channel_change_preferred_compression.argtypes = [ctypes.c_void_p, ctypes.c_int]
library.spice_display_get_primary.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.POINTER(Primary)]
KINDS = {
    "main": SpiceClientGLib.MainChannel,
    "display": SpiceClientGLib.DisplayChannel,
    "inputs": SpiceClientGLib.InputsChannel,
}
session = None
opened = {}


def answer(value):
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def connect(host, port, password, channels):
    global session
    opened.clear()
    session = SpiceClientGLib.Session.new()
    for name, value in (("host", host), ("port", str(port)), ("password", password)):
        session.set_property(name, value)
    for name in ("enable-audio", "enable-usbredir", "enable-smartcard"):
        session.set_property(name, False)
    wanted = {KINDS[name]: name for name in channels}

    def on_event(channel, event, name):
        if event == SpiceClientGLib.ChannelEvent.OPENED:
            opened[name] = channel
            if len(opened) == len(wanted):
                answer({})
        else:
            sys.exit(f"spice-gtk, {name} channel: {event}")

    def on_channel(_, channel):
        name = wanted.get(type(channel))
        if name is not None:
            GObject.Object.connect(channel, "channel-event", on_event, name)
            if name != "main":
                SpiceClientGLib.Channel.connect(channel)

    GObject.Object.connect(session, "channel-new", on_channel)
    SpiceClientGLib.Session.connect(session)


def primary():
    found = Primary()
    has = "display" in opened and library.spice_display_get_primary(hash(opened["display"]), 0, ctypes.byref(found))
    return found if has and found.data else None


def wait_for(x, y, rgb):
    def look():
        screen = primary()
        if screen is None or x >= screen.width or y >= screen.height:
            return True
        pixel = ctypes.c_uint32.from_address(screen.data + y * screen.stride + x * 4).value
        if pixel & 0xFFFFFF != rgb:
            return True
        answer({})
        return False

    GLib.timeout_add(LOOK_MS, look)


def picture():
    screen = primary()
    rows = bytearray(ctypes.string_at(screen.data, screen.stride * screen.height))
    rows[3::4] = bytes(len(rows) // 4)
    return {"width": screen.width, "height": screen.height, "sha256": hashlib.sha256(rows).hexdigest()}


def cpu_us():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return round((used.ru_utime + used.ru_stime) * 1e6)


def key(scancode, down):
    at_ns = time.monotonic_ns()
    inputs = opened["inputs"]
    (inputs.key_press if down else inputs.key_release)(scancode)
    # The key leaves from the main loop: that goes first.
    GLib.idle_add(lambda: answer(at_ns), priority=GLib.PRIORITY_LOW)


def run(command):
    if "connect" in command:
        connect(**command["connect"])
    elif "compression" in command:
        library.spice_display_channel_change_preferred_compression(hash(opened["display"]), command["compression"])
        answer({})
    elif "pixel" in command:
        wait_for(*command["pixel"])
    elif "cpu" in command:
        answer(cpu_us())
    elif "picture" in command:
        answer(picture())
    elif "key" in command:
        key(command["key"], command["down"])
    elif "disconnect" in command:
        # Its own channels say that they are closed; nobody is to hear it.
        for channel in opened.values():
            GObject.signal_handlers_destroy(channel)
        session.disconnect()
        answer({})


def on_input(_fd, _condition):
    global pending
    chunk = os.read(0, 65536)
    if not chunk:
        loop.quit()
        return False
    *lines, pending = (pending + chunk).split(b"\n")
    for line in lines:
        run(json.loads(line))
    return True


pending = b""
loop = GLib.MainLoop()
GLib.io_add_watch(0, GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, on_input)
answer({"version": SpiceClientGLib.util_get_version_string()})
loop.run()
