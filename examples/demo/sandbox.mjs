/**
 * The sandbox of the demo: a temp directory, an embedded OSS and child processes. `close()` removes all of
 * them, however the demo ends. (POSIX only: processes are killed by group.)
 */
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmulator } from 'oss-spool/emulator'

export class Sandbox {
  #children = new Set()

  constructor(dir, bucket, oss) {
    this.dir = dir
    this.bucket = bucket
    this.oss = oss
  }

  static async create(bucket) {
    const dir = await mkdtemp(join(tmpdir(), 'oss-spool-demo-'))
    await mkdir(join(dir, 'elsewhere'))
    return new Sandbox(
      dir,
      bucket,
      await startEmulator({ dir: join(dir, 'oss'), buckets: [bucket], credentials: 'random' }),
    )
  }

  path(name) {
    return join(this.dir, name)
  }

  /** Runs one of our modules in a child process, with a message channel. */
  fork(url) {
    return this.#track(fork(url, { detached: true }))
  }

  /** Runs a program; resolves to its output, or rejects if its exit status is not 0. */
  async run(command, args, options) {
    const stdio = ['ignore', 'pipe', 'inherit']
    const child = this.#track(spawn(command, args, { ...options, stdio, detached: true }))
    let output = ''
    child.stdout.setEncoding('utf8').on('data', text => (output += text))
    const [code, signal] = await once(child, 'close')
    if (code === 0) return { pid: child.pid, output }
    throw new Error(`${command} ended with ${signal ?? code}`)
  }

  async close() {
    for (const child of this.#children) {
      const ended = once(child, 'exit')
      try {
        process.kill(-child.pid, 'SIGKILL')
      } catch (error) {
        if (error.code !== 'ESRCH') throw error // it has just exited by itself
      }
      await ended
    }
    await this.oss.close()
    await rm(this.dir, { recursive: true, force: true })
  }

  #track(child) {
    if (child.pid === undefined) return child // it could not be started: `error` is emitted
    this.#children.add(child)
    child.once('exit', () => this.#children.delete(child))
    return child
  }
}
