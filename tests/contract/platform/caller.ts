import { createHash } from 'node:crypto'
import { pollUntil } from '../../../framework/core/index.ts'
import type { Platform } from '../../../lab/platform/index.ts'

export type Json = Record<string, unknown>
export interface Answer<T> {
  status: number
  msg: string
  data: T
}

/** Calls a platform with nothing but `fetch`, as its documents say. */
export class Caller {
  readonly #platform: Pick<Platform, 'url' | 'adminUser' | 'adminPassword'>
  token = ''

  constructor(platform: Pick<Platform, 'url' | 'adminUser' | 'adminPassword'>) {
    this.#platform = platform
  }

  static async open(platform: Pick<Platform, 'url' | 'adminUser' | 'adminPassword'>): Promise<Caller> {
    const caller = new Caller(platform)
    await caller.login()
    return caller
  }

  async login(): Promise<Json> {
    const password = createHash('md5').update(this.#platform.adminPassword.reveal(), 'utf8').digest('hex')
    const body = { username: this.#platform.adminUser, password, client: '' }
    const { data } = await this.ok<Json>('POST', '/ocloud/v1/login', body)
    this.token = data['token'] as string
    return data
  }

  raw(method: string, path: string, body?: unknown): Promise<Response> {
    return fetch(this.#platform.url + path, {
      method,
      headers: {
        ...(this.token && { Token: this.token }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
  }

  async call<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    return (await (await this.raw(method, path, body)).json()) as Answer<T>
  }

  /** The answer of a call that must succeed. */
  async ok<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
    const answer = await this.call<T>(method, path, body)
    if (answer.status !== 0) throw new Error(`${method} ${path}: ${answer.status} ${answer.msg}`)
    return answer
  }

  async get<T>(path: string): Promise<T> {
    return (await this.ok<T>('GET', `/ocloud/v1${path}`)).data
  }

  async post<T>(path: string, body?: unknown): Promise<T> {
    return (await this.ok<T>('POST', `/ocloud/v1${path}`, body)).data
  }

  async list(path: string): Promise<Json[]> {
    return (await this.get<{ list: Json[] }>(path)).list
  }

  async vm(id: string): Promise<Json> {
    return await this.get(`/domain/${id}`)
  }

  /** Waits until none of the VMs is busy; their states. */
  async settled(ids: readonly string[], timeoutMs = 20_000): Promise<unknown[]> {
    return await pollUntil('VMs that are not busy', { timeoutMs, intervalMs: 5 }, async () => {
      const states = await Promise.all(ids.map(async (id) => (await this.vm(id))['status']))
      return states.includes(5) ? undefined : states
    })
  }

  /** Waits for the outcome of an event: its reason, or `ok`. */
  async outcome(eventId: string, timeoutMs = 60_000): Promise<string> {
    return await pollUntil(`event ${eventId}`, { timeoutMs, intervalMs: 5 }, async () => {
      const event = await this.get<Json>(`/event/${eventId}`)
      if (event['isSuccess'] === undefined) return undefined
      return event['isSuccess'] === 0 ? 'ok' : String(event['errorReason'])
    })
  }

  /** Does a batch verb to its end; the states after it. */
  async verb(verb: string, ids: string[], more: object = {}, timeoutMs?: number): Promise<unknown[]> {
    const { errorList, eventIdList } = await this.post<{ errorList: Json[]; eventIdList: string[] }>(
      `/domain/${verb}`,
      {
        idList: ids,
        ...more,
      },
    )
    if (errorList.length > 0) throw new Error(`${verb}: ${JSON.stringify(errorList)}`)
    for (const id of eventIdList) {
      const outcome = await this.outcome(id, timeoutMs)
      if (outcome !== 'ok') throw new Error(`${verb}: ${outcome}`)
    }
    return await this.settled(ids)
  }

  /** Makes a desk pool to its end. */
  async pool(name: string, amount: number, more: Json = {}): Promise<{ id: string; vms: Json[] }> {
    const [template] = await this.get<Json[]>('/model/all')
    const body = { name, amount, type: 1, domainPrefix: name, modelId: template?.['id'], ...more }
    const { eventId } = await this.post<{ eventId: string }>('/desk-pool', body)
    const outcome = await this.outcome(eventId)
    const [pool] = await this.list(`/desk-pool?keyword=${encodeURIComponent(name)}`)
    if (outcome !== 'ok' || !pool) throw new Error(`making pool ${name}: ${outcome}`)
    const id = pool['id'] as string
    return { id, vms: await this.get<Json[]>(`/desk-pool/${id}/domain/list`) }
  }
}

export const idsOf = (rows: Json[]): string[] => rows.map((row) => row['id'] as string)
