import { unsupportedError, type CallOptions } from '../core/index.ts'
import { linuxConsole, type UnicodeRoute } from '../keys/index.ts'
import type { QgaClient } from '../protocols/qga/index.ts'

const TIMEOUT_MS = 10_000
/**
 * Prints the console that has the keyboard, whether consoles are in Unicode mode, and which program draws on the
 * display itself, and so reads the keyboard instead of the console.
 */
const LOOK = `cat /sys/class/tty/tty0/active /sys/module/vt/parameters/default_utf8 || exit
for fd in /proc/[0-9]*/fd/*; do
  case $(readlink "$fd") in /dev/dri/card*|/dev/fb[0-9]*) pid=\${fd#/proc/}; cat "/proc/\${pid%%/*}/comm"; exit ;; esac
done`

/**
 * Asks the guest how it takes characters that no key prints.
 *
 * @throws `ATP_KEY_UNICODE` unless a text console of Linux has the keyboard.
 */
export async function unicodeRouteOf(vm: string, agent: QgaClient, options: CallOptions): Promise<UnicodeRoute> {
  const bounds = { timeoutMs: TIMEOUT_MS, signal: options.signal }
  const family = await agent.family(bounds)
  if (family !== 'linux') throw unsupported(vm, `a ${family} guest`)
  const { exitCode, stdoutText, stderrText } = await agent.shell(LOOK, bounds)
  const [active = '', utf8, program] = stdoutText.trim().split('\n')
  if (exitCode !== 0 || !/^tty\d+$/.test(active)) {
    throw unsupported(vm, `a guest without a text console (${(stderrText || stdoutText).trim().slice(0, 200)})`)
  }
  if (utf8 !== '1') throw unsupported(vm, 'a console that is not in Unicode mode (vt.default_utf8)')
  if (program !== undefined) throw unsupported(vm, `the graphical screen of "${program}"`)
  return linuxConsole
}

function unsupported(vm: string, what: string): Error {
  return unsupportedError(
    'ATP_KEY_UNICODE',
    `${vm}: no key makes these characters, nor does ${what} take them by code`,
    {
      context: { vm },
      remedy:
        "unicode: 'guest' works on the text console of Linux; elsewhere use guest.file(…).write(…) or SPICE's clipboard",
    },
  )
}
