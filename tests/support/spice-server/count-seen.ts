/** Set-up of test files: adds up what the displays in them were sent, for the tables of docs/spice.md. */
import { appendFileSync } from 'node:fs'
import { afterAll } from 'vitest'
import { DisplayState, type DisplayCounters } from '../../../framework/protocols/spice/display/display-state.ts'

const log = process.env['ATP_SPICE_SEEN']
const states = new Set<DisplayState>()
const { handle } = DisplayState.prototype

DisplayState.prototype.handle = function (messageType, body) {
  states.add(this)
  handle.call(this, messageType, body)
}

afterAll(() => {
  if (log === undefined) throw new Error('ATP_SPICE_SEEN names no file')
  for (const { counters } of states) appendFileSync(log, `${JSON.stringify(counters satisfies DisplayCounters)}\n`)
})
