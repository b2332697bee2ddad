import { spawn } from 'node:child_process'
import type { Socket } from 'node:net'

/**
 * Waits until whoever holds the other end of its input is gone; then kills every process whose command line names
 * the folder, and removes the folder. A line of input dismisses it.
 */
const SCRIPT = `
read -r dismissed && exit 0
for round in 1 2 3; do
  for cmdline in $(grep -lsF "$1/" /proc/[0-9]*/cmdline); do
    pid=\${cmdline#/proc/}
    kill -KILL "\${pid%/cmdline}"
  done
done
rm -rf "$1"`

/**
 * Sets a caretaker over a folder: if this process dies in any way, the processes whose command lines name paths
 * below it are killed and it is removed. Call the returned function once everything is cleaned up.
 */
export function watchOver(folder: string): () => void {
  // A session of its own: whoever kills the test run's process group leaves it alive to clean up.
  const child = spawn('/bin/sh', ['-c', SCRIPT, 'caretaker', folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
  })
  child.unref()
  const stdin = child.stdin as Socket
  stdin.unref()
  return () => stdin.end('dismissed\n')
}
