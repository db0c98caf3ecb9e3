/** Configuration of buckets, by ali-oss and by raw requests: stored, returned and deleted; CORS is applied. */
import { assert as check, property, stringMatching } from 'fast-check'
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { BUCKET_CONFIGURATIONS } from '../../src/emulator/operations/bucket-configuration.js'
import { matchingRule } from '../../src/emulator/operations/cors-rules.js'
import { aliOss, ask, send, tag, type Client } from './clients.js'

const oss = await startEmulator({ buckets: ['bkt', 'versioned'] })
t.teardown(() => oss.close())
await ask(oss, 'PUT', '/versioned/?versioning', {
  body: '<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>',
})
const client: Client = aliOss(oss, 'bkt')

t.test('documents are stored as sent, returned, replaced and deleted', async t => {
  for (const { parameter, root, missing, methods } of BUCKET_CONFIGURATIONS) {
    const document = (text: string) => {
      if (parameter === 'policy') return JSON.stringify({ Statement: [text] })
      const rule = `<Rule><ID>${text}</ID><Status>Enabled</Status></Rule>`
      return `<${root}>${parameter === 'lifecycle' ? rule : `<Text>${text}</Text>`}</${root}>`
    }
    const query = parameter.replace(' ', '&')
    const bucket = parameter === 'objectWorm' ? 'versioned' : 'bkt'
    const path = `/${bucket}/?${query}`
    const signed = await isSubResource(path)
    const request = (method: string, body?: string) =>
      signed
        ? ask(oss, method, path, body === undefined ? {} : { body })
        : ask(oss, method, `/${bucket}/`, body === undefined ? { query } : { query, body })
    const none = await request('GET')
    if (typeof missing === 'string')
      t.same([none.status, tag(none.body, 'Code')], [404, missing], parameter)
    else t.match(none, { status: 200, body: `<${root}>` }, parameter)
    for (const text of ['one', 'two']) {
      t.equal((await request('PUT', document(text))).status, 200, parameter)
      t.match((await request('GET')).body, document(text), parameter)
    }
    t.equal((await request('PUT', '<Wrong/>')).status, 400, `${parameter}: another root element`)
    t.equal((await request('PUT', '')).status, 400, `${parameter}: an empty body`)
    t.match((await request('GET')).body, document('two'), 'a refused document changes nothing')
    if (!methods.includes('DELETE')) continue
    t.equal((await request('DELETE')).status, 204, parameter)
    t.equal((await request('DELETE')).status, 204, `${parameter}: again`)
    t.equal((await request('GET')).status, none.status, parameter)
  }

  /** Whether signature V1 covers the parameter. */
  async function isSubResource(path: string): Promise<boolean> {
    return tag((await ask(oss, 'GET', path)).body, 'Code') !== 'SignatureDoesNotMatch'
  }
})

t.test('ali-oss configures a bucket', async t => {
  const rule = { id: 'old', prefix: 'logs/', status: 'Enabled', expiration: { days: 1 } }
  await client.putBucketLifecycle('bkt', [rule])
  t.match((await client.getBucketLifecycle('bkt')).rules, [{ id: 'old', prefix: 'logs/' }])
  const rules =
    '<Rule><Status>Enabled</Status></Rule><Rule><ID>b</ID><Status>Disabled</Status></Rule>'
  const body = `<LifecycleConfiguration>${rules}</LifecycleConfiguration>`
  await ask(oss, 'PUT', '/bkt/?lifecycle', { body })
  const [{ id }, { id: second }] = (await client.getBucketLifecycle('bkt')).rules
  t.equal(second, 'b')
  t.match(id, /^.{8,}$/, 'a rule without id gets one')
  await client.deleteBucketLifecycle('bkt')
  await t.rejects(client.getBucketLifecycle('bkt'), { status: 404, code: 'NoSuchLifecycle' })

  await client.putBucketCORS('bkt', [{ allowedOrigin: '*', allowedMethod: 'GET' }])
  t.same((await client.getBucketCORS('bkt')).rules, [{ allowedOrigin: '*', allowedMethod: 'GET' }])
  await client.deleteBucketCORS('bkt')

  const policy = { Version: '1', Statement: [{ Effect: 'Allow', Action: ['oss:GetObject'] }] }
  await client.putBucketPolicy('bkt', policy)
  t.same((await client.getBucketPolicy('bkt')).policy, policy)
  const isPublic = async () => tag((await ask(oss, 'GET', '/bkt/?policyStatus')).body, 'IsPublic')
  t.equal(await isPublic(), 'false')
  const everybody = { ...policy.Statement[0], Principal: ['*'] }
  await client.putBucketPolicy('bkt', { ...policy, Statement: [everybody] })
  t.equal(await isPublic(), 'true')
  const condition = { IpAddress: { 'acs:SourceIp': ['10.0.0.0/8'] } }
  const limited = { ...everybody, Condition: condition }
  await client.putBucketPolicy('bkt', { ...policy, Statement: [limited, 'x'] })
  t.equal(await isPublic(), 'false')
  await client.deleteBucketPolicy('bkt')
  const noPolicy = await ask(oss, 'GET', '/bkt/?policyStatus')
  t.equal(tag(noPolicy.body, 'Code'), 'NoSuchBucketPolicy')
  const logFields = await ask(oss, 'GET', '/bkt/?userDefinedLogFieldsConfig')
  t.equal(tag(logFields.body, 'Code'), 'NoSuchUserDefinedLogFieldsConfig')

  await client.putBucketWebsite('bkt', { index: 'index.html' })
  t.equal((await client.getBucketWebsite('bkt')).index, 'index.html')
  await client.putBucketReferer('bkt', true, ['http://example.com'])
  t.same((await client.getBucketReferer('bkt')).referers, ['http://example.com'])
  await client.deleteBucketReferer('bkt')
  await client.putBucketLogging('bkt', 'logs/')
  t.equal((await client.getBucketLogging('bkt')).prefix, 'logs/')
  await client.putBucketEncryption('bkt', { SSEAlgorithm: 'AES256' })
  t.same((await client.getBucketEncryption('bkt')).encryption, { SSEAlgorithm: 'AES256' })
  await client.putBucketRequestPayment('bkt', 'Requester')
  t.equal((await client.getBucketRequestPayment('bkt')).payer, 'Requester')
  t.equal((await client.getBucketVersioning('bkt')).versionStatus, undefined)
})

