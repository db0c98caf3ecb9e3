/**
 * Web pages. A page of any site can make a browser on this machine send requests to the emulator, from its own
 * origin or, by DNS rebinding, under its own host name. None of them reaches objects, faults or the admin port;
 * clients that are no browser keep all their host names.
 */
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { chromium, type Browser, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import {
  DEFAULT_KEY,
  startEmulator,
  type Emulator,
  type EmulatorOptions,
} from '../../src/emulator/index.js'
import { isOwnHost } from '../../src/emulator/http/browser-guard.js'
import {
  aliOss,
  ask,
  send,
  sendBytes,
  signed,
  tag,
  type Answer,
  type Ask,
} from '../emulator/clients.js'

const CHROMIUM = '/usr/bin/chromium'

/** Every browser sends this header, and scripts cannot omit it. */
const BROWSER = { 'Accept-Language': 'en' }

/** Starts an emulator with the object `open/k`, which everybody may read and replace. */
async function start(t: Test, options: EmulatorOptions = {}): Promise<Emulator> {
  const oss = await startEmulator({ buckets: ['open'], admin: true, ...options })
  t.teardown(() => oss.close())
  await ask(oss, 'PUT', '/open/?acl', { headers: { 'x-oss-acl': 'public-read-write' } })
  await ask(oss, 'PUT', '/open/k', { body: 'original' })
  return oss
}

/** Fails unless the bucket is as `start` made it. */
async function isUntouched(t: Test, oss: Emulator, title: string): Promise<void> {
  t.equal((await ask(oss, 'GET', '/open/k')).body, 'original', title)
  const { body } = await ask(oss, 'GET', '/open/')
  t.same(
    [...body.matchAll(/<Key>([^<]*)</g)].map(([, key]) => key),
    ['k'],
    title,
  )
}

const result = ({ status, body }: Answer): string => `${status} ${tag(body, 'Code') ?? ''}`.trim()
const DENIED = '403 AccessDenied'

/** Requests that succeed, or that only their own mistakes stop, if no page sent them. */
function attacks(oss: Emulator): Ask[] {
  const list = '<Delete><Object><Key>k</Key></Object></Delete>'
  const boundary = 'x'
  const form = `--${boundary}\r\nContent-Disposition: form-data; name="key"\r\n\r\nforged\r\n--${boundary}--\r\n`
  return [
    { path: '/open/k' },
    { path: '/open/k', headers: signed(oss, { resource: '/open/k' }) },
    { path: '/', headers: signed(oss, { resource: '/' }) },
    { method: 'PUT', path: '/open/k', body: 'forged' },
    { method: 'DELETE', path: '/open/k' },
    {
      method: 'POST',
      path: '/open/?delete',
      body: list,
      headers: { 'Content-Type': 'text/plain' },
    },
    {
      method: 'POST',
      path: '/open/forged?append&position=0',
      body: 'a=b',
      headers: { 'Content-Type': 'text/plain' },
    },
    {
      method: 'POST',
      path: '/open/',
      body: form,
      headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    },
    {
      method: 'POST',
      path: '/open/',
      body: 'key=forged',
      headers: { 'Content-Type': 'text/plain' },
    },
    { method: 'OPTIONS', path: '/open/k' },
  ]
}

/** Sends all attacks with more headers, and returns their different results. */
async function attack(oss: Emulator, headers: Record<string, string>): Promise<string[]> {
  const answers: string[] = []
  for (const each of attacks(oss))
    answers.push(result(await send(oss, { ...each, headers: { ...each.headers, ...headers } })))
  return [...new Set(answers)]
}

t.test('requests of a page of another origin are refused', async t => {
  const oss = await start(t)
  const host = `127.0.0.1:${oss.port}`
  const fault = oss.inject({ bucket: 'open', do: 'answer', status: 503, code: 'x', times: 100 })
  for (const headers of [
    { Origin: 'https://attacker.example' },
    { Origin: 'null' },
    { Origin: 'http://127.0.0.1:1' },
    { Origin: `http://localhost:${oss.port}` },
    { Origin: `http://${host}.attacker.example` },
    { Origin: `http://${host}, https://attacker.example` },
    { 'Sec-Fetch-Site': 'cross-site' },
    { 'Sec-Fetch-Site': 'same-site' },
    { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' },
    { 'Sec-Fetch-Site': 'cross-site', Origin: `http://${host}` },
  ])
    t.same(await attack(oss, headers), [DENIED], JSON.stringify(headers))
  t.equal(fault.hits, 0, 'no request counts for a fault')
  fault.remove()
  await isUntouched(t, oss, 'nothing changed')
})

const FOREIGN_HOSTS = [
  'attacker.example',
  'open.attacker.example',
  'open.127.0.0.1.nip.io',
  'localhost.attacker.example',
  'oss-cn-hangzhou.aliyuncs.com.attacker.example',
  'attackeraliyuncs.com',
  'attacker-localhost.example',
  '127.0.0.1.',
  'attacker.example.',
]

for (const bind of ['127.0.0.1', '0.0.0.0'])
  t.test(`unsigned requests with a rebound Host are refused on ${bind}`, async t => {
    const oss = await start(t, { host: bind })
    for (const name of FOREIGN_HOSTS) {
      const host = `${name}:${oss.port}`
      const unsigned = attacks(oss).filter(each => each.headers?.['Authorization'] === undefined)
      for (const each of unsigned) {
        const headers = { ...each.headers, Host: host }
        t.equal(result(await send(oss, { ...each, headers })), DENIED, `${each.method} ${host}`)
      }
    }
    const absolute = {
      path: `http://attacker.example:${oss.port}/open/k`,
      headers: { Host: '::1' },
    }
    t.equal(result(await send(oss, absolute)), DENIED, 'in absolute-form')
    await isUntouched(t, oss, 'nothing changed')
  })

for (const bind of ['127.0.0.1', '0.0.0.0'])
  t.test(`a rebound page cannot use the public key on ${bind}`, async t => {
    const keys = [DEFAULT_KEY, { accessKeyId: 'own', accessKeySecret: 'own secret' }] as const
    for (const credentials of [DEFAULT_KEY, [keys[1], keys[0]]] as const) {
      const oss = await start(t, { host: bind, credentials })
      const sts = oss.sts.issue() // a page can derive these from a public key, too
      for (const name of FOREIGN_HOSTS)
        for (const lines of [BROWSER, { 'Accept-Language': '' }])
          t.same(
            await attack(oss, { ...lines, Host: `${name}:${oss.port}` }),
            [DENIED],
            `${name} ${JSON.stringify(lines)}`,
          )
      const headers = signed(
        { credentials: sts },
        { resource: '/open/k', headers: { 'x-oss-security-token': sts.stsToken } },
      )
      const temporary = { path: '/open/k', headers: { ...headers, ...BROWSER, Host: 'a.example' } }
      t.equal(result(await send(oss, temporary)), DENIED, 'with temporary credentials')
      await isUntouched(t, oss, 'nothing changed')
    }
  })

t.test('a rebound page without the key reaches no object', async t => {
  const oss = await start(t, { credentials: 'random' })
  const fault = oss.inject({ bucket: 'open', do: 'answer', status: 503, code: 'x', times: 100 })
  const forged = signed({ credentials: DEFAULT_KEY }, { resource: '/open/k' })
  const headers = { ...forged, ...BROWSER, Host: 'open.attacker.example' }
  t.equal(result(await send(oss, { path: '/k', headers })), DENIED)
  t.equal(fault.hits, 0)
})

for (const host of ['127.0.0.1', '0.0.0.0', '::'])
  t.test(`signed requests of clients are accepted with any Host on ${host}`, async t => {
    const oss = await start(t, { host }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EAFNOSUPPORT' && error.code !== 'EADDRNOTAVAIL') throw error
      return undefined
    })
    if (oss === undefined) {
      t.pass('this machine has no IPv6', { skip: true })
      return
    }
    const get = async (path: string, name: string, headers = {}): Promise<string> => {
      const all = { ...signed(oss, { resource: '/open/k' }), ...headers, Host: name }
      return (await send(oss, { path, headers: all })).body
    }
    for (const name of [`open.127.0.0.1.nip.io:${oss.port}`, 'open.oss:9000', 'open.oss.internal'])
      t.equal(await get('/k', name), 'original', name)
    for (const name of ['oss:9000', 'oss.internal:9000', 'oss.internal'])
      t.equal(await get('/open/k', name), 'original', `${name} in path style`)
    const wrong = await get('/open/other', 'oss.internal')
    t.equal(tag(wrong, 'Code'), 'SignatureDoesNotMatch', 'an invalid signature is reported')
    t.equal((await send(oss, { path: '/open/k', headers: { Host: 'oss:9000' } })).body, 'original')
  })

t.test(
  'presigned URLs of a secret key are accepted with any Host, also from a browser',
  async t => {
    const oss = await start(t, { credentials: 'random' })
    const client = aliOss(oss, 'open', {
      sldEnable: true,
      endpoint: `http://localhost:${oss.port}`,
    })
    for (const url of [client.signatureUrl('k'), await client.signatureUrlV4('GET', 60, {}, 'k')]) {
      const { search } = new URL(url)
      const headers = { ...BROWSER, Host: 'open.127.0.0.1.nip.io' }
      t.equal((await send(oss, { path: `/k${search}`, headers })).body, 'original')
      const other = await send(oss, { path: `/k${search}x`, headers })
      t.equal(result(other), DENIED, 'not with an invalid signature')
    }
  },
)

t.test('our own Hosts need no signature', async t => {
  const oss = await start(t, { cnames: { 'static.example.com': 'open' } })
  for (const name of ['127.0.0.1', '127.1.2.3', '[::1]', 'localhost', 'oss', '192.168.1.2'])
    for (const host of [name, `${name}:${oss.port}`])
      t.equal(
        (await send(oss, { path: '/open/k', headers: { Host: host } })).body,
        'original',
        host,
      )
  for (const name of [
    'open.localhost',
    'open.127.0.0.1',
    'open.oss-cn-hangzhou.aliyuncs.com',
    'static.example.com',
  ])
    for (const host of [name, name.toUpperCase(), `${name}:${oss.port}`])
      t.equal((await send(oss, { path: '/k', headers: { Host: host } })).body, 'original', host)

  const own = (host: string, bound: string): boolean => isOwnHost(host, { host: bound, cnames: {} })
  t.ok(own('oss.example:9000', 'oss.example'), 'the name that was given as `host`')
  t.ok(own('bucket.oss.example:9000', 'OSS.example'), 'with a bucket')
  t.ok(own('bucket.oss:9000', 'oss'), 'a name without dots, with a bucket')
  t.notOk(own('bucketoss.example', 'oss.example'))
  t.notOk(own('bucket.oss', '0.0.0.0'))
  t.notOk(own('attacker.example.', ''))
})

t.test('pages of the emulator’s own origin and the address bar are accepted', async t => {
  const oss = await start(t)
  const host = `127.0.0.1:${oss.port}`
  for (const headers of [
    { Origin: `http://${host}`, 'Sec-Fetch-Site': 'same-origin' },
    { 'Sec-Fetch-Site': 'none' },
  ]) {
    const answer = await send(oss, { path: '/open/k', headers: { ...headers, ...BROWSER } })
    t.equal(answer.body, 'original', JSON.stringify(headers))
  }
})

t.test('allowBrowsers accepts pages and unsigned requests with any Host', async t => {
  const oss = await start(t, { allowBrowsers: true })
  for (const headers of [
    { Origin: 'https://app.example' },
    { Origin: 'null', 'Sec-Fetch-Site': 'cross-site' },
    { Host: 'oss.app.example' },
  ]) {
    const all = { ...signed(oss, { resource: '/open/k' }), ...BROWSER, ...headers }
    const answer = await send(oss, { path: '/open/k', headers: all })
    t.equal(answer.body, 'original', JSON.stringify(headers))
  }
  const anonymous = await send(oss, { path: '/k', headers: { Host: 'open.app.example' } })
  t.equal(anonymous.body, 'original')
})

/** Admin calls that change or reveal something. */
const ADMIN_CALLS: readonly Ask[] = [
  { path: '/requests' },
  { path: '/faults' },
  { path: '/link' },
  { method: 'POST', path: '/faults', body: '{"do":"reset"}' },
  { method: 'DELETE', path: '/faults' },
  { method: 'PUT', path: '/link', body: '{"latency":1000}' },
  { method: 'DELETE', path: '/requests' },
  { method: 'POST', path: '/sts', body: '{}' },
  { method: 'OPTIONS', path: '/faults' },
]

for (const allowBrowsers of [false, true])
  t.test(
    `the admin port refuses pages and foreign Hosts, allowBrowsers: ${allowBrowsers}`,
    async t => {
      const oss = await start(t, { allowBrowsers })
      const port = Number(new URL(oss.adminEndpoint ?? '').port)
      const host = `127.0.0.1:${port}`
      const logged = oss.requests.length
      for (const headers of [
        { Origin: 'https://attacker.example' },
        { Origin: 'null' },
        { Origin: `http://${host}` },
        { 'Sec-Fetch-Site': 'cross-site' },
        { 'Sec-Fetch-Site': 'same-site' },
        { 'Sec-Fetch-Site': 'same-origin' },
        { 'Sec-Fetch-Site': 'none' },
        { Host: 'attacker.example' },
        { Host: `127.0.0.1.attacker.example:${port}` },
        { Host: `localhost.attacker.example:${port}` },
        { Host: `open.127.0.0.1.nip.io:${port}` },
        { Host: '127.attacker.example' },
        { Host: '0.0.0.0' },
        { Host: 'oss' },
      ])
        for (const call of ADMIN_CALLS) {
          const { status } = await send({ port }, { ...call, headers })
          t.equal(status, 403, `${call.method ?? 'GET'} ${call.path} ${JSON.stringify(headers)}`)
        }
      const nameless = await sendBytes({ port }, 'DELETE /requests HTTP/1.0\r\n\r\n')
      t.match(nameless, /^HTTP\/1\.1 403 /, 'without a Host')
      t.equal(oss.requests.length, logged)
      t.same(oss.link, (await start(t)).link)
      t.equal((await ask(oss, 'GET', '/open/k')).body, 'original', 'no fault was injected')
      for (const name of [host, `localhost:${port}`, `[::1]:${port}`])
        t.equal(
          (await send({ port }, { path: '/faults', headers: { Host: name } })).status,
          200,
          name,
        )
    },
  )

let browser: Browser | undefined
t.teardown(() => browser?.close())

/** Opens a page in Chromium; `attacker.example` and its subdomains lead to this machine. Undefined if there is none. */
async function openBrowser(t: Test): Promise<Page | undefined> {
  if (!existsSync(CHROMIUM)) {
    t.pass('Chromium is not installed: apt-get install chromium', { skip: true })
    return undefined
  }
  browser ??= await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--host-resolver-rules=MAP *.attacker.example 127.0.0.1'],
  })
  const page = await browser.newPage()
  t.teardown(() => page.close())
  return page
}

