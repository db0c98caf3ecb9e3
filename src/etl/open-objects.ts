/**
 * The objects of a job that accept records, in the order of their latest use. Those that have a spool file are
 * tracked separately, so that each limit finds the object to end without a search.
 */

export class OpenObjects<T> {
  /** Keyed by sequence name, least recently used first. */
  readonly #objects = new Map<string, T>()
  /** Names of the objects that have a file, least recently used first. */
  readonly #withFile = new Set<string>()
  #latestName: string | undefined

  get size(): number {
    return this.#objects.size
  }

  /** Number of objects that have a file. */
  get fileCount(): number {
    return this.#withFile.size
  }

  get leastRecentlyUsed(): string | undefined {
    const [name] = this.#objects.keys()
    return name
  }

  /** Least recently used object among those that have a file. */
  get leastRecentlyUsedFile(): string | undefined {
    const [name] = this.#withFile
    return name
  }

  names(): Iterable<string> {
    return this.#objects.keys()
  }

  get(name: string): T | undefined {
    return this.#objects.get(name)
  }

  /** Returns an object, which becomes the most recently used one. */
  use(name: string): T | undefined {
    const object = this.#objects.get(name)
    if (object === undefined || name === this.#latestName) return object
    this.#objects.delete(name)
    this.#objects.set(name, object)
    if (this.#withFile.delete(name)) this.#withFile.add(name)
    this.#latestName = name
    return object
  }

  /** Adds an object without a file as the most recently used one. */
  add(name: string, object: T): void {
    this.#objects.set(name, object)
    this.#latestName = name
  }

  /** Records that the most recently used object has a file. */
  addFile(name: string): void {
    this.#withFile.add(name)
  }

  delete(name: string): void {
    this.#objects.delete(name)
    this.#withFile.delete(name)
    if (name === this.#latestName) this.#latestName = undefined
  }
}