t.test('changes of a bucket at the same time are all kept', async t => {
  const tags = '<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>'
  const documents = ['httpsConfig', 'transferAcceleration', 'publicAccessBlock', 'overwriteConfig']
  const roots = [
    'HttpsConfiguration',
    'TransferAccelerationConfiguration',
    'PublicAccessBlockConfiguration',
    'OverwriteConfiguration',
  ]
  const puts = await Promise.all([
    ask(oss, 'PUT', '/bkt/?tagging', { body: tags }),
    ask(oss, 'PUT', '/bkt/?acl', { headers: { 'x-oss-acl': 'public-read' } }),
    ...documents.map((name, i) =>
      ask(oss, 'PUT', `/bkt/?${name}`, { body: `<${roots[i]}><A/></${roots[i]}>` }),
    ),
  ])
  t.same(new Set(puts.map(({ status }) => status)), new Set([200]))
  t.equal(tag((await ask(oss, 'GET', '/bkt/?tagging')).body, 'Value'), 'v')
  t.equal(tag((await ask(oss, 'GET', '/bkt/?acl')).body, 'Grant'), 'public-read')
  for (const name of documents) {
    t.match((await ask(oss, 'GET', `/bkt/?${name}`)).body, '<A/>', name)
    if (name !== 'httpsConfig') await ask(oss, 'DELETE', `/bkt/?${name}`)
  }
  await ask(oss, 'PUT', '/bkt/?acl', { headers: { 'x-oss-acl': 'private' } })
  await ask(oss, 'DELETE', '/bkt/?tagging')
})

t.test('a document for a missing bucket is refused as the service refuses it', async t => {
  const put = async (parameter: string, root: string) => {
    const answer = await ask(oss, 'PUT', `/nowhere/?${parameter}`, { body: `<${root}/>` })
    return [answer.status, tag(answer.body, 'Code'), tag(answer.body, 'EC')]
  }
  t.same(await put('cors', 'CORSConfiguration'), [404, 'NoSuchBucket', '0015-00000101'])
  const asBucket = [400, 'MalformedXML', '0015-00000231']
  t.same(await put('overwriteConfig', 'OverwriteConfiguration'), asBucket)
  t.same(await put('objectWorm', 'ObjectWormConfiguration'), asBucket)
})

t.test('public access to all buckets of the account is blocked on request', async t => {
  const path = '/?publicAccessBlock'
  const isBlocked = async () => tag((await ask(oss, 'GET', path)).body, 'BlockPublicAccess')
  t.equal(await isBlocked(), 'false')
  const block = '<BlockPublicAccess>true</BlockPublicAccess>'
  const body = `<PublicAccessBlockConfiguration>${block}</PublicAccessBlockConfiguration>`
  t.equal((await ask(oss, 'PUT', path, { body })).status, 200)
  t.equal((await ask(oss, 'PUT', path, { body: '<Wrong/>' })).status, 400)
  t.equal(await isBlocked(), 'true')
  const ofBucket = await ask(oss, 'GET', '/bkt/?publicAccessBlock')
  t.equal(tag(ofBucket.body, 'BlockPublicAccess'), 'false')
  t.equal((await ask(oss, 'DELETE', path)).status, 204)
  t.equal(await isBlocked(), 'false')
  t.equal((await send(oss, { path })).status, 403, 'requires a signature')
})

