/**
 * Chain of transforms, driven one batch at a time. A batch is processed when every transform has called back
 * for it. The number of bytes output after a batch therefore depends on the bytes alone, never on timing, and
 * objects limited by size end at the same records in every run.
 */
import type { Duplex } from 'node:stream'

/** One transform and its pending output. */
class ChainedTransform {
  readonly #stream: Duplex
  readonly #output: Buffer[] = []
  #ended = false
  #onEnd: () => void = () => {}
  #onError: (error: Error) => void = () => {}
  #error: Error | undefined

  constructor(stream: Duplex) {
    this.#stream = stream
    stream.on('readable', () => this.#readOutput())
    stream.once('end', () => {
      this.#ended = true
      this.#onEnd()
    })
    stream.on('error', error => this.#fail(error))
    // A stream that destroys itself without an error calls nobody back.
    stream.once('close', () => {
      if (!this.#ended) this.#fail(prematureCloseError())
    })
  }

  /** Returns the output available once the transform has processed `chunk`. */
  async write(chunk: Buffer): Promise<Buffer[]> {
    await this.#waitFor(done => this.#stream.write(chunk, error => done(error)))
    this.#readOutput()
    return this.#output.splice(0)
  }

  async end(): Promise<Buffer[]> {
    await this.#waitFor(done => {
      this.#onEnd = done
      if (this.#ended) done()
      else this.#stream.end()
    })
    return this.#output.splice(0)
  }

  destroy(): void {
    this.#fail(new Error('The transform was destroyed'))
    this.#stream.destroy()
  }

  #fail(error: Error): void {
    this.#error ??= error
    this.#onError(this.#error)
  }

  #waitFor(start: (done: (error?: Error | null) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onError = reject
      const done = (error: Error | null | undefined = this.#error): void =>
        error ? reject(error) : resolve()
      if (this.#error === undefined) start(done)
      else done()
    })
  }

  #readOutput(): void {
    for (;;) {
      const chunk: unknown = this.#stream.read()
      if (chunk === null) return
      this.#output.push(Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk as string | Uint8Array))
    }
  }
}

export class TransformChain {
  readonly #createStreams: () => readonly Duplex[]
  /** The current transforms. `end()` removes them; the next batch creates new ones. */
  #transforms: readonly ChainedTransform[]
  #isEnded = false

  /** @param createStreams – returns new streams; called at once, and by the first batch after each `end()` */
  constructor(createStreams: () => readonly Duplex[]) {
    this.#createStreams = createStreams
    this.#transforms = this.#createTransforms()
  }

  /** @returns the output of the last transform once the chain has processed all `chunks` */
  async write(chunks: readonly Buffer[]): Promise<readonly Buffer[]> {
    if (this.#isEnded && chunks.length > 0) {
      this.#transforms = this.#createTransforms()
      this.#isEnded = false
    }
    return this.#writeFrom(0, chunks)
  }

  /** Ends the transforms, unless nothing was written since the last call. @returns the remaining output */
  async end(): Promise<readonly Buffer[]> {
    if (this.#isEnded) return []
    this.#isEnded = true
    const rest: Buffer[] = []
    for (const [i, transform] of this.#transforms.entries()) {
      rest.push(...(await this.#writeFrom(i + 1, await transform.end())))
    }
    return rest
  }

  destroy(): void {
    for (const transform of this.#transforms) transform.destroy()
  }

  #createTransforms(): readonly ChainedTransform[] {
    return this.#createStreams().map(stream => new ChainedTransform(stream))
  }

  async #writeFrom(first: number, chunks: readonly Buffer[]): Promise<readonly Buffer[]> {
    let output = chunks
    for (const transform of this.#transforms.slice(first)) {
      const nextOutput: Buffer[] = []
      for (const chunk of output) nextOutput.push(...(await transform.write(chunk)))
      output = nextOutput
    }
    return output
  }
}

/** In the form of Node. */
function prematureCloseError(): Error {
  const error = new Error('A transform closed before its end')
  return Object.assign(error, { code: 'ERR_STREAM_PREMATURE_CLOSE' })
}
