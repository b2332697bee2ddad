#!/bin/sh
# What spice-webdavd and a WebDAV client do together, in a guest that has neither: one request over the folder port.
# folder.sh <method> <path> [<file to send> [<header>]]: the answer's status line to stderr, its body to stdout.
exec 3<>/dev/virtio-ports/org.spice-space.webdav.0
work=$(mktemp -d)
file=${3:-/dev/null}
take() { dd bs=$1 count=1 iflag=fullblock 2>/dev/null <&3; }
byte() { printf "\\$(printf %o $(($1 & 255)))"; }
# The connection's number, which is this program's, and how many bytes follow.
head() { for word in $$ 0; do for shift in 0 8 16 24; do byte $((word >> shift)); done; done; byte $1; byte $(($1 >> 8)); }

{
  printf '%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %s\r\n' "$1" "$2" $(wc -c < $file)
  [ -z "$4" ] || printf '%s\r\n' "$4"
  printf '\r\n'
  cat $file
} > $work/request
size=$(wc -c < $work/request)
at=0
while [ $at -lt $size ]; do
  part=$((size - at)); [ $part -gt 32768 ] && part=32768
  { head $part; dd if=$work/request bs=32768 skip=$((at / 32768)) count=1 2>/dev/null; } > $work/packet
  cat $work/packet >&3
  at=$((at + part))
done

while :; do
  set -- $(take 10 | od -An -v -tu2)
  # Of this connection alone: an earlier one may have left something.
  if [ $# -lt 5 ]; then usleep 20000; continue; fi
  if [ $1 -ne $$ ]; then [ $5 -eq 0 ] || take $5 > /dev/null; continue; fi
  [ $5 -gt 0 ] || break
  take $5 >> $work/answer
done
line=$(grep -n -m 1 '^.$' $work/answer | cut -d: -f1)
sed -n 1p $work/answer >&2
tail -n +$((line + 1)) $work/answer
rm -r $work