t.test('booleans are returned in lower case, which oss2 for Python requires', async t => {
  const body =
    '<RefererConfiguration><AllowEmptyReferer> True </AllowEmptyReferer><A>True</A></RefererConfiguration>'
  await ask(oss, 'PUT', '/bkt/?referer', { body })
  t.match((await ask(oss, 'GET', '/bkt/?referer')).body, /<AllowEmptyReferer> true <.*<A>true</)
})

t.test('GetBucketInfo repeats the configuration', async t => {
  const info = async () => (await ask(oss, 'GET', '/bkt/?bucketInfo')).body
  await client.deleteBucketEncryption('bkt')
  const before = await info()
  t.equal(tag(before, 'SSEAlgorithm'), 'None')
  const rule =
    '<SSEAlgorithm>KMS</SSEAlgorithm><KMSMasterKeyID>key</KMSMasterKeyID><KMSDataEncryption>SM4</KMSDataEncryption>'
  for (const [query, root, content] of [
    [
      'encryption',
      'ServerSideEncryptionRule',
      `<ApplyServerSideEncryptionByDefault>${rule}</ApplyServerSideEncryptionByDefault>`,
    ],
    ['transferAcceleration', 'TransferAccelerationConfiguration', '<Enabled>true</Enabled>'],
    [
      'publicAccessBlock',
      'PublicAccessBlockConfiguration',
      '<BlockPublicAccess>true</BlockPublicAccess>',
    ],
  ] as const) {
    const body = `<${root}>${content}</${root}>`
    t.equal((await ask(oss, 'PUT', `/bkt/?${query}`, { body })).status, 200, query)
  }
  const body = '<AccessMonitorConfiguration><Status>Enabled</Status></AccessMonitorConfiguration>'
  await ask(oss, 'PUT', '/bkt/', { query: 'accessmonitor', body })
  const after = await info()
  t.same(
    [
      'SSEAlgorithm',
      'KMSMasterKeyID',
      'KMSDataEncryption',
      'TransferAcceleration',
      'BlockPublicAccess',
      'AccessMonitor',
    ].map(name => tag(after, name)),
    ['KMS', 'key', 'SM4', 'Enabled', 'true', 'Enabled'],
  )
})

t.test('inventories are stored by their ids', async t => {
  const inventory = (id: string) => ({
    id,
    isEnabled: false,
    prefix: 'a/',
    OSSBucketDestination: { format: 'CSV', accountId: '1', rolename: 'r', bucket: 'bkt' },
    frequency: 'Daily',
    includedObjectVersions: 'All',
    optionalFields: { field: ['Size'] },
  })
  await t.rejects(client.getBucketInventory('bkt', 'one'), { code: 'NoSuchInventory' })
  await client.putBucketInventory('bkt', inventory('one'))
  await client.putBucketInventory('bkt', inventory('two'))
  t.equal((await client.getBucketInventory('bkt', 'one')).inventory.prefix, 'a/')
  const listed = async () =>
    (await client.listBucketInventory('bkt')).inventoryList.map(({ id }: { id: string }) => id)
  t.same(await listed(), ['one', 'two'])
  await client.deleteBucketInventory('bkt', 'one')
  t.same(await listed(), ['two'])
})

t.test('retention policies are drafted, locked and extended', async t => {
  await t.rejects(client.getBucketWorm('bkt'), { code: 'NoSuchWORMConfiguration' })
  await client.initiateBucketWorm('bkt', '1')
  await client.abortBucketWorm('bkt')
  const { wormId } = await client.initiateBucketWorm('bkt', '1')
  t.match(await client.getBucketWorm('bkt'), { wormId, state: 'InProgress', days: '1' })
  // ali-oss does not check the status of these calls
  t.equal((await client.completeBucketWorm('bkt', 'other')).status, 404)
  await client.completeBucketWorm('bkt', wormId)
  await client.extendBucketWorm('bkt', wormId, '2')
  t.match(await client.getBucketWorm('bkt'), { wormId, state: 'Locked', days: '2' })
  t.equal((await client.abortBucketWorm('bkt')).status, 409)
  t.match(await client.getBucketWorm('bkt'), { wormId, state: 'Locked' })
  await t.rejects(client.extendBucketWorm('bkt', wormId, '1'), { code: 'InvalidWORMConfiguration' })
})

