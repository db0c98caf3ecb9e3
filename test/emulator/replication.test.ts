/** Replication rules are kept, though nothing is replicated. */
import t from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { ask, tag } from './clients.js'

const rule = (bucket: string, more = '') =>
  `<Rule>${more}<Destination><Bucket>${bucket}</Bucket><Location>oss-cn-beijing</Location></Destination></Rule>`
const configuration = (...rules: string[]) => ({
  body: `<ReplicationConfiguration>${rules.join('')}</ReplicationConfiguration>`,
})
const ADD = '/bkt/?comp=add&replication'
const DELETE = '/bkt/?comp=delete&replication'

t.test('replication rules are added, returned, changed and deleted by id', async t => {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  const read = async () => (await ask(oss, 'GET', '/bkt/?replication')).body
  t.equal(tag(await read(), 'Code'), 'NoSuchReplicationConfiguration')
  const prefixes = '<PrefixSet><Prefix>a/</Prefix><Prefix>b/</Prefix></PrefixSet>'
  const added = await ask(oss, 'POST', ADD, configuration(rule('one', `<ID>r1</ID>${prefixes}`)))
  t.equal(added.headers['x-oss-replication-rule-id'], 'r1')
  const other = await ask(oss, 'POST', ADD, configuration(rule('two')))
  const id = String(other.headers['x-oss-replication-rule-id'])
  const both = await read()
  t.same(both.match(/<Bucket>\w+/g), ['<Bucket>one', '<Bucket>two'])
  t.same(both.match(/<Prefix>[^<]+/g), ['<Prefix>a/', '<Prefix>b/'])
  t.same(both.match(/<ID>[^<]+/g), ['<ID>r1', `<ID>${id}`])

  const progressOf = (ruleId: string) =>
    ask(oss, 'GET', '/bkt/?replicationProgress', { query: `rule-id=${ruleId}` })
  const progress = (await progressOf(id)).body
  t.same(progress.match(/<ID>[^<]+/g), [`<ID>${id}`])
  t.ok(tag(progress, 'HistoricalObject'))
  const unknown = await progressOf('none')
  t.equal(tag(unknown.body, 'Code'), 'NoSuchReplicationRule')
  t.equal((await ask(oss, 'GET', '/bkt/?replicationLocation')).status, 200)

  const control = (ruleId: string) => ({
    body: `<ReplicationRule><RTC><Status>enabled</Status></RTC><ID>${ruleId}</ID></ReplicationRule>`,
  })
  t.equal((await ask(oss, 'PUT', '/bkt/?rtc', control('r1'))).status, 200)
  t.match(await read(), /<RTC>\s*<Status>enabled/)
  t.equal((await ask(oss, 'PUT', '/bkt/?rtc', control('none'))).status, 404)

  const remove = (ruleId: string) => ({
    body: `<ReplicationRules><ID>${ruleId}</ID></ReplicationRules>`,
  })
  t.equal((await ask(oss, 'POST', DELETE, remove('r1'))).status, 200)
  t.same((await read()).match(/<Bucket>\w+/g), ['<Bucket>two'])
})

t.test('a replication rule needs a destination', async t => {
  const oss = await startEmulator({ buckets: ['bkt'] })
  t.teardown(() => oss.close())
  for (const body of ['', 'x', configuration().body, configuration('<Rule></Rule>').body]) {
    t.equal(tag((await ask(oss, 'POST', ADD, { body })).body, 'Code'), 'MalformedXML')
  }
  const none = ADD.replace('bkt', 'none')
  t.equal((await ask(oss, 'POST', none, configuration(rule('one')))).status, 404)
})
