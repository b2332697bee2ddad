import { pollUntil, Secret } from '../../../framework/core/index.ts'
import { KeyboardDevice, MouseDevice, type InputHost } from '../../../framework/input/index.ts'
import {
  agentClock,
  AgentObserver,
  configuredTokens,
  GuestClock,
  reconcile,
  VerificationServer,
  VerifierAgentLink,
} from '../../../framework/verify/index.ts'
import { HeadlessChromium } from '../headless-chromium.ts'
import { DevtoolsInputPath } from './devtools-input-path.ts'

export const VM = '虚拟机-1'
export const TOKEN = 'a token 令牌'
const SCREEN = { width: 1280, height: 800 }
const READY_MS = 20_000

/** A verification server of the framework, and a browser that has its page open, as one in a guest would. */
export class GuestBrowser {
  readonly chromium: HeadlessChromium
  readonly server: VerificationServer
  readonly link: VerifierAgentLink
  readonly path: DevtoolsInputPath
  readonly keyboard: KeyboardDevice
  readonly mouse: MouseDevice
  readonly port: number
  /** Of the page that is open: each counts its time from its own beginning. */
  #clock: GuestClock
  #observers: Record<'keyboard' | 'pointer', AgentObserver>

  private constructor(chromium: HeadlessChromium, server: VerificationServer, port: number) {
    this.chromium = chromium
    this.server = server
    this.port = port
    this.link = new VerifierAgentLink('vm', server.claim({ vmIds: [VM], level: 'browser' }))
    this.path = new DevtoolsInputPath(chromium, SCREEN)
    this.#clock = new GuestClock(agentClock(this.link))
    this.#observers = this.#observe()
    const host: InputHost = {
      vm: 'vm',
      path: () => this.path,
      observe: async (what, _, options) => {
        await this.#clock.refresh(options)
        return this.#observers[what]
      },
      reconcile,
    }
    this.keyboard = new KeyboardDevice(host)
    this.mouse = new MouseDevice(host, async () => SCREEN)
  }

  /** @param window arguments of the browser's command line; without them it fills the screen */
  static async start(window: readonly string[] = ['--kiosk']): Promise<GuestBrowser> {
    const authenticate = configuredTokens(new Secret('token', TOKEN), new Map())
    const server = new VerificationServer({ authenticate })
    try {
      const { port } = await server.listen({ transport: 'websocket', port: 0 })
      const chromium = await HeadlessChromium.start([...window, `--screen-info={${SCREEN.width}x${SCREEN.height}}`])
      return new GuestBrowser(chromium, server, port as number)
    } catch (error) {
      await server.close()
      throw error
    }
  }

  /** The page's address for a VM id and a token. */
  address(vmId = VM, token = TOKEN): string {
    return `http://127.0.0.1:${this.port}/verifier/#${new URLSearchParams({ vm: vmId, token })}`
  }

  /** Opens the page anew and waits until its agent is connected. */
  async open(address = this.address()): Promise<void> {
    await this.leave()
    await this.chromium.open(address)
    await this.link.ready({ timeoutMs: READY_MS })
    this.#clock = new GuestClock(agentClock(this.link))
    this.#observers = this.#observe()
  }

  /** Closes the page; resolves when the server knows that its agent is gone. */
  async leave(): Promise<void> {
    await this.chromium.open('about:blank')
    await pollUntil('the agent to be gone', { timeoutMs: READY_MS }, async () => (this.link.agent ? undefined : true))
  }

  /** Text of an element of the page. */
  async text(id: string): Promise<string> {
    return String(await this.chromium.evaluate(`document.getElementById(${JSON.stringify(id)}).textContent`))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.link.close()
    await this.chromium[Symbol.asyncDispose]()
    await this.server.close()
  }

  #observe(): Record<'keyboard' | 'pointer', AgentObserver> {
    const observer = (device: 'keyboard' | 'mouse') =>
      new AgentObserver(this.link, { device, level: 'browser', clock: this.#clock })
    return { keyboard: observer('keyboard'), pointer: observer('mouse') }
  }
}
