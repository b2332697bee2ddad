import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { SoundFormat } from '../../../../framework/protocols/spice/channels/sound.ts'
import { dominantFrequencyHz } from '../../../../framework/protocols/spice/index.ts'
import { SoundRecording } from '../../../../framework/protocols/spice/sound/recording.ts'
import { Tone } from '../../../../framework/protocols/spice/sound/tone.ts'

const STEREO: SoundFormat = { channels: 2, frequencyHz: 44_100 }
const PACKET_MS = 10

/** A recording of packets of 10 ms; `late` says for each by how much it comes too late, and null that it never comes. */
function recorded(late: readonly (number | null)[], tone = new Tone(STEREO, { frequencyHz: 440 }), startMs = 1000) {
  const recording = new SoundRecording('test')
  recording.start(STEREO)
  for (const [index, ms] of late.entries()) {
    const packet = tone.next(PACKET_MS)
    if (ms !== null) recording.add((startMs + index * PACKET_MS + ms) >>> 0, packet)
  }
  return recording
}

describe('figures of a sound', () => {
  it('names level, frequency and length of a tone that comes in time', () => {
    const sound = recorded(Array.from({ length: 200 }, () => 0)).finish()
    expect(sound.format).toEqual(STEREO)
    expect(sound.durationMs).toBe(2000)
    expect(sound.peakDbfs).toBeCloseTo(-6, 1)
    expect(sound.rmsDbfs).toBeCloseTo(-9, 1)
    expect(sound.frequencyHz).toBeCloseTo(440, 0)
    expect([sound.gaps, sound.latestMs, sound.packets, sound.encodedPackets]).toEqual([[], 0, 200, 0])
  })

  it('finds the frequency of any tone', () => {
    fc.assert(
      fc.property(fc.double({ min: 60, max: 20_000, noNaN: true }), fc.constantFrom(44_100, 48_000), (hz, rateHz) => {
        const format = { channels: 1, frequencyHz: rateHz }
        const bytes = new Tone(format, { frequencyHz: hz }).next(500)
        const found = dominantFrequencyHz(new Int16Array(bytes.buffer), rateHz) as number
        expect(Math.abs(found - hz)).toBeLessThan(1)
      }),
      { numRuns: 30 },
    )
  })

  it('tells what is missing from what is late and made up for', () => {
    const missing = recorded([...Array(50).fill(0), ...Array(20).fill(null), ...Array(50).fill(0)]).finish()
    expect(missing.gaps).toEqual([{ atMs: 500, durationMs: 200, kind: 'missing' }])
    expect(missing.latestMs).toBe(0)
    const late = recorded([...Array(50).fill(0), 200, 190, 180, ...Array(50).fill(0)]).finish()
    expect([late.gaps, late.latestMs]).toEqual([[], 200])
    // Nothing came after it that could have been in time.
    const end = recorded([...Array(50).fill(0), 40]).finish()
    expect([end.gaps, end.latestMs]).toEqual([[], 40])
  })

  it('goes on when the clock begins anew', () => {
    const sound = recorded(
      [...Array(20).fill(0), ...Array(10).fill(null), ...Array(20).fill(0)],
      undefined,
      2 ** 32 - 150,
    )
    expect(sound.finish().gaps).toEqual([{ atMs: 200, durationMs: 100, kind: 'missing' }])
  })

  it('finds silence within sound, but none around it', () => {
    const recording = new SoundRecording('test')
    recording.start(STEREO)
    const tone = new Tone(STEREO, { frequencyHz: 1000 })
    const silence = new Uint8Array(tone.next(100).length)
    for (const [index, packet] of [silence, tone.next(100), silence, tone.next(100), silence].entries()) {
      recording.add(index * 100, packet)
    }
    const { gaps } = recording.finish()
    expect(gaps.map(({ kind }) => kind)).toEqual(['silent'])
    expect(gaps[0]?.atMs).toBeCloseTo(200, 0)
    expect(gaps[0]?.durationMs).toBeCloseTo(100, 0)
  })

  it('names the pause when the guest stops and begins again', () => {
    const recording = recorded([0, 0])
    recording.stop()
    recording.start(STEREO)
    recording.add(1500, new Tone(STEREO, { frequencyHz: 440 }).next(10))
    const { gaps } = recording.finish()
    expect(gaps).toEqual([{ atMs: 20, durationMs: 480, kind: 'stopped' }])
  })

  it('is silence where nothing was played', () => {
    const sound = new SoundRecording('test').finish()
    expect(sound).toMatchObject({
      format: undefined,
      durationMs: 0,
      rmsDbfs: -100,
      peakDbfs: -100,
      gaps: [],
      packets: 0,
    })
    expect(sound.frequencyHz).toBeUndefined()
    expect(sound.wav().length).toBe(44)
  })

  it('counts encoded packets and does not take them for samples', () => {
    const recording = recorded([0])
    recording.addEncoded()
    expect(recording.finish()).toMatchObject({ durationMs: 10, encodedPackets: 1 })
  })

  it('makes a WAV file', () => {
    const sound = recorded([0]).finish()
    const wav = sound.wav()
    const view = new DataView(wav.buffer)
    const text = (at: number) => new TextDecoder().decode(wav.subarray(at, at + 4))
    expect([0, 8, 12, 36].map(text)).toEqual(['RIFF', 'WAVE', 'fmt ', 'data'])
    expect([4, 24, 28, 40].map((at) => view.getUint32(at, true))).toEqual([wav.length - 8, 44_100, 176_400, 1764])
    expect([20, 22, 32, 34].map((at) => view.getUint16(at, true))).toEqual([1, 2, 4, 16])
    expect(view.getInt16(44 + 40, true)).toBe(sound.samples[20])
  })
})

describe('bad sound', () => {
  it('is refused: halves of samples, samples without a format, too much of it, another format on the way', () => {
    const recording = recorded([0])
    expect(() => recording.add(0, new Uint8Array(6))).toThrow(expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }))
    const early = new SoundRecording('test')
    expect(() => early.add(0, new Uint8Array(4))).toThrow(expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }))
    recording.start({ channels: 1, frequencyHz: 44_100 })
    expect(() => recording.finish()).toThrow(expect.objectContaining({ code: 'ATP_SPICE_UNSUPPORTED' }))
    const long = recorded([0])
    const packet = new Uint8Array(1024 * 1024)
    for (let at = 0; at < 65; at++) long.add(at, packet)
    expect(() => long.finish()).toThrow(expect.objectContaining({ code: 'ATP_SPICE_SOUND_LENGTH' }))
  })

  it('is no tone', () => {
    for (const tone of [
      { frequencyHz: 0 },
      { frequencyHz: 22_050 },
      { frequencyHz: Number.NaN },
      { frequencyHz: 440, levelDbfs: 1 },
    ]) {
      expect(() => new Tone(STEREO, tone)).toThrow(expect.objectContaining({ code: 'ATP_SPICE_SOUND_TONE' }))
    }
  })
})
