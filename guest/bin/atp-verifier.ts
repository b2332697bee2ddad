#!/usr/bin/env node
import { main } from '../agent/cli.ts'

const LINGER_MS = 1000

const ending = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort())
const streams = {
  stdout: (text: string) => void process.stdout.write(text),
  stderr: (text: string) => void process.stderr.write(text),
}
process.exitCode = await main(process.argv.slice(2), process.env, streams, ending.signal)
// A server that does not answer the end of a connection, or a plug-in's timer, must not hold up the end.
setTimeout(() => process.exit(), LINGER_MS).unref()
