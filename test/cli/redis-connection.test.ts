/** Connections of commands to Redis: names of fleets, and failures. */
import t from 'tap'
import { UsageError } from '../../src/cli/exit-status.js'
import { fleetNames } from '../../src/cli/fleet-names.js'

t.test('a fleet is named after its queue unless it has a name', t => {
  t.same(fleetNames({}), { queue: 'oss-spool', queuePrefix: 'bull', recordPrefix: 'oss-spool' })
  t.same(fleetNames({ queue: 'logs' }), {
    queue: 'logs',
    queuePrefix: 'bull',
    recordPrefix: 'logs',
  })
  t.same(fleetNames({ queue: 'logs', fleet: 'eu' }), {
    queue: 'logs',
    queuePrefix: 'bull',
    recordPrefix: 'eu',
  })
  t.end()
})

t.test('a prefix of BullMQ begins all keys, and none of the fleet is one of BullMQ', t => {
  t.same(fleetNames({ redisPrefix: '{eu}', fleet: 'a' }), {
    queue: 'oss-spool',
    queuePrefix: '{eu}',
    recordPrefix: '{eu}@a',
  })
  t.throws(() => fleetNames({ fleet: 'bull' }), UsageError)
  t.throws(() => fleetNames({ queue: 'bull' }), UsageError)
  t.equal(fleetNames({ queue: 'bull', redisPrefix: 'bull' }).recordPrefix, 'bull@bull')
  t.end()
})

t.test('invalid names are usage errors', t => {
  for (const flags of [
    { queue: '' },
    { queue: 'a:b' },
    { queue: 'a@b' },
    { fleet: '' },
    { fleet: 'a b' },
    { fleet: 'a:b' },
    { fleet: 'f'.repeat(129) },
    { redisPrefix: '' },
  ]) {
    t.throws(() => fleetNames(flags), UsageError, JSON.stringify(flags))
  }
  t.end()
})
