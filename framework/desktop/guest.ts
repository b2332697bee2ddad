import type { CallOptions } from '../core/index.ts'
import { guestExec, type QgaClient } from '../protocols/qga/index.ts'
import type { ExecOptions, ExecResult, Guest, GuestFile } from './api.ts'

/** Gives the agent's session, opened when first asked for. */
export type AgentSource = (options?: CallOptions) => Promise<QgaClient>

/** The inside of the guest, through its agent. */
export class AgentGuest implements Guest {
  readonly #agent: AgentSource

  constructor(agent: AgentSource) {
    this.#agent = agent
  }

  async ping(options?: CallOptions): Promise<void> {
    await (await this.#agent(options)).ping(options)
  }

  async info(options?: CallOptions): Promise<{ version: string; commands: string[] }> {
    const { version, supported_commands: commands } = await (await this.#agent(options)).info(options)
    return { version, commands: commands.filter(({ enabled }) => enabled).map(({ name }) => name) }
  }

  async osInfo(options?: CallOptions): ReturnType<Guest['osInfo']> {
    const agent = await this.#agent(options)
    const [os, family] = [await agent.osInfo(options), await agent.family(options)]
    return {
      id: os.id ?? '',
      name: os['pretty-name'] ?? os.name ?? '',
      version: os['version-id'] ?? os.version ?? '',
      kernel: os['kernel-release'] ?? '',
      family,
    }
  }

  async exec(path: string, { args, env, input, ...bounds }: ExecOptions = {}): Promise<ExecResult> {
    return (await this.#agent(bounds)).execAndWait(guestExec(path, { args, env, input }), bounds)
  }

  async shell(line: string, options: ExecOptions = {}): Promise<ExecResult> {
    return (await this.#agent(options)).shell(line, options)
  }

  file(path: string): GuestFile {
    return new AgentGuestFile(this.#agent, path)
  }
}

/** Asks the guest anew at every call. */
class AgentGuestFile implements GuestFile {
  readonly path: string
  readonly #agent: AgentSource

  constructor(agent: AgentSource, path: string) {
    this.#agent = agent
    this.path = path
  }

  async read(options?: CallOptions): Promise<Uint8Array> {
    return (await this.#agent(options)).readFile(this.path, options)
  }

  /** UTF-8, invalid bytes replaced. */
  async text(options?: CallOptions): Promise<string> {
    return Buffer.from(await this.read(options)).toString('utf8')
  }

  // The agent's own words for "no such file" depend on its system and language; an exit code does not.
  async exists(options?: CallOptions): Promise<boolean> {
    const agent = await this.#agent(options)
    const windows = (await agent.family(options)) === 'windows'
    const command = windows
      ? guestExec('cmd.exe', { args: ['/d', '/c', 'if', 'exist', this.path, '(exit', '0)', 'else', '(exit', '1)'] })
      : guestExec('/bin/sh', { args: ['-c', 'test -e "$1"', 'sh', this.path] })
    return (await agent.execAndWait(command, options)).exitCode === 0
  }

  async write(content: string | Uint8Array, options?: CallOptions): Promise<void> {
    await (await this.#agent(options)).writeFile(this.path, content, options)
  }
}
