/** The Dockerfile and the manifest of docs/kubernetes.md: their syntax, and the script of the CronJob. */
import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { validate } from 'dockerfile-utils'
import t from 'tap'
import { parseAllDocuments } from 'yaml'
import { startEmulator } from '../../src/emulator/index.js'
import { environment, shell } from '../support/command-line.js'
import { pathOf } from '../support/project.js'

const read = (name: string): string => readFileSync(pathOf(`examples/kubernetes/${name}`), 'utf8')

t.test('the Dockerfile has valid syntax', async t => {
  t.same(validate(read('Dockerfile')), [])
})

t.test('the CronJob dumps once, and its next container sends a dump that waits', async t => {
  const documents = parseAllDocuments(read('backup.yaml'))
  t.same(
    documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]),
    [],
  )
  const container = 'spec.jobTemplate.spec.template.spec.containers.0'.split('.')
  const job = documents.find(document => document.get('kind') === 'CronJob')
  t.equal(job?.getIn([...container, 'command', 0]), 'bash')
  const flags = job?.getIn([...container, 'command', 1])
  const script = job?.getIn([...container, 'args', 0])
  if (typeof script !== 'string') throw new TypeError('the container has no script')

  const dir = t.testdir({
    bin: {
      pg_dump: '#!/bin/sh\necho started >> dumps\nseq 20000\n',
      date: '#!/bin/sh\necho 2026-11-29\n',
    },
    script,
  })
  for (const name of ['pg_dump', 'date']) chmodSync(join(dir, 'bin', name), 0o755)
  const oss = await startEmulator({ dir: join(dir, 'server'), buckets: ['backups'] })
  t.teardown(() => oss.close())
  const line = `PATH="$PWD/bin:$PATH" bash ${String(flags).replace('c', '')} script`
  const start = () => shell(dir, line, environment(oss)).done
  const fault = oss.inject({ operation: 'PutObject', do: 'answer', status: 403, times: 'always' })
  t.equal((await start()).status, 75)
  fault.remove()
  const object = 'oss://backups/mydb-2026-11-29.dump'
  const next = await start()
  t.match(next, { status: 0, err: '' })
  t.ok(next.out.startsWith(`${object}: `), next.out)
  const third = await start()
  t.match(third, { status: 0, err: '' })
  t.ok(third.out.startsWith(`${object}: already uploaded`), third.out)
  t.equal(readFileSync(join(dir, 'dumps'), 'utf8'), 'started\n')
})
