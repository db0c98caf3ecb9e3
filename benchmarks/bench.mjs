/**
 * Benchmark driver: one server process, and a fresh process for each run of a subject. Runs of compared
 * subjects are interleaved (A B C A B C ...), since the machine's speed drifts.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sourceOf } from './source.mjs'

const MOST_TOUCHED = 2 ** 30

/** A run that takes longer, in ms, has hung, and must not keep the others from being measured. */
const LONGEST_RUN = 15 * 60_000

/** Discarded bodies trigger frequent major GCs in the server, which would steal CPU from the subject. */
const SERVER_FLAGS = ['--initial-old-space-size=256']

const here = name => fileURLToPath(new URL(name, import.meta.url))

export class Bench {
  #server
  /** Rejects when the server process ends. */
  #serverEnd
  #runs = 0

  static async #open() {
    const bench = new Bench()
    bench.#server = fork(here('servers/serve.mjs'), { execArgv: SERVER_FLAGS })
    bench.#serverEnd = once(bench.#server, 'exit').then(([code, signal]) => {
      throw new Error(`The server ended with ${code ?? signal}`)
    })
    bench.#serverEnd.catch(() => {}) // those who wait for an answer get it
    await bench.#answer()
    bench.places = await bench.ask('places')
    return bench
  }

  /** Starts a server process, calls `work`, and ends the server. */
  static async use(work) {
    const bench = await Bench.#open()
    try {
      return await work(bench)
    } finally {
      await bench.#close()
    }
  }

  /** Calls a function of the server process. */
  async ask(name, argument) {
    this.#server.send({ name, argument }, () => {}) // a failure shows as the end of the server
    return this.#answer()
  }

  async #answer() {
    const [{ answer }] = await Promise.race([once(this.#server, 'message'), this.#serverEnd])
    return answer
  }

  /**
   * Runs a subject once.
   * @param spec – `size` in bytes; `server`: the one to which a client of OSS sends, default the emulator that discards;
   *   all else is described in `child.mjs` and in the subjects
   */
  async run(subject, spec) {
    const { key = `${subject}-${this.#runs++}`, server = 'oss' } = spec
    const places = { ...this.places, oss: this.places[server] }
    const releaseMemory = await touchMemory(Math.min(spec.size, MOST_TOUCHED))
    const child = fork(here('child.mjs'), { execArgv: ['--no-warnings'] })
    const limit = setTimeout(() => child.kill('SIGKILL'), LONGEST_RUN)
    const nextMessage = () =>
      Promise.race([
        once(child, 'message'),
        once(child, 'exit').then(([code, signal]) => [
          { failed: `${subject} ended with ${code ?? signal}` },
        ]),
      ])
    child.send({ ...spec, subject, key, places })
    let [{ measured, failed }] = await nextMessage()
    await releaseMemory()
    await this.ask('forget') // requests of the warm-up
    const before = await this.ask('cpu')
    if (failed === undefined) {
      child.send('go')
      ;[{ measured, failed }] = await nextMessage()
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
    clearTimeout(limit)
    if (failed !== undefined) throw new Error(failed)
    const after = await this.ask('cpu')
    const serverCpu = (after.user + after.system - before.user - before.system) / 1e6
    const writes = spec.countWrites ? { writes: await this.ask('writes') } : {}
    return { ...measured, ...writes, server: serverCpu }
  }

  /**
   * Runs all cases in interleaved rounds.
   * @param cases – `{ label: { subject, ...spec } }`
   * @param runs – number of rounds
   * @returns the measurements by label
   */
  async compare(cases, runs) {
    const measured = Object.fromEntries(Object.keys(cases).map(label => [label, []]))
    for (let round = 0; round < runs; round++) {
      for (const [label, { subject, ...spec }] of Object.entries(cases)) {
        measured[label].push(await this.run(subject, spec))
        process.stderr.write('.')
      }
    }
    process.stderr.write('\n')
    return measured
  }

  async #close() {
    if (this.#server.connected) this.#server.disconnect()
    await this.#serverEnd.catch(() => {})
  }
}

/**
 * Pre-faults `size` bytes of page cache. A virtual machine gets these pages from its host at first use, which
 * takes longer than writing them, and returns free ones within seconds. A file therefore holds them until
 * the measurement begins.
 * @returns a function that releases them
 */
async function touchMemory(size) {
  const dir = await mkdtemp(join(tmpdir(), 'oss-spool-bench-touch-'))
  await writeFile(join(dir, 'touched'), sourceOf(size))
  return () => rm(dir, { recursive: true })
}
