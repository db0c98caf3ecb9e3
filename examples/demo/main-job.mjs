/**
 * The main use case. A process pipes the source into OSS and is killed when half is sent. Another process
 * finishes the upload from the spool directory alone. Then the object is compared with the source.
 */
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import OSS from 'ali-oss'
import { Spool } from 'oss-spool'
import { compare } from './compare.mjs'
import { count, expect, logDetail, logStep, size } from './log.mjs'
import { bodies, isSinglePut, partsOn } from './traffic.mjs'

export const ROOT = dirname(fileURLToPath(import.meta.resolve('oss-spool/package.json')))

export async function mainJob(sandbox, { source, key, partSize, parallel, bandwidth, file }) {
  const { oss, bucket } = sandbox
  const client = oss.clientOptions(bucket)
  const dir = sandbox.path('spool')
  const witness = file ?? sandbox.path('witness')
  oss.link = { latency: 200, totalBandwidth: bandwidth }
  console.log(`source   ${source}`)
  console.log(`object   oss://${bucket}/${key} on an embedded OSS, ${oss.endpoint}`)
  console.log(`link     ${size(bandwidth)} a second\n`)

  const uploader = sandbox.fork(new URL('uploader.mjs', import.meta.url))
  const ended = once(uploader, 'exit')
  uploader.send({ client, dir, key, file, witness, options: { partSize, parallel } })
  logStep(`process ${uploader.pid} pipes the source into oss://${bucket}/${key}`)
  const { size: total } = await untilSealed(new Spool({ client, dir }), ended)
  const sofar = size(partsOn(oss))
  logStep(`sealed: all ${size(total)} are spooled, the source has ended; OSS has ${sofar}`)
  await untilHalf(oss, total, ended)
  uploader.kill('SIGKILL')
  await ended
  const atKill = oss.requests.length
  if (isSinglePut(oss)) {
    logStep(`kill -9 ${uploader.pid}: its only request was in flight, and may still succeed`)
  } else {
    await expectNoObject(new OSS(client), key)
    logStep(`kill -9 ${uploader.pid}: OSS has ${size(partsOn(oss))} in parts, and no object`)
  }

  const { pid, output } = await resumeAll(sandbox, dir)
  const result = JSON.parse(output)
  const before = bodies(oss.requests.slice(0, atKill)) // including the requests in flight
  const after = bodies(oss.requests.slice(atKill))
  logStep(
    `process ${pid} finished the upload elsewhere, without the source: oss-spool resume --all`,
  )
  logDetail(`spooled           ${count(result.size)} bytes`)
  logDetail(`sent before kill  ${count(before)}`)
  logDetail(`kept by OSS       ${count(result.skipped)}`)
  logDetail(
    `sent by resume    ${count(result.sent)}, ${count(before - result.skipped)} of them again`,
  )
  logDetail(`CRC64             ${result.crc64}`)
  expect(after === result.sent, `OSS got ${after} bytes, ${result.sent} were reported as sent`)
  expect(
    result.skipped + result.sent === total,
    'the bytes kept and the bytes sent do not add up to the whole',
  )
  expect(!result.sourceRead, 'the source was read again')

  oss.link = {} // no limit for the rest
  const { stream, res } = await new OSS(client).getStream(key)
  const bytes = await compare(stream, witness)
  const crc64 = res.headers['x-oss-hash-crc64ecma']
  expect(crc64 === result.crc64, `the CRC64 of the object is ${crc64}`)
  const left = await new Spool({ client, dir }).uploads()
  expect(left.length === 0, 'the spool still lists the upload')
  logStep(`downloaded: ${count(bytes)} bytes and their CRC64 equal the source`)
}

/** Resolves to the status of the only upload once it is sealed. */
async function untilSealed(spool, ended) {
  for (;;) {
    const [status] = await spool.uploads()
    if (status !== undefined && status.phase !== 'spooling') return status
    await tick(ended)
  }
}

/** Resolves when half of the bytes are on OSS, or all of them are in flight in a single request. */
async function untilHalf(oss, total, ended) {
  const isHalf = () => total > 0 && partsOn(oss) * 2 >= total
  while (!isHalf() && !isSinglePut(oss)) await tick(ended)
}

/** Waits 20 ms. @throws Error if the uploading process ends meanwhile */
async function tick(ended) {
  const end = await Promise.race([sleep(20), ended])
  if (end !== undefined) throw new Error(`the upload ended (${end[0] ?? end[1]}) before its kill`)
}

/** Starts a new process that gets only the OSS endpoint, credentials, and the spool directory. */
function resumeAll(sandbox, dir) {
  const { endpoint, region, credentials } = sandbox.oss
  const oss = ['--endpoint', endpoint, '--region', region]
  const args = ['resume', '--all', '--json', '--quiet', '--spool', dir, ...oss]
  return sandbox.run(process.execPath, [join(ROOT, 'dist/cli/bin.js'), ...args], {
    cwd: sandbox.path('elsewhere'),
    env: {
      HOME: sandbox.path('elsewhere'),
      OSS_ACCESS_KEY_ID: credentials.accessKeyId,
      OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
    },
  })
}

async function expectNoObject(client, key) {
  const status = await client.head(key).then(
    () => 200,
    error => error.status,
  )
  expect(status === 404, `an unfinished upload is visible: HEAD answers ${status}`)
}
