import { servePlatform } from '../../lab/platform/index.ts'

interface PlatformOptions {
  port?: number
  hosts?: number
  database?: string
  memory?: boolean
  json?: boolean
}

/** What `atp lab platform` does: serves until SIGINT or SIGTERM, then ends with its VMs. */
export async function platform({ json = false, ...options }: PlatformOptions): Promise<void> {
  const stop = new AbortController()
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        stop.abort(new Error(signal))
        resolve()
      })
    }
  })
  const onProgress = (text: string) => void process.stderr.write(`lab: ${text}\n`)
  const served = await servePlatform({ ...options, signal: stop.signal, onProgress })
  const { url, adminUser, hosts, database } = served
  const adminPassword = served.adminPassword.reveal()
  const faultToken = served.faultToken.reveal()
  process.stdout.write(
    json
      ? `${JSON.stringify({ url, adminUser, adminPassword, faultToken, hosts, database })}\n`
      : `platform   ${url}\nuser       ${adminUser}\npassword   ${adminPassword}\nfaults     token ${faultToken}\n` +
          `database   ${database}\nCtrl-C ends it and its VMs\n`,
  )
  await stopped
  await served.close()
}
