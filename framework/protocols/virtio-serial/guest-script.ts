/**
 * The guest's side of the responder protocol, for any `sh` with coreutils or busybox. Its one argument is the
 * port's device file.
 *
 * Lines end with a newline; sizes are decimal. The guest greets with `ready`. Content for the guest follows its
 * request in blocks of at most {@link BLOCK_BYTES}, each answered by `ok` before the next is sent: a host must not
 * send more into a channel than its guest has taken.
 *
 * | request | answer |
 * |---|---|
 * | `run <size>`, then a shell script | `exit <code> <size>`, then what it wrote (stdout and stderr together) |
 * | `put <size> <sha256> <path, base64>`, then the file | `done`, or `fail <reason>`; the file is there whole or not at all |
 * | `get <path, base64>` | `file <size> <sha256>`, then the file; or `fail <reason>` |
 *
 * It ends, and removes its temporary files, when the host closes the channel.
 */
export const BLOCK_BYTES = 3072

export const RESPONDER_SCRIPT = `
exec 3<>"$1" || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
say() { printf '%s\\n' "$*" >&3; }
fail() { say fail "$(printf %s "$1" | tr '\\n' ' ')"; }
size() { echo $(($(wc -c <"$1"))); }
sum() { set -- $(sha256sum <"$1"); echo "$1"; }
take() {
  : >"$2"; left=$1; say ok
  while [ "$left" -gt 0 ]; do
    block=$left; [ "$block" -gt ${BLOCK_BYTES} ] && block=${BLOCK_BYTES}
    head -c "$block" <&3 >>"$2" || return 1
    left=$((left - block)); say ok
  done
}
say ready
while IFS=' ' read -r verb a b c <&3; do
  case $verb in
    run)
      take "$a" "$work/script"
      sh "$work/script" >"$work/file" 2>&1 </dev/null 3>&-
      say exit $? "$(size "$work/file")"
      cat "$work/file" >&3;;
    put)
      take "$a" "$work/file"
      path=$(printf %s "$c" | base64 -d)
      if [ "$(sum "$work/file")" != "$b" ]; then fail 'the checksum differs'
      elif reason=$(mv "$work/file" "$path.$$" 2>&1 && mv "$path.$$" "$path" 2>&1); then say done
      else fail "$reason"; fi;;
    get)
      path=$(printf %s "$a" | base64 -d)
      if reason=$(cat "$path" 2>&1 >"$work/file"); then
        say file "$(size "$work/file")" "$(sum "$work/file")"
        cat "$work/file" >&3
      else fail "$reason"; fi;;
    *) fail "unknown request $verb";;
  esac
done
`
