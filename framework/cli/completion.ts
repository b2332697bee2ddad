import { Argument, Command } from 'commander'

/** `atp completion bash|zsh|fish`: a script made from the command tree itself, so that it cannot go stale. */
export function completionCommand(program: Command): Command {
  return new Command('completion')
    .description('print a shell completion script')
    .addArgument(new Argument('<shell>', 'which shell').choices(['bash', 'zsh', 'fish']))
    .addHelpText(
      'after',
      `
bash:  source <(npx atp completion bash)
zsh:   source <(npx atp completion zsh)
fish:  npx atp completion fish | source`,
    )
    .action((shell: 'bash' | 'zsh' | 'fish') => {
      const words = wordsByCommand(program)
      process.stdout.write(shell === 'fish' ? fish(words) : bash(words, shell))
    })
}

/** Sub-commands and options by command path (`''`, `lab`, `lab up`, …). */
function wordsByCommand(program: Command): Map<string, string[]> {
  const words = new Map<string, string[]>()
  const visit = (command: Command, path: string) => {
    const visible = command.createHelp().visibleCommands(command)
    const options = command.createHelp().visibleOptions(command)
    words.set(path, [
      ...visible.map((sub) => sub.name()),
      ...options.flatMap((option) => (option.long ? [option.long] : [])),
      ...command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    ])
    for (const sub of visible) if (sub.name() !== 'help') visit(sub, path ? `${path} ${sub.name()}` : sub.name())
  }
  visit(program, '')
  return words
}

function bash(words: Map<string, string[]>, shell: 'bash' | 'zsh'): string {
  const cases = [...words].map(([path, list]) => `    '${path}') words='${list.join(' ')}' ;;`).join('\n')
  const paths = [...words.keys()].filter(Boolean).map((path) => `'${path}'`)
  return `${shell === 'zsh' ? 'autoload -U +X bashcompinit && bashcompinit\n' : ''}_atp() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' word words
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    # Arguments and values of options are no part of the path.
    case "\${path:+$path }$word" in ${paths.join('|')}) path="\${path:+$path }$word" ;; esac
  done
  case $path in
${cases}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ \${#COMPREPLY[@]} -eq 0 ] && COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _atp atp
`
}

function fish(words: Map<string, string[]>): string {
  const lines = ['complete -c atp -e']
  for (const [path, list] of words) {
    const condition = path === '' ? '__fish_use_subcommand' : `string match -q -- '*${path}*' (commandline -cp)`
    lines.push(`complete -c atp -n "${condition}" -a "${list.join(' ')}"`)
  }
  return `${lines.join('\n')}\n`
}
