/**
 * The stage of the demo: a temp directory, an embedded OSS and the processes that are started.
 * However the demo ends, `strike()` leaves nothing of them. (POSIX: processes are ended by group.)
 */
import { fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmulator } from 'oss-spool/emulator'

export class Stage {
  #actors = new Set()

  constructor(dir, bucket, oss) {
    this.dir = dir
    this.bucket = bucket
    this.oss = oss
  }

  static async set(bucket) {
    const dir = await mkdtemp(join(tmpdir(), 'oss-spool-demo-'))
    await mkdir(join(dir, 'elsewhere'))
    return new Stage(dir, bucket, await startEmulator({ dir: join(dir, 'oss'), buckets: [bucket] }))
  }

  path(name) {
    return join(this.dir, name)
  }

  /** A module of ours in a process of its own, with a channel for messages. */
  fork(url) {
    return this.#enter(fork(url, { detached: true }))
  }

  /** Any program; resolves to what it printed when it has ended well. */
  async run(command, args, options) {
    const stdio = ['ignore', 'pipe', 'inherit']
    const child = this.#enter(spawn(command, args, { ...options, stdio, detached: true }))
    let output = ''
    child.stdout.setEncoding('utf8').on('data', text => (output += text))
    const [code, signal] = await once(child, 'close')
    if (code === 0) return { pid: child.pid, output }
    throw new Error(`${command} ended with ${signal ?? code}`)
  }

  async strike() {
    for (const actor of this.#actors) {
      const ended = once(actor, 'exit')
      try {
        process.kill(-actor.pid, 'SIGKILL')
      } catch (error) {
        if (error.code !== 'ESRCH') throw error // it ended by itself just now
      }
      await ended
    }
    await this.oss.close()
    await rm(this.dir, { recursive: true, force: true })
  }

  #enter(child) {
    if (child.pid === undefined) return child // it could not be started; `error` tells
    this.#actors.add(child)
    child.once('exit', () => this.#actors.delete(child))
    return child
  }
}