t.test('GetBucketStat counts objects and uploads; versions of objects are listed', async t => {
  await client.put('s/a', Buffer.from('abc'))
  await client.put('s/b', Buffer.from('de'), { headers: { 'x-oss-storage-class': 'IA' } })
  await client.initMultipartUpload('s/c')
  t.match((await client.getBucketStat('bkt')).stat, {
    Storage: '5',
    ObjectCount: '2',
    MultipartUploadCount: '1',
    StandardStorage: '3',
    InfrequentAccessObjectCount: '1',
  })
  const { objects } = await client.getBucketVersions({ prefix: 's/' })
  t.match(objects, [
    { name: 's/a', versionId: 'null', isLatest: true },
    { name: 's/b', versionId: 'null' },
  ])
  const first = await client.getBucketVersions({ prefix: 's/', 'max-keys': 1 })
  t.match(first, { isTruncated: true, nextMarker: 's/a', NextVersionIdMarker: 'null' })
  const next = await client.getBucketVersions({ prefix: 's/', keyMarker: 's/a' })
  t.same(
    next.objects.map(({ name }: { name: string }) => name),
    ['s/b'],
  )
})

t.test('CORS', async t => {
  const open = await startEmulator({ buckets: ['bkt'], allowBrowsers: true })
  t.teardown(() => open.close())
  const origin = 'https://app.example.com'
  const preflight = (headers: Record<string, string>) =>
    send(open, { method: 'OPTIONS', path: '/bkt/key', headers })
  const announced = { Origin: origin, 'Access-Control-Request-Method': 'PUT' }

  t.test('a preflight request without rules, or that no rule allows, is refused', async t => {
    const refused = await preflight(announced)
    t.same([refused.status, tag(refused.body, 'Code')], [403, 'AccessForbidden'])
    t.equal((await preflight({})).status, 400)
  })
  t.test('a rule allows requests and lets pages read the replies', async t => {
    await aliOss(open, 'bkt').putBucketCORS('bkt', [
      {
        allowedOrigin: 'https://*.example.com',
        allowedMethod: ['PUT', 'GET'],
        allowedHeader: 'x-oss-*',
        exposeHeader: 'ETag',
        maxAgeSeconds: '30',
      },
    ])
    const allowed = await preflight({
      ...announced,
      'Access-Control-Request-Headers': 'x-oss-meta-a, X-OSS-Date',
    })
    t.match(allowed, {
      status: 200,
      headers: {
        'access-control-allow-origin': origin,
        'access-control-allow-methods': 'PUT, GET',
        'access-control-allow-headers': 'x-oss-meta-a, X-OSS-Date',
        'access-control-expose-headers': 'ETag',
        'access-control-max-age': '30',
      },
    })
    for (const headers of [
      { ...announced, Origin: 'https://example.org' },
      { ...announced, 'Access-Control-Request-Method': 'DELETE' },
      { ...announced, 'Access-Control-Request-Headers': 'x-other' },
    ])
      t.equal((await preflight(headers)).status, 403)
    const put = await ask(open, 'PUT', '/bkt/key', { body: 'x', headers: { Origin: origin } })
    t.match(put, { status: 200, headers: { 'access-control-allow-origin': origin } })
    const other = await ask(open, 'GET', '/bkt/key', { headers: { Origin: 'https://example.org' } })
    t.equal(other.headers['access-control-allow-origin'], undefined)
  })
  t.test('without allowBrowsers, no rule lets pages in', async t => {
    await client.putBucketCORS('bkt', [{ allowedOrigin: '*', allowedMethod: 'PUT' }])
    const answer = await send(oss, { method: 'OPTIONS', path: '/bkt/key', headers: announced })
    t.same([answer.status, tag(answer.body, 'Code')], [403, 'AccessDenied'])
  })
  t.test('a pattern matches what its asterisk leaves', t => {
    const rule = (pattern: string) => [
      { origins: [pattern], methods: ['GET'], headers: [], exposedHeaders: [], maxAgeSeconds: '1' },
    ]
    const text = stringMatching(/^[a-z:/.]*$/)
    check(
      property(text, text, text, (start, middle, end) => {
        const request = { origin: start + middle + end, method: 'GET', headers: [] }
        return matchingRule(rule(`${start}*${end}`), request) !== undefined
      }),
    )
    const request = { origin: 'ab', method: 'GET', headers: [] }
    t.equal(matchingRule(rule('ab*b'), request), undefined, 'start and end do not overlap')
    t.end()
  })
})
