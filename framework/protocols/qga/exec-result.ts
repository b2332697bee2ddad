import type { GuestExecStatus } from './codec.ts'

/** How a process in the guest ended and what it wrote, byte for byte. */
export class GuestExecResult {
  readonly pid: number
  /** Undefined when a signal ended it. On Windows also the exception code, as the agent reports it. */
  readonly exitCode: number | undefined
  readonly signal: number | undefined
  readonly stdout: Uint8Array
  readonly stderr: Uint8Array
  /** The agent cut the stream: it keeps at most 16 MiB of each. */
  readonly stdoutTruncated: boolean
  readonly stderrTruncated: boolean
  /** From the request to start it until its end was seen, milliseconds. */
  readonly durationMs: number

  constructor(pid: number, status: GuestExecStatus, durationMs: number) {
    this.pid = pid
    this.exitCode = status.exitcode
    this.signal = status.signal
    this.stdout = Buffer.from(status['out-data'] ?? '', 'base64')
    this.stderr = Buffer.from(status['err-data'] ?? '', 'base64')
    this.stdoutTruncated = status['out-truncated'] ?? false
    this.stderrTruncated = status['err-truncated'] ?? false
    this.durationMs = durationMs
  }

  /** Either stream was cut. */
  get truncated(): boolean {
    return this.stdoutTruncated || this.stderrTruncated
  }

  /** UTF-8 text, invalid bytes replaced. For other encodings decode {@link stdout}. */
  get stdoutText(): string {
    return Buffer.from(this.stdout).toString('utf8')
  }

  get stderrText(): string {
    return Buffer.from(this.stderr).toString('utf8')
  }
}