/** Serves an empty page on a port; `close` frees the port. */
async function servePage(): Promise<{ port: number; close: () => Promise<void> }> {
  const server = createServer((_, response) => {
    response.writeHead(200, { 'Content-Type': 'text/html' })
    response.end('a page')
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  return {
    port: (server.address() as AddressInfo).port, // never a string: the server listens on TCP
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

interface BrowserRequest {
  readonly url: string
  readonly method?: string
  readonly mode?: 'cors' | 'no-cors'
  readonly headers?: Record<string, string>
  readonly body?: string
}

/** Sends a request from the page. Resolves with the body, `opaque`, or the name of the error. */
const fetchIn = (page: Page, request: BrowserRequest): Promise<string> =>
  page.evaluate(async ({ url, ...init }) => {
    try {
      const response = await fetch(url, init)
      return response.type === 'opaque' ? 'opaque' : await response.text()
    } catch (error) {
      return error instanceof Error ? error.name : 'unknown'
    }
  }, request)

/** Posts a form from the page, as HTML allows for any URL, and waits for the answer. */
async function postForm(page: Page, action: string, enctype: string): Promise<void> {
  const form = `<form method="post" action="${action}" enctype="${enctype}" target="frame">`
  await page.setContent(
    `<iframe name="frame"></iframe>${form}<input name="key"><button>send</button>`,
  )
  const answered = page.waitForResponse(response => response.url() === action)
  await page.click('button')
  await answered
}

for (const allowBrowsers of [false, true]) {
  const [verb, reaches] = allowBrowsers
    ? ['reaches', 'if allowBrowsers is set']
    : ['cannot reach', 'by default']
  t.test(`Chromium: a page of another port ${verb} the emulator ${reaches}`, async t => {
    const page = await openBrowser(t)
    if (page === undefined) return
    const oss = await start(t, { allowBrowsers })
    const site = await servePage()
    t.teardown(() => site.close())
    await page.goto(`http://127.0.0.1:${site.port}/`)

    const object = `${oss.endpoint}/open/k`
    const appended = (name: string): string => `${oss.endpoint}/open/${name}?append&position=0`
    const client = aliOss(oss, 'open', {
      sldEnable: true,
      endpoint: `http://localhost:${oss.port}`,
    })
    const presigned: string = client.signatureUrl('by-key', {
      method: 'POST',
      'Content-Type': 'text/plain;charset=UTF-8', // as fetch() sends it
      subResource: { append: '', position: '0' },
    })
    for (const method of ['PUT', 'POST', 'DELETE'])
      t.equal(await fetchIn(page, { url: object, method, body: 'forged' }), 'TypeError', method)
    const authorization = signed(oss, { method: 'DELETE', resource: '/open/k' })
    t.equal(
      await fetchIn(page, { url: object, method: 'DELETE', headers: authorization }),
      'TypeError',
    )
    t.equal(await fetchIn(page, { url: object }), 'TypeError', 'a read')
    for (const url of [appended('by-fetch'), presigned])
      await fetchIn(page, { url, method: 'POST', mode: 'no-cors', body: 'forged' })
    await postForm(page, appended('by-text-form'), 'text/plain')
    await postForm(page, appended('by-form'), 'multipart/form-data')
    await fetchIn(page, { url: `${oss.adminEndpoint}/requests`, method: 'DELETE' })
    await fetchIn(page, {
      url: `${oss.adminEndpoint}/faults`,
      method: 'POST',
      mode: 'no-cors',
      body: '{"do":"reset","times":100}',
    })
    t.equal(await fetchIn(page, { url: `${oss.adminEndpoint}/requests` }), 'TypeError')
    t.ok(oss.requests.length > 5, 'the log was not cleared')
    if (!allowBrowsers) {
      await isUntouched(t, oss, 'nothing changed')
      return
    }
    const { body } = await ask(oss, 'GET', '/open/')
    t.same(
      [...body.matchAll(/<Key>([^<]*)</g)].map(([, key]) => key),
      ['by-fetch', 'by-form', 'by-key', 'by-text-form', 'k'],
      'only what needs no answer succeeds',
    )
  })
}

for (const allowBrowsers of [false, true]) {
  const [verb, reaches] = allowBrowsers
    ? ['reaches', 'if allowBrowsers is set']
    : ['cannot reach', 'by default']
  t.test(
    `Chromium: a rebound page with the public key ${verb} the emulator ${reaches}`,
    async t => {
      const page = await openBrowser(t)
      if (page === undefined) return
      const site = await servePage()
      const origin = `http://open.attacker.example:${site.port}`
      await page.goto(`${origin}/`)
      await site.close()
      const oss = await start(t, { allowBrowsers, port: site.port })

      const own = signed(oss, { resource: '/open/k' })
      const client = aliOss(oss, 'open', {
        sldEnable: true,
        endpoint: `http://localhost:${oss.port}`,
      })
      const { search } = new URL(client.signatureUrl('k'))
      const answers: string[] = []
      for (const request of [
        { url: `${origin}/k` },
        { url: `${origin}/k`, headers: own },
        { url: `${origin}/k`, headers: { ...own, 'Accept-Language': '' } },
        { url: `${origin}/k${search}` },
      ]) {
        const body = await fetchIn(page, request)
        answers.push(tag(body, 'Code') ?? body)
      }
      const put = signed(oss, {
        method: 'PUT',
        resource: '/open/k',
        headers: { 'Content-Type': 'a/b' },
      })
      const forged = { url: `${origin}/k`, method: 'PUT', headers: put, body: 'forged' }
      const answer = await fetchIn(page, forged)
      answers.push(tag(answer, 'Code') ?? answer)
      if (allowBrowsers) {
        t.same(answers, [...Array<string>(4).fill('original'), ''])
        t.equal((await ask(oss, 'GET', '/open/k')).body, 'forged')
        return
      }
      t.same(answers, Array<string>(5).fill('AccessDenied'))
      await isUntouched(t, oss, 'nothing changed')
    },
  )
}
