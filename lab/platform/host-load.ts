import { cpus, freemem, totalmem } from 'node:os'
import { readFileSync } from 'node:fs'
import type { PlatformGround } from './ground.ts'

const EVERY_MS = 10_000
const MOST_SAMPLES = 720

/** CPU figures are jiffies since the machine started, memory figures kB. */
export interface LoadSample {
  id: number
  hostId: string
  createTime: number
  user: number
  kernel: number
  idle: number
  iowait: number
  total: number
  free: number
  buffers: number
  cached: number
}

/** Load of the hosts over the last two hours. They all are this machine. */
export class HostLoad {
  readonly #state: PlatformGround
  readonly #samples: LoadSample[] = []
  #timer: NodeJS.Timeout | undefined
  #count = 0

  constructor(state: PlatformGround) {
    this.#state = state
  }

  begin(): void {
    this.take()
    this.#timer = setInterval(() => this.take(), EVERY_MS)
    this.#timer.unref()
  }

  end(): void {
    clearInterval(this.#timer)
  }

  take(): LoadSample[] {
    const figures = readFigures()
    const taken = this.#state.hosts.all().map(({ id }) => {
      this.#count += 1
      return { id: this.#count, hostId: id, createTime: this.#state.clock.now(), ...figures }
    })
    this.#samples.push(...taken)
    this.#samples.splice(0, this.#samples.length - MOST_SAMPLES * Math.max(1, taken.length))
    return taken
  }

  /** Oldest first. */
  between(beginMs: number, endMs: number): LoadSample[] {
    return this.#samples.filter(({ createTime }) => createTime >= beginMs && createTime <= endMs)
  }
}

function readFigures(): Omit<LoadSample, 'id' | 'hostId' | 'createTime'> {
  const [user = 0, nice = 0, kernel = 0, idle = 0, iowait = 0] = firstNumbers('/proc/stat', 'cpu ')
  const kB = (name: string) => firstNumbers('/proc/meminfo', `${name}:`)[0] ?? 0
  return {
    user: user + nice,
    kernel,
    idle,
    iowait,
    total: kB('MemTotal') || Math.round(totalmem() / 1024),
    free: kB('MemFree') || Math.round(freemem() / 1024),
    buffers: kB('Buffers'),
    cached: kB('Cached'),
  }
}

function firstNumbers(file: string, line: string): number[] {
  const found = readFileSync(file, 'utf8')
    .split('\n')
    .find((text) => text.startsWith(line))
  return (found ?? '').slice(line.length).trim().split(/\s+/).map(Number).filter(Number.isFinite)
}

/** What the machine is, as a host tells it. */
export function machineFacts(): {
  cpu: string
  cores: number
  vendor: string
  memoryGb: number
  virtualisation: boolean
} {
  const all = cpus()
  const info = readFileSync('/proc/cpuinfo', 'utf8')
  const vendor = /^vendor_id\s*:\s*(.+)$/m.exec(info)?.[1] ?? 'unknown'
  return {
    cpu: all[0]?.model ?? 'unknown',
    cores: all.length,
    vendor,
    memoryGb: Math.round((totalmem() / 2 ** 30) * 100) / 100,
    virtualisation: /^flags\s*:.*\b(vmx|svm)\b/m.test(info),
  }
}
