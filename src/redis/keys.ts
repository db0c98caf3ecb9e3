/** Names of all keys. On a Redis cluster, the prefix needs braces so that all keys share one slot. */
export class RedisKeys {
  readonly #prefix: string

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  /** Set: the ids of all uploads. */
  get uploadIds(): string {
    return `${this.#prefix}:ids`
  }

  /** Integer: the last fencing number given to an owner of any upload. */
  get fencingCounter(): string {
    return `${this.#prefix}:fence`
  }

  /** Sorted set: names in the quarantine, scored by the time they were quarantined in ms. */
  get quarantineIndex(): string {
    return `${this.#prefix}:quarantine`
  }

  /** Hash: the bytes in the bucket of `fleetRate`, and the time of that value. */
  get rateLimit(): string {
    return `${this.#prefix}:rate`
  }

  /** Set: names of notes that an upload was moved to an object, or is about to be. */
  get moved(): string {
    return `${this.#prefix}:moved`
  }

  /** String: the envelope of `checkpoint.json`. */
  record(id: string): string {
    return `${this.#prefix}:record:${id}`
  }

  lock(id: string): string {
    return `${this.#prefix}:lock:${id}`
  }

  quarantinedRecord(name: string): string {
    return `${this.#prefix}:quarantined:${name}`
  }

  /** Exists while a process of the host is alive, and until the last heartbeat expires. */
  hostHeartbeat(host: string): string {
    return `${this.#prefix}:host:${host}`
  }

  /** Exists after the host was declared gone, until it expires. */
  goneHost(host: string): string {
    return `${this.#prefix}:gone:${host}`
  }
}
