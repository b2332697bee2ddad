"""What libxkbcommon, which desktops read their keyboards with, makes of keys.

Reads {"layout": name, "presses": [[[evdev code, down], ...], ...]} on stdin. Writes {"texts": the text of each entry of
presses, "printed": every character that one key makes at one of its first four levels, "keys": [evdev code, level, code
point] for each of these and for each dead key, whose code point is that of its mark}.
"""
import ctypes
import json
import sys

xkb = ctypes.CDLL("libxkbcommon.so.0")
for name in [
    "xkb_context_new",
    "xkb_keymap_new_from_names",
    "xkb_state_new",
    "xkb_compose_table_new_from_locale",
    "xkb_compose_state_new",
]:
    getattr(xkb, name).restype = ctypes.c_void_p


class Names(ctypes.Structure):
    _fields_ = [(field, ctypes.c_char_p) for field in ("rules", "model", "layout", "variant", "options")]


def pointer(value):
    if not value:
        sys.exit("libxkbcommon has no such keymap or compose table")
    return ctypes.c_void_p(value)


request = json.load(sys.stdin)
context = pointer(xkb.xkb_context_new(0))
names = Names(b"evdev", b"pc105", request["layout"].encode(), b"", b"")
keymap = pointer(xkb.xkb_keymap_new_from_names(context, ctypes.byref(names), 0))
table = pointer(xkb.xkb_compose_table_new_from_locale(context, b"en_US.UTF-8", 0))
FED, COMPOSING, COMPOSED, CANCELLED = 1, 1, 2, 3
EVDEV_OFFSET = 8


def typed(events):
    state = pointer(xkb.xkb_state_new(keymap))
    compose = pointer(xkb.xkb_compose_state_new(table, 0))
    text = ""
    buffer = ctypes.create_string_buffer(64)
    for code, down in events:
        key = code + EVDEV_OFFSET
        if down:
            symbol = xkb.xkb_state_key_get_one_sym(state, key)
            fed = xkb.xkb_compose_state_feed(compose, symbol)
            status = xkb.xkb_compose_state_get_status(compose)
            if fed == FED and status == COMPOSED:
                xkb.xkb_compose_state_get_utf8(compose, buffer, 64)
                text += buffer.value.decode()
            elif fed == FED and status == CANCELLED:
                text += "?"
            elif not (fed == FED and status == COMPOSING):
                xkb.xkb_state_key_get_utf8(state, key, buffer, 64)
                text += buffer.value.decode()
        xkb.xkb_state_update_key(state, key, 1 if down else 0)
    return text


MARKS = {"grave": 0x300, "acute": 0x301, "circumflex": 0x302, "tilde": 0x303, "diaeresis": 0x308, "cedilla": 0x327}


def printed_by(symbol):
    character = chr(xkb.xkb_keysym_to_utf32(symbol))
    if character != "\0":
        return character if character.isprintable() else None
    name = ctypes.create_string_buffer(64)
    xkb.xkb_keysym_get_name(symbol, name, 64)
    mark = MARKS.get(name.value.decode().removeprefix("dead_"))
    return mark and chr(mark)


keys = []
symbols = ctypes.POINTER(ctypes.c_uint32)()
PRINTING = [*range(2, 14), *range(16, 28), *range(30, 42), 43, *range(44, 54), 57, 86]
for code in PRINTING:
    for level in range(4):
        count = xkb.xkb_keymap_key_get_syms_by_level(keymap, code + EVDEV_OFFSET, 0, level, ctypes.byref(symbols))
        character = printed_by(symbols[0]) if count == 1 else None
        if character:
            keys.append([code, level, ord(character)])
printed = sorted({chr(point) for _, _, point in keys if point not in MARKS.values()})
json.dump({"texts": [typed(events) for events in request["presses"]], "printed": printed, "keys": keys}, sys.stdout)
