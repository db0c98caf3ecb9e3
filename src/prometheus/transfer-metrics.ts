/** Counts the bytes and requests of the uploads of a worker, from the diagnostics channels. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Counter, type Registry } from 'prom-client'
import type { WorkerInternals } from '../bullmq/worker-internals.js'
import type { SpoolEvents } from '../index.js'
import { SentParts } from './sent-parts.js'

export function countTransfers(worker: WorkerInternals, register: Registry): void {
  const queue = { queue: worker.sharedQueue.name }
  const counter = (name: string, help: string): ((by: number) => void) => {
    const counted = new Counter({ name, help, labelNames: ['queue'], registers: [register] })
    counted.inc(queue, 0)
    return by => counted.inc(queue, by)
  }
  const countSource = counter('oss_spool_source_bytes_total', 'Bytes read from sources.')
  const countSent = counter(
    'oss_spool_sent_bytes_total',
    'Bytes of parts and objects sent to OSS, those of failed requests included.',
  )
  const countResent = counter(
    'oss_spool_resent_bytes_total',
    'Sent bytes that had been sent before, after a failed request or a lost upload id.',
  )
  const countSkipped = counter(
    'oss_spool_skipped_bytes_total',
    'Bytes that were not sent because OSS had them already.',
  )
  const countTakeover = counter(
    'oss_spool_takeovers_total',
    'Uploads of another host that were continued on this one, without their bytes.',
  )
  const retries = new Counter({
    name: 'oss_spool_retries_total',
    help: 'Requests to OSS that failed and were retried.',
    labelNames: ['queue', 'operation', 'reason'],
    registers: [register],
  })

  const sentParts = new SentParts()
  /** Bytes read from the source so far, by upload id. */
  const spooled = new Map<string, number>()
  const countSpooled = (id: string, total: number): void => {
    const before = spooled.get(id)
    if (before === undefined || total <= before) return
    countSource(total - before)
    spooled.set(id, total)
  }
  const end = (id: string): void => {
    spooled.delete(id)
    sentParts.ended(id)
  }
  listen(worker, {
    'oss-spool:upload:start': event => {
      if (event.takenOverFrom !== undefined) countTakeover(1)
      if (!event.resumed) spooled.set(event.id, event.spooled)
    },
    'oss-spool:checkpoint': event => countSpooled(event.id, event.spooled),
    'oss-spool:upload:sealed': event => countSpooled(event.id, event.size),
    'oss-spool:part:failed': ({ id, part, sent }) => {
      countSent(sent)
      sentParts.failed(id, part, sent)
    },
    'oss-spool:part:sent': ({ id, part, size }) => {
      countSent(size)
      countResent(sentParts.acknowledged(id, part, size))
    },
    'oss-spool:part:found': ({ id, part, size }) => {
      countSkipped(size)
      sentParts.found(id, part)
    },
    'oss-spool:retry': ({ operation, reason }) => retries.inc({ ...queue, operation, reason }),
    'oss-spool:upload:published': ({ id }) => end(id),
    'oss-spool:upload:failed': ({ id }) => end(id),
  })
}

type Listeners = { readonly [N in keyof SpoolEvents]?: (event: SpoolEvents[N]) => void }

/** Calls the listeners for the uploads of this worker until it is closed. */
function listen(worker: WorkerInternals, listeners: Listeners): void {
  for (const [name, listener] of Object.entries(listeners)) {
    const onMessage = (message: unknown): void => {
      // The channel determines the type of a message.
      const event = message as SpoolEvents[keyof SpoolEvents]
      if (worker.isActive(event.id)) (listener as (message: unknown) => void)(message)
    }
    subscribe(name, onMessage)
    worker.sharedWorker.once('closed', () => unsubscribe(name, onMessage))
  }
}
