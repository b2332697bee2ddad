import { isMap } from './dialect.ts'
import { badValue, readDuration, readText, unknownKey, type Reading } from './reading.ts'
import type { ScenarioVerification } from './scenario.ts'

const WITHOUT_EFFECT: readonly string[] = ['agent_path', 'guest_verifier_path', 'host_interface']
const KEYS = ['ws_addr', 'tcp_addr', 'connection_timeout', 'vm_id', ...WITHOUT_EFFECT]

/** The header `verification` of a scenario. */
export function readVerification(reading: Reading, value: unknown, pointer: string): ScenarioVerification | undefined {
  if (!isMap(value)) {
    badValue(reading, pointer, 'verification must be a map')
    return undefined
  }
  const verification: ScenarioVerification = {}
  for (const [key, inner] of Object.entries(value)) {
    const at = `${pointer}/${key}`
    if (key === 'ws_addr' || key === 'tcp_addr' || key === 'vm_id') {
      const text = readText(reading, inner, at, `verification.${key}`)
      if (text !== undefined) verification[key] = text
      if (text !== undefined && key !== 'vm_id' && !/^.+:\d+$/.test(text)) {
        badValue(reading, at, `verification.${key} is ${JSON.stringify(text)}`, 'write host and port: 127.0.0.1:8765')
      }
    } else if (key === 'connection_timeout') {
      const timeout = readDuration(reading, inner, at)
      if (timeout) verification.connection_timeout = timeout
    } else if (WITHOUT_EFFECT.includes(key)) {
      reading.problems.note(
        'ATP_SCENARIO_NO_EFFECT',
        reading.source.key(at),
        `verification.${key} has no effect: whoever deploys the agent starts it`,
      )
    } else unknownKey(reading, key, at, KEYS, 'verification')
  }
  return verification
}
