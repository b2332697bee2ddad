#!/bin/sh
# The guest's SPICE agent where there is no desktop: agent.sh <folder>
# <folder>/copy is taken as what was copied in the guest; what a client copied arrives in <folder>/pasted, files in
# <folder>/files; what else it said in <folder>/monitors, display, limit (numbers, one message a line).
set -f
folder=$1
mkdir -p $folder/files
cd $folder
exec 3<>/dev/virtio-ports/com.redhat.spice.0

take() { dd bs=$1 count=1 iflag=fullblock 2>/dev/null <&3; }
words() { for word; do
  printf "\\$(printf %o $((word & 255)))\\$(printf %o $((word >> 8 & 255)))\\$(printf %o $((word >> 16 & 255)))\\$(printf %o $((word >> 24 & 255)))"
done; }
numbers() { od -An -v -tu4 | tr -s ' \n' ' '; }

# say <type> <file with the body>: in chunks, not mixed with another message's
say() {
  until mkdir saying 2>/dev/null; do usleep 5000; done
  size=$(wc -c < $2)
  { words 1 $1 0 0 $size; cat $2; } > message
  at=0
  while [ $at -lt $((size + 20)) ]; do
    chunk=$((size + 20 - at)); [ $chunk -gt 2048 ] && chunk=2048
    { words 1 $chunk; dd if=message bs=2048 skip=$((at / 2048)) count=1 2>/dev/null; } > chunk
    cat chunk >&3
    at=$((at + chunk))
  done
  rmdir saying
}
answer() { type=$1; shift; words "$@" > answer; say $type answer; }

hear() {
  type=$1
  case $type in
    2) numbers < body >> monitors; echo >> monitors; answer 3 2 1 ;;
    4) tail -c +9 body > pasting; mv pasting pasted ;;
    5) numbers < body >> display; echo >> display ;;
    # Monitors, replies, clipboard by demand with selections, line ends of Linux.
    6) [ $(od -An -N1 -tu1 body) -eq 0 ] || answer 6 0 $((1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 8)) ;;
    7) answer 8 0 1 ;;
    8) { words 0 1; cat copied; } > given; say 4 given ;;
    10)
      id=$(od -An -N4 -tu4 body | tr -d ' ')
      tail -c +5 body | tr -d '\000' > start
      name=$(sed -n 's/^name=//p' start); whole=$(sed -n 's/^size=//p' start)
      : > incoming; answer 11 $id 0 ;;
    12)
      tail -c +13 body >> incoming
      if [ $(wc -c < incoming) -ge $whole ]; then mv incoming "files/$name"; answer 11 $id 3; fi ;;
    14) numbers < body >> limit; echo >> limit ;;
  esac
}

# What is copied in the guest.
while :; do
  if [ -e copy ]; then mv copy copied; words 0 1 > grab; say 7 grab; fi
  usleep 50000
done &

have=0
: > heard
while :; do
  set -- $(take 8 | od -An -v -tu4)
  # Nobody is at the other end.
  if [ $# -lt 2 ]; then usleep 50000; continue; fi
  take $2 >> heard
  have=$((have + $2))
  [ $have -lt 20 ] && continue
  set -- $(od -An -v -N20 -tu4 heard)
  [ $have -lt $((20 + $5)) ] && continue
  tail -c +21 heard > body
  : > heard
  have=0
  hear $2
done
