import { execFileSync } from 'node:child_process'
import { Argument, Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { completionCommand } from '../../../framework/cli/completion.ts'

async function script(): Promise<string> {
  const program = new Command('atp')
  const host = new Command('host')
  host.command('add').argument('<id>').option('--uri <uri>').option('--check')
  host.command('list').option('--json')
  program.addCommand(host)
  program.addCommand(new Command('shape').addArgument(new Argument('<kind>').choices(['round', 'square'])))
  program.addCommand(completionCommand(program))
  const written: string[] = []
  const { write } = process.stdout
  process.stdout.write = (text) => written.push(String(text)) > 0
  try {
    await program.parseAsync(['node', 'atp', 'completion', 'bash'])
  } finally {
    process.stdout.write = write
  }
  return written.join('')
}

describe('the completion of bash', () => {
  it.each([
    [['atp', ''], 'host shape completion help --help'],
    [['atp', 'host', ''], 'add list help --help'],
    [['npx', 'atp', 'host', 'l'], 'list'],
    [['atp', 'host', 'add', 'kvm-1', '--'], '--uri --check --help'],
    [['atp', 'host', 'add', 'kvm-1', '--uri', 'qemu:///system', '--c'], '--check'],
    [['atp', 'shape', 's'], 'square'],
  ])('%j', async (words, expected) => {
    const line = words.map((word) => `'${word}'`).join(' ')
    const ask = `${await script()}\nCOMP_WORDS=(${line}) COMP_CWORD=${words.length - 1}\n_atp\necho "\${COMPREPLY[*]}"`
    expect(execFileSync('bash', ['-c', ask], { encoding: 'utf8', cwd: '/proc/self/fdinfo' }).trim()).toBe(expected)
  })
})
