/**
 * A dashboard of the jobs of a fleet: bull-board with the progress of uploads (bytes, parts, host).
 *
 *     REDIS_URL=redis://127.0.0.1:6379 PORT=8080 node examples/fleet-board.mjs
 *
 * It listens on loopback only, since every visitor can retry and remove jobs. For remote access, put it behind
 * a proxy with authentication.
 */
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter'
import { createBullBoard } from '@bull-board/api'
import { HonoAdapter } from '@bull-board/hono'
import { serve } from '@hono/node-server'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
import { Redis } from 'ioredis'
import { UploadQueue } from 'oss-spool/bullmq'

const { REDIS_URL = 'redis://127.0.0.1:6379', PORT = '8080' } = process.env

const redis = new Redis(REDIS_URL, { maxRetriesPerRequest: null })
const { queue } = new UploadQueue({ connection: redis })

const board = new BullMQAdapter(queue, { description: 'Uploads to OSS' })
board.setFormatter('name', ({ data }) => data.key)
board.setFormatter('progress', formatProgress)

/** Formats progress for bull-board, which draws `progress` (in %) as a ring and lists the rest in the Progress tab. */
function formatProgress(progress) {
  if (typeof progress !== 'object' || progress === null) return progress
  const { host, phase, spooled, uploaded, size, parts, rate, eta } = progress
  const known = size > 0 && { progress: Math.floor((100 * uploaded) / size) }
  return {
    ...known,
    host,
    phase,
    bytes: `${mib(uploaded)} of ${mib(size ?? spooled)}${known ? '' : ' so far'}`,
    parts: `${parts.done} of ${parts.total ?? '?'}`,
    rate: `${mib(rate)}/s`,
    ...(eta === undefined ? {} : { left: `${Math.ceil(eta)} s` }),
  }
}

function mib(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}

const serverAdapter = new HonoAdapter(serveStatic)
const uiConfig = { boardTitle: 'Fleet', jobDetails: { defaultTab: 'Progress' } }
createBullBoard({ queues: [board], serverAdapter, options: { uiConfig } })
const app = new Hono().route('/', serverAdapter.registerPlugin())
serve({ fetch: app.fetch, port: Number(PORT), hostname: '127.0.0.1' }, ({ port }) => {
  console.log(`http://127.0.0.1:${port}/`)
})
