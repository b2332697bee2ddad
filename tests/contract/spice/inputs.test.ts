import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SpiceVmConnection, type InputsChannel } from '../../../framework/protocols/spice/index.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'

let server: ConsoleServer
let connection: SpiceVmConnection
let inputs: InputsChannel

beforeAll(async () => {
  server = await ConsoleServer.start({ ticket: 'right' })
  connection = new SpiceVmConnection('vm', { server: server.server({ password: 'right' }) })
  await connection.connectMainChannel()
  inputs = await connection.openChannel('inputs')
})

afterAll(async () => {
  await connection?.disconnectAll()
  await server?.[Symbol.asyncDispose]()
})

// The PS/2 controller of a machine without firmware hands on set 2 as the keyboard sends it.
describe('keys over SPICE', () => {
  it('arrive in the VM’s keyboard, down and up, with and without prefix', async () => {
    await inputs.keyDown(0x1e)
    expect(inputs.held).toEqual(new Set([0x1e]))
    await inputs.keyUp(0x1e)
    await inputs.keyDown(0xe04b)
    await inputs.keyUp(0xe04b)
    expect(inputs.held.size).toBe(0)
    const bytes = await server.keyboardBytes(8)
    expect(bytes).toEqual([0x1c, 0xf0, 0x1c, 0xe0, 0x6b, 0xe0, 0xf0, 0x6b])
  })

  it('may be raw scan codes', async () => {
    await inputs.scancodes(Uint8Array.of(0x2a, 0x1e, 0x9e, 0xaa))
    expect(await server.keyboardBytes(6)).toEqual([0x12, 0x1c, 0xf0, 0x1c, 0xf0, 0x12])
  })

  it('sent at once all arrive', async () => {
    // As many as the keyboard's queue of 16 bytes holds: whether more arrive depends on how fast they are read.
    for (let round = 0; round < 40; round++) {
      await Promise.all(Array.from({ length: 5 }, () => [inputs.keyDown(0x1e), inputs.keyUp(0x1e)]).flat())
      const bytes = await server.keyboardBytes(15)
      expect(bytes.filter((byte) => byte === 0xf0)).toHaveLength(5)
    }
  })
})

it('keys that the keyboard has room for leave at once, in their order', async () => {
  for (let round = 0; round < 10; round++) {
    const options = { hasRoom: true }
    const strokes = [0x1e, 0x30, 0x2e, 0x20, 0x12].flatMap((key) => [
      inputs.keyDown(key, options),
      inputs.keyUp(key, options),
    ])
    await Promise.all(strokes)
    const sets = [0x1c, 0x32, 0x21, 0x23, 0x24].flatMap((code) => [code, 0xf0, code])
    expect(await server.keyboardBytes(15)).toEqual(sets)
  }
})

describe('the mouse over SPICE', () => {
  it('moves by distances in server mode, held back by the server’s acknowledgements', async () => {
    expect(connection.mouseMode).toBe('server')
    await Promise.all(Array.from({ length: 50 }, () => inputs.mouseMotion(3, -2)))
    await inputs.mousePress('left')
    await inputs.mouseRelease('left')
    await inputs.wheel(-2)
    expect(inputs.state).toBe('open')
  })

  it('refuses positions in server mode: the server would drop them', async () => {
    await expect(inputs.mousePosition(10, 10)).rejects.toMatchObject({ code: 'ATP_SPICE_MOUSE_MODE' })
  })
})

it('input after the channel was closed is an error', async () => {
  await connection.closeChannel('inputs')
  await expect(inputs.keyDown(0x1e)).rejects.toMatchObject({ code: 'ATP_SPICE_CLOSED' })
  inputs = await connection.openChannel('inputs')
  await inputs.keyDown(0x30)
  await inputs.keyUp(0x30)
  expect((await server.keyboardBytes(3)).at(-1)).toBe(0x32)
})
