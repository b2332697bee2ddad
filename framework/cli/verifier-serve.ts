import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { configError, messageOf, Secret } from '../core/index.ts'
import { configuredTokens, VerificationServer, type AgentListener, type ListenerTls } from '../verify/index.ts'

interface ServeOptions {
  websocket?: { host: string; port: number }
  tcp?: { host: string; port: number }
  tokenFile?: string
  cert?: string
  key?: string
  allowPlain?: boolean
  json?: boolean
}

const WEBSOCKET = { host: '127.0.0.1', port: 8765 }

/**
 * What `atp verifier serve` does: accepts agents until SIGINT or SIGTERM, and prints whenever one comes or goes.
 *
 * @throws `ATP_USAGE`, `ATP_VERIFIER_PLAIN`, `ATP_VERIFIER_LISTEN`
 */
export async function serve({ tokenFile, json = false, ...options }: ServeOptions): Promise<void> {
  const made = tokenFile === undefined
  const token = new Secret(
    'the token of verifier agents',
    made ? randomBytes(24).toString('base64url') : textOf(tokenFile, '--token-file').trim(),
  )
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve())
  })
  const server = new VerificationServer({ authenticate: configuredTokens(token, new Map()) })
  try {
    const urls: string[] = []
    for (const listener of listenersOf(options)) urls.push((await server.listen(listener)).url)
    const print = (record: object, text: string) =>
      void process.stdout.write(json ? `${JSON.stringify(record)}\n` : `${text}\n`)
    print(
      { urls, ...(made && { token: token.reveal() }) },
      [
        ...urls.map((url) => `agents connect to ${url}`),
        `with the token ${made ? token.reveal() : `in ${tokenFile}`}`,
        'Ctrl-C ends it',
      ].join('\n'),
    )
    let known = new Map<string, string>()
    server.onAgents(() => {
      const now = new Map(
        server.agents().map(({ peer, hello }) => {
          const { vm_id: vmId, level, verifiers, agent } = hello
          const shown = `${vmId} (${level}, ${agent.platform}, version ${agent.version}) verifies ${verifiers.join(', ')}`
          return [`${hello.session} ${peer}`, shown]
        }),
      )
      for (const [key, text] of now) if (!known.has(key)) print({ came: text, from: key.split(' ')[1] }, `+ ${text}`)
      for (const [key, text] of known) if (!now.has(key)) print({ went: text }, `- ${text}`)
      known = now
    })
    await stopped
  } finally {
    await server.close()
  }
}

function listenersOf({ websocket, tcp, allowPlain, ...files }: ServeOptions): AgentListener[] {
  const tls = tlsOf(files)
  const common = { tls, allowPlain }
  const first = websocket ?? (tcp ? undefined : WEBSOCKET)
  return [
    ...(first ? [{ transport: 'websocket' as const, ...first, ...common }] : []),
    ...(tcp ? [{ transport: 'tcp' as const, ...tcp, ...common }] : []),
  ]
}

function tlsOf({ cert, key }: ServeOptions): ListenerTls | undefined {
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) {
    throw configError('ATP_USAGE', '--cert and --key belong together', { remedy: 'give both, or neither' })
  }
  return { cert: textOf(cert, '--cert'), key: textOf(key, '--key') }
}

function textOf(file: string, option: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    throw configError('ATP_USAGE', `${option} ${file} cannot be read: ${messageOf(error)}`, { cause: error })
  }
}
