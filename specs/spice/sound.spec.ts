import { expect, test } from '@ocloudview/atp'

test.override('vmOptions', { profile: 'spice' })

test('the guest is heard, and hears', async ({ spice, vm, attach }) => {
  const listening = await spice.sound.startListening()
  await vm.guest.shell('head -c 96000 /dev/urandom | aplay -q -D plughw:0 -t raw -f S16_LE -r 48000')
  const sound = listening.stop()
  attach('what was heard', 'audio/wav', sound.wav())
  expect(sound.peakDbfs).toBeGreaterThan(-40)
  expect(sound.gaps.filter(({ kind, durationMs }) => kind === 'missing' && durationMs > 100)).toEqual([])

  const sent = spice.sound.sendTone({ frequencyHz: 660, forMs: 2000 })
  await vm.guest.shell('arecord -q -D plughw:0 -t raw -f S16_LE -r 48000 -d 1 /tmp/heard.raw')
  expect((await sent).sentMs).toBeGreaterThan(900)
})

test('a card', async ({ spice }) => {
  const atr = Uint8Array.of(0x3b, 0x95, 0x13, 0x81, 0x01, 0x80, 0xff, 0xff, 0xff)
  await spice.smartCards.insert({ atr, respond: () => Uint8Array.of(0x90, 0x00) })
  expect(spice.smartCards.attached).toBe(true)
  await spice.smartCards.eject()
  await spice.smartCards.detach()
})

test('the console lets clients choose how images are compressed', async ({ spice }) => {
  const { choice } = await spice.encodings()
  expect(choice.compression).toBe(true)
})
