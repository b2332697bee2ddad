import { defineConfig } from '@ocloudview/atp/config'

const {
  VDI_URL: url,
  VDI_USERNAME: username = 'admin',
  VDI_TEMPLATE: template,
  ATP_VDI_DESKTOPS: desktops,
} = process.env

export default defineConfig({
  lab: true,
  // Without a platform of one's own the examples in specs/vdi run on the lab's stand-in.
  vdi: url ? { url, username, password: { env: 'VDI_PASSWORD' }, ...(template && { template }) } : 'lab',
  tags: [
    { name: 'smoke', description: 'quick proof that input and commands reach a guest' },
    { name: 'input', description: 'keyboard and mouse' },
    { name: 'guest', description: 'commands and files in the guest' },
    { name: 'channel', description: 'virtio-serial channels' },
    { name: 'spice', description: 'a desktop as its user has it: input, screen and devices over SPICE' },
    { name: 'vdi', description: 'desktops that a VDI platform makes' },
  ],
  timeouts: { lease: 120_000 + Number(desktops ?? 0) * 10_000 },
  report: { junit: '.atp/junit.xml', json: '.atp/report.json' },
})
