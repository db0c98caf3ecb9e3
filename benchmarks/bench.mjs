/**
 * The bench: a server in a process of its own, and one fresh process for each run of a subject.
 * Subjects that are compared take turns (A B C A B C ...), since the machine's speed drifts.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sourceOf } from './source.mjs'

const MOST_TOUCHED = 2 ** 30

/** Bodies that are thrown away make V8 collect its old heap time and again, on a core that the subjects need. */
const SERVER_FLAGS = ['--initial-old-space-size=256']

const here = name => fileURLToPath(new URL(name, import.meta.url))

export class Bench {
  #server
  #runs = 0

  static async open() {
    const bench = new Bench()
    bench.#server = fork(here('servers/serve.mjs'), { execArgv: SERVER_FLAGS })
    await once(bench.#server, 'message')
    bench.places = await bench.ask('places')
    return bench
  }

  /** Asks the server's process. */
  async ask(name, argument) {
    this.#server.send({ name, argument })
    const [{ answer }] = await once(this.#server, 'message')
    return answer
  }

  /** One run of one subject. */
  async run(subject, spec) {
    await this.ask('forget')
    const { key = `${subject}-${this.#runs++}` } = spec
    const letGo = await touchMemory(Math.min(spec.size, MOST_TOUCHED))
    const child = fork(here('child.mjs'))
    const said = () =>
      Promise.race([
        once(child, 'message'),
        once(child, 'exit').then(([code]) => [{ failed: `${subject} ended with ${code}` }]),
      ])
    child.send({ ...spec, subject, key, places: this.places })
    let [{ measured, failed }] = await said()
    await letGo()
    const before = await this.ask('cpu')
    if (failed === undefined) {
      child.send('go')
      ;[{ measured, failed }] = await said()
    }
    if (child.exitCode === null) await once(child, 'exit')
    if (failed !== undefined) throw new Error(failed)
    const after = await this.ask('cpu')
    const server = (after.user + after.system - before.user - before.system) / 1e6
    return { ...measured, server }
  }

  /**
   * `runs` rounds of all `cases` in turn.
   * @param cases `{ label: { subject, ...spec } }`
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

  async close() {
    this.#server.disconnect()
    await once(this.#server, 'exit')
  }
}

/**
 * A virtual machine gets the pages of its file cache from its host at their first use, which takes
 * longer than writing them, and gives free ones back within seconds: they are held by a file until the
 * moment in which what is measured begins.
 * @returns what lets them go
 */
async function touchMemory(size) {
  const dir = await mkdtemp(join(tmpdir(), 'oss-spool-bench-touch-'))
  await writeFile(join(dir, 'touched'), sourceOf(size))
  return () => rm(dir, { recursive: true })
}
