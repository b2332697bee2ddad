/** The page that a guest's browser opens: an agent that verifies what this browser sees. */
import { KeyboardVerifier, MouseVerifier, type AgentSetup } from '../core/index.ts'
import { KeyboardSource } from './keyboard-source.ts'
import { PageClock } from './page-clock.ts'
import { PointerSource } from './pointer-source.ts'
import { randomId } from './random-id.ts'
import { keepConnected } from './session.ts'
import { Tally } from './tally.ts'
import { TextVerifier } from './text-verifier.ts'
import { element, View } from './view.ts'

declare const ATP_VERSION: string

const clock = new PageClock()
const tally = new Tally()
const view = new View(tally, clock.stepNs)
const area = element<HTMLTextAreaElement>('text')
const keyboard = new KeyboardSource(clock, (target) => target === area)
const pointer = new PointerSource(
  clock,
  (target) => target instanceof Element && target.closest('nav, form, textarea') !== null,
)
const common: Omit<AgentSetup, 'identity'> = {
  verifiers: [new KeyboardVerifier(keyboard), new MouseVerifier(pointer), new TextVerifier(area)],
  sources: [keyboard, pointer],
  readClock: () => clock.read(),
  newId: randomId,
}
const session = randomId()

async function connect(vmId: string, token: string): Promise<void> {
  view.vmId = vmId
  const identity = {
    vm_id: vmId,
    session,
    agent: { version: ATP_VERSION, platform: 'browser' as const },
    level: 'browser' as const,
  }
  const server = new URL('/', location.href)
  server.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:'
  const onState = (state: typeof view.state) => {
    view.state = state
  }
  await keepConnected(server.href, { ...common, identity, token }, { tally, onState })
}

const given = new URLSearchParams(location.hash.slice(1))
// Neither the address bar nor the history may keep the token.
history.replaceState(null, '', location.pathname + location.search)
const [vmId, token] = [given.get('vm'), given.get('token')]
element<HTMLFormElement>('access').addEventListener('submit', (event) => {
  event.preventDefault()
  const field = element<HTMLInputElement>('token')
  const typed = field.value
  field.value = ''
  void connect(element<HTMLInputElement>('vm-id').value, typed)
})
view.state = undefined
if (vmId) element<HTMLInputElement>('vm-id').value = vmId
if (vmId && token) void connect(vmId, token)
