import { defineConfig } from '@ocloudview/atp/config'

export default defineConfig({
  lab: true,
  tags: [
    { name: 'smoke', description: 'quick proof that input and commands reach a guest' },
    { name: 'input', description: 'keyboard and mouse' },
    { name: 'guest', description: 'commands and files in the guest' },
    { name: 'channel', description: 'virtio-serial channels' },
  ],
  report: { junit: '.atp/junit.xml', json: '.atp/report.json' },
})
