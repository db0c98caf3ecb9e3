/** The names of all keys. On a cluster the prefix has braces, so that they share one slot. */
export class RedisKeys {
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  /** A set: the ids of all uploads. */
  get uploadIds(): string {
    return `${this.#prefix}:ids`
  }

  /** A number: that of the last owner of any upload. */
  get fencingCounter(): string {
    return `${this.#prefix}:fence`
  }

  /** A sorted set: names in the quarantine by the time they came there, in ms. */
  get quarantineIndex(): string {
    return `${this.#prefix}:quarantine`
  }

  /** A hash: how many bytes the fleet may send now, and when that was so. */
  get rateLimit(): string {
    return `${this.#prefix}:rate`
  }

  /** A string: the envelope of `checkpoint.json`. */
  record(id: string): string {
    return `${this.#prefix}:record:${id}`
  }

  lock(id: string): string {
    return `${this.#prefix}:lock:${id}`
  }

  quarantinedRecord(name: string): string {
    return `${this.#prefix}:quarantined:${name}`
  }

  /** There while a process of the host lives, and some time after. */
  hostHeartbeat(host: string): string {
    return `${this.#prefix}:host:${host}`
  }

  /** There after the host was declared gone. */
  goneHost(host: string): string {
    return `${this.#prefix}:gone:${host}`
  }
}
