/*
 * Powers on the card in a CCID reader and sends it a command: ccid /dev/bus/usb/001/002 00a40400023f00
 * Prints what the card answers to the reset and to the command, a line of hexadecimal digits each.
 */
#include <fcntl.h>
#include <linux/usbdevice_fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* Endpoints of QEMU's reader. */
enum { BULK_OUT = 0x03, BULK_IN = 0x82 };
/* Messages of the CCID specification, revision 1.1, sections 6.1 and 6.2. */
enum { ICC_POWER_ON = 0x62, XFR_BLOCK = 0x6f, DATA_BLOCK = 0x80 };
enum { HEADER_BYTES = 10, STATUS_AT = 7, TIMEOUT_MS = 10000 };

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static int transfer(int device, unsigned endpoint, unsigned char *bytes, unsigned length)
{
    struct usbdevfs_bulktransfer bulk = { endpoint, length, TIMEOUT_MS, bytes };
    int moved = ioctl(device, USBDEVFS_BULK, &bulk);
    if (moved < 0)
        fail("bulk transfer");
    return moved;
}

static void ask(int device, unsigned char type, const unsigned char *data, unsigned length)
{
    unsigned char message[HEADER_BYTES + 512] = { type, length & 0xff, length >> 8 };
    memcpy(message + HEADER_BYTES, data, length);
    transfer(device, BULK_OUT, message, HEADER_BYTES + length);
    int got = transfer(device, BULK_IN, message, sizeof message);
    if (got < HEADER_BYTES || message[0] != DATA_BLOCK || message[STATUS_AT] != 0) {
        fprintf(stderr, "message %02x: %d bytes, type %02x, status %02x\n", type, got, message[0], message[STATUS_AT]);
        exit(1);
    }
    for (int at = HEADER_BYTES; at < got; at++)
        printf("%02x", message[at]);
    printf("\n");
}

int main(int count, char **arguments)
{
    unsigned char command[256];
    unsigned length = 0, interface = 0;
    if (count != 3)
        return 2;
    int device = open(arguments[1], O_RDWR);
    if (device < 0 || ioctl(device, USBDEVFS_CLAIMINTERFACE, &interface) < 0)
        fail(arguments[1]);
    for (const char *digits = arguments[2]; length < sizeof command && sscanf(digits, "%2hhx", command + length) == 1; digits += 2)
        length++;
    ask(device, ICC_POWER_ON, command, 0);
    ask(device, XFR_BLOCK, command, length);
    return 0;
}
