/**
 * The worker process that executes the model's commands and is killed by them. It runs sinks and spools of
 * the built package, and answers each message once, with the outcome that a caller would see.
 */
import { Spool } from '../../dist/index.js'

const PART = 102_400
const RETRY = { attempts: 3, minDelay: 1, maxDelay: 10 }

let spool
const sinks = new Map()

const steps = {
  begin({ client, dir }) {
    sinks.clear()
    spool = new Spool({ client, dir, partSize: PART, retry: RETRY, timeout: 2000 })
    spool.on('warning', () => {})
  },
  async open({ id, key, options }) {
    const sink = spool.createWriteStream(key, { id, ...options })
    sink.on('error', () => {})
    // An empty write is acknowledged when the sink is open.
    const error = await new Promise(resolve => sink.write('', resolve))
    if (error) await sink.result
    sinks.set(id, sink)
  },
  async write({ id, data }) {
    const sink = sinks.get(id)
    const error = await new Promise(resolve => sink.write(data, resolve))
    if (!error) return
    sinks.delete(id)
    await sink.result
  },
  async commit({ id }) {
    try {
      await sinks.get(id).commit()
    } catch (error) {
      sinks.delete(id)
      throw error
    }
  },
  async end({ id }) {
    return summary(await taken(id).end().result)
  },
  async fail({ id }) {
    await taken(id).destroy(new Error('the source failed')).result
  },
  async destroy({ id }) {
    await taken(id).destroy().result
  },
  async cut({ id, after }) {
    const sink = taken(id)
    sink.end()
    setTimeout(() => sink.destroy(), after)
    return summary(await sink.result)
  },
  async upload({ id, key, data, options }) {
    let called
    const source = ({ offset }) => {
      called = offset
      return data.length > offset ? [data.subarray(offset)] : []
    }
    try {
      return { ...summary(await spool.upload(key, source, { id, ...options })), called }
    } catch (error) {
      error.called = called
      throw error
    }
  },
  async resume({ id, force }) {
    return summary(await spool.resume(id, { force }))
  },
  abort: ({ id }) => spool.abort(id),
  prune: ({ sealed, orphans }) => spool.prune({ olderThan: 0, sealed, orphans }),
  uploads: () => spool.uploads({ receipts: true }),
}

process.on('message', message => void answer(message))
process.on('disconnect', () => process.exit())
process.send({ n: 0 })

function taken(id) {
  const sink = sinks.get(id)
  sinks.delete(id)
  return sink
}

function summary({ size, resumed, sourceRead, receipt }) {
  return { size, resumed, sourceRead, receipt }
}

/** Runs one step and sends its outcome. */
async function answer({ n, step, ...parameters }) {
  try {
    process.send({ n, value: await steps[step](parameters) })
  } catch (error) {
    const { code, resumable, name, message, called, stack } = error
    process.send({ n, error: { code, resumable, name, message, called, stack } })
  }
}
