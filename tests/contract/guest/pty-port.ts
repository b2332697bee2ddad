import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync, rmSync } from 'node:fs'

/** Joins a raw pseudo-terminal with its own standard input and output. */
const PROGRAM = `
import os, pty, sys, termios, tty, threading
master, slave = pty.openpty()
tty.setraw(slave)
os.symlink(os.ttyname(slave), sys.argv[1])
def copy(source, target):
    while True:
        try:
            data = os.read(source, 65536)
        except OSError:
            break
        if not data: break
        while data: data = data[os.write(target, data):]
    os._exit(0)
threading.Thread(target=copy, args=(0, master), daemon=True).start()
copy(master, 1)
`

/**
 * A character device in place of a guest's virtio-serial port: the host's side is this object's streams. Like the
 * port it has no beginning, one reader, and ends when the host's side is closed.
 */
export class PtyPort {
  readonly path: string
  readonly #program: ChildProcess

  private constructor(path: string, program: ChildProcess) {
    this.path = path
    this.#program = program
  }

  static async open(path: string, onData: (chunk: Buffer) => void): Promise<PtyPort> {
    rmSync(path, { force: true })
    const program = spawn('python3', ['-c', PROGRAM, path], { stdio: ['pipe', 'pipe', 'inherit'] })
    program.stdout.on('data', onData)
    program.stdin.on('error', () => {})
    await once(program, 'spawn')
    for (;;) {
      try {
        readlinkSync(path)
        return new PtyPort(path, program)
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
  }

  write(bytes: Uint8Array): void {
    this.#program.stdin?.write(bytes)
  }

  /** The host closes its side. */
  async close(): Promise<void> {
    rmSync(this.path, { force: true })
    if (this.#program.exitCode !== null || this.#program.signalCode !== null) return
    this.#program.kill('SIGKILL')
    await once(this.#program, 'close')
  }
}
