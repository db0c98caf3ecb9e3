/**
 * Runs the same checks against a bucket of OSS and against the emulator, and compares the replies. Everything is made
 * below one random folder, which is removed at the end.
 */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEmulator } from '../emulator/index.js'
import { readClient, type ClientOptions } from '../oss/client-options.js'
import { connect } from '../oss/connection.js'
import type { Credentials } from '../oss/credentials.js'
import { compareSteps, type Difference } from './compare.js'
import type { Entry } from './exchange.js'
import { stepsOf } from './facts.js'
import { Recorder } from './recorder.js'
import { CLEAN_UP, runChecks } from './run-checks.js'
import { Target } from './target.js'

export interface LiveCheckOptions {
  /** How to reach the bucket, which must be named. */
  readonly client: ClientOptions & { readonly bucket: string }
  /** Prefix of the folder. */
  readonly prefix: string
  readonly signal: AbortSignal
}

/** What the checks will do, known from their run against the emulator. */
export interface Forecast {
  /** Folder of all objects. */
  readonly folder: string
  readonly requests: number
  /** Bytes of bodies, in both directions. */
  readonly bytes: number
}

export interface LiveCheckResult {
  readonly requests: number
  readonly bytes: number
  readonly differences: readonly Difference[]
  /** Why something below the folder may be left. */
  readonly leftBehind: string | undefined
}

export class LiveCheck {
  readonly #options: LiveCheckOptions
  readonly #folder: string
  readonly #secrets = new Set<string>()
  readonly #emulator = new Recorder(this.#secrets)
  readonly #oss = new Recorder(this.#secrets)

  constructor(options: LiveCheckOptions) {
    this.#options = options
    this.#folder = `${options.prefix}oss-spool-live-check-${randomBytes(6).toString('hex')}/`
  }

  /** Runs the checks against the emulator, which sends nothing to OSS. */
  async rehearse(): Promise<Forecast> {
    const { client } = this.#options
    const emulator = await startEmulator({
      buckets: [client.bucket],
      region: readClient(client).place.region,
      credentials: 'random',
    })
    try {
      await this.#run(emulator.clientOptions(client.bucket), this.#emulator)
    } finally {
      await emulator.close()
    }
    const { requests, bytes } = this.#emulator
    return { folder: this.#folder, requests, bytes }
  }

  /** Runs the checks against OSS, and compares it with the rehearsal. */
  async run(): Promise<LiveCheckResult> {
    const leftBehind = await this.#run(this.#options.client, this.#oss)
    const [oss, emulator] = [this.#oss, this.#emulator].map(({ entries }) =>
      stepsOf(entries.filter(({ check }) => check !== CLEAN_UP)),
    )
    const { requests, bytes } = this.#oss
    return { requests, bytes, differences: compareSteps(oss ?? [], emulator ?? []), leftBehind }
  }

  /** All requests and replies so far, without secrets. */
  *transcript(): Generator<{ readonly side: 'emulator' | 'oss' } & Entry> {
    for (const entry of this.#emulator.entries) yield { side: 'emulator', ...entry }
    for (const entry of this.#oss.entries) yield { side: 'oss', ...entry }
  }

  /** @returns why something may be left */
  async #run(client: ClientOptions, recorder: Recorder): Promise<string | undefined> {
    const { credentials: source } = readClient(client).settings
    const credentials = async (): Promise<Credentials> => {
      const keys = await source.get()
      for (const secret of Object.values(keys))
        if (typeof secret === 'string') this.#secrets.add(secret)
      return keys
    }
    const connection = connect({ ...client, credentials }, undefined, { wrap: recorder.wrap })
    const directory = await mkdtemp(join(tmpdir(), 'oss-spool-live-check-'))
    try {
      const { signal } = this.#options
      const place = connection.place()
      const target = new Target({
        connection,
        place,
        credentials,
        recorder,
        folder: this.#folder,
        directory,
        signal,
      })
      return await runChecks(target, signal)
    } finally {
      connection.close()
      await rm(directory, { recursive: true, force: true })
    }
  }
}
