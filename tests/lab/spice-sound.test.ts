import { afterAll, beforeAll, expect, it } from 'vitest'
import { openBenchVm, type BenchVm } from '../../bench/support/lab-vm.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import type { SpiceSession } from '../../framework/desktop/spice-session.ts'
import { dominantFrequencyHz } from '../../framework/protocols/spice/index.ts'
import { Tone } from '../../framework/protocols/spice/sound/tone.ts'
import { encodeWav } from '../../framework/protocols/spice/sound/wav.ts'

const SET_UP_MS = 180_000
const RATE_HZ = 48_000
const TONE_MS = 3000

let machine: BenchVm
let vm: DesktopVm
let spice: SpiceSession

beforeAll(async () => {
  machine = await openBenchVm('spice', () => {})
  vm = machine.vm
  spice = await vm.spice()
  const mono = { channels: 1, frequencyHz: RATE_HZ }
  const tone = new Tone(mono, { frequencyHz: 440 }).next(TONE_MS)
  await vm.guest.file('/tmp/tone.wav').write(encodeWav(new Int16Array(tone.buffer), mono))
  await sh('amixer -q sset Master 100% unmute; amixer -q sset PCM 100% unmute; amixer -q sset Capture 100% cap || true')
}, SET_UP_MS)
afterAll(() => machine?.close(), SET_UP_MS)

const sh = async (line: string): Promise<string> => {
  const { stdoutText, stderrText, exitCode } = await vm.guest.shell(line, { timeoutMs: 60_000 })
  if (exitCode !== 0) throw new Error(`"${line}" ended with ${exitCode}: ${stderrText}`)
  return stdoutText.trim()
}

it('hears the tone that the guest plays, without a gap', async () => {
  const listening = await spice.sound.startListening()
  await sh('aplay -q -D plughw:0 /tmp/tone.wav')
  const sound = listening.stop()
  expect(Math.abs((sound.frequencyHz ?? 0) - 440)).toBeLessThan(5)
  expect(sound.durationMs).toBeGreaterThanOrEqual(TONE_MS)
  // Behind the tone the guest's driver fills up its ring, and may play a scrap of what was in it. A busy machine may keep
  // the guest waiting.
  expect(sound.gaps.filter(({ atMs, durationMs }) => atMs < TONE_MS - 10 && durationMs > 100)).toEqual([])
  expect(sound.peakDbfs).toBeGreaterThan(-20)
  expect(sound.encodedPackets).toBe(0)
})

it('hears nothing where nothing is played', async () => {
  const sound = await spice.sound.listen({ forMs: 300 })
  expect(sound.peakDbfs).toBeLessThan(-60)
})

it('sends a tone that the guest records', async () => {
  await expect(spice.sound.sendTone({ frequencyHz: 660, forMs: 100, timeoutMs: 200 })).rejects.toMatchObject({
    code: 'ATP_SPICE_SOUND_UNHEARD',
  })
  const sent = spice.sound.sendTone({ frequencyHz: 660, forMs: 3000 })
  await sh(`arecord -q -D plughw:0 -t raw -f S16_LE -c 1 -r ${RATE_HZ} -d 2 /tmp/heard.raw`)
  const bytes = await vm.guest.file('/tmp/heard.raw').read()
  // It ends with what the guest records.
  expect((await sent).sentMs).toBeLessThan(3000)
  const samples = new Int16Array(new Uint8Array(bytes).buffer)
  expect(Math.abs((dominantFrequencyHz(samples, RATE_HZ) ?? 0) - 660)).toBeLessThan(5)
})
