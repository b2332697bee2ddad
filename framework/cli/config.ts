import { existsSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { configError } from '../core/index.ts'

const STARTER = `import { defineConfig } from '@ocloudview/atp/config'

export default defineConfig({
  // Real VMs on this machine. For existing hypervisors instead:
  // hosts: [{ id: 'kvm-1', uri: 'qemu:///system', capacity: 8 }],
  lab: true,
  // The platform that makes desktops; 'lab' is a stand-in on this machine, which starts when a test needs it.
  vdi: 'lab',
  specs: ['specs/**/*.spec.{ts,yaml,yml,json}'],
  tags: [{ name: 'smoke', description: 'quick checks' }],
})
`

/** `atp config` */
export function configCommand(): Command {
  const command = new Command('config').description('make or show the configuration')
  command
    .command('init')
    .description('write a starter atp.config.ts')
    .option('--force', 'replace an existing file')
    .action((options: { force?: boolean }) => {
      const path = resolve('atp.config.ts')
      if (existsSync(path) && !options.force) {
        throw configError('ATP_CONFIG_EXISTS', `${path} exists already`, { remedy: 'pass --force to replace it' })
      }
      writeFileSync(path, STARTER)
      process.stdout.write(`wrote ${path}\n`)
    })
  command
    .command('show')
    .description('print the effective configuration as JSON')
    .option('-c, --config <file>', 'configuration file')
    .action(async (options: { config?: string }) => {
      const { loadProject } = await import('./load-project.ts')
      process.stdout.write(`${JSON.stringify(await loadProject(options.config), null, 2)}\n`)
    })
  return command
}
