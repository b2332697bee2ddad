import { request, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:net'
import { once } from 'node:events'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Secret } from '../../../framework/core/index.ts'
import { MetricsEndpoint } from '../../../framework/metrics/endpoint.ts'

const TOKEN = 'T0ken-of-this-test'

async function endpoint(text: () => Promise<string> = async () => 'a_total 1\n') {
  const made = await MetricsEndpoint.listen({ host: '127.0.0.1', port: 0, token: new Secret('t', TOKEN), text })
  onTestFinished(() => made.close())
  return made
}

interface Answer {
  status: number
  body: string
  headers: IncomingHttpHeaders
}
function ask(url: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}) {
  const { body, ...rest } = options
  return new Promise<Answer>((resolve, reject) => {
    const sent = request(url, rest, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('end', () =>
        resolve({ status: response.statusCode as number, body: text, headers: response.headers }),
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
const bearer = (token = TOKEN) => ({ headers: { authorization: `Bearer ${token}` } })

describe('the metrics endpoint', () => {
  it('gives the page to whoever bears the token', async () => {
    const { url } = await endpoint(async () => 'a_total{host="主机"} 1\n')
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/metrics$/)
    const answer = await ask(url, bearer())
    expect(answer).toMatchObject({ status: 200, body: 'a_total{host="主机"} 1\n' })
    expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect((await ask(`${url}?x=1`, bearer())).status).toBe(200)
  })

  it('refuses everybody else', async () => {
    const { url } = await endpoint()
    for (const headers of [
      {},
      { authorization: '' },
      { authorization: 'Bearer' },
      { authorization: `Bearer ${TOKEN.slice(0, -1)}` },
      { authorization: `Bearer ${TOKEN}x` },
      { authorization: `Basic ${Buffer.from(`a:${TOKEN}`).toString('base64')}` },
      { 'x-token': TOKEN },
    ] as Record<string, string>[]) {
      const answer = await ask(url, { headers })
      expect(answer, JSON.stringify(headers)).toMatchObject({ status: 401, body: '' })
      expect(answer.headers['www-authenticate']).toBe('Bearer')
    }
    expect((await ask(`${url}?token=${TOKEN}`)).status).toBe(401)
  })

  it('has one path and one method, and repeats nothing of a request', async () => {
    const { url } = await endpoint()
    for (const path of ['/', '/metrics/', '/metricsx', '/..%2fmetrics', '/favicon.ico'])
      expect(await ask(new URL(path, url).href, bearer()), path).toMatchObject({ status: 404, body: '' })
    for (const method of ['POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS']) {
      const answer = await ask(url, { method, ...bearer(), body: 'Echo' })
      expect(answer, method).toMatchObject({ status: 405, body: '' })
      expect(answer.headers.allow).toBe('GET')
    }
  })

  it('does not tell why the page could not be made', async () => {
    const { url } = await endpoint(() => Promise.reject(new Error('Inside')))
    expect(await ask(url, bearer())).toMatchObject({ status: 500, body: '' })
  })

  it('answers what is no HTTP with no more than a status', async () => {
    const { url } = await endpoint()
    const socket = connect(Number(new URL(url).port), '127.0.0.1')
    let text = ''
    socket.setEncoding('utf8').on('data', (chunk) => (text += String(chunk)))
    socket.write('Echo Echo Echo\r\n\r\n')
    await once(socket, 'close')
    expect(text).toMatch(/^HTTP\/1\.1 400 /)
    expect(text).not.toContain('Echo')
  })

  it('says what to do when the port is taken', async () => {
    const { url } = await endpoint()
    const port = Number(new URL(url).port)
    const taken = MetricsEndpoint.listen({
      host: '127.0.0.1',
      port,
      token: new Secret('t', TOKEN),
      text: async () => '',
    })
    await expect(taken).rejects.toMatchObject({
      code: 'ATP_METRICS_LISTEN',
      branch: 'config',
      message: expect.stringMatching(new RegExp(`127\\.0\\.0\\.1:${port}: .*EADDRINUSE[^]*metrics\\.port`)) as string,
    })
  })

  it('ends connections that are open', async () => {
    const made = await endpoint()
    const socket = connect(Number(new URL(made.url).port), '127.0.0.1')
    await once(socket, 'connect')
    socket.on('error', () => {})
    const closed = once(socket, 'close')
    await made.close()
    await closed
    await expect(ask(made.url, bearer())).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })
})
