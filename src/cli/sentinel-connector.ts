/** How a client of Sentinel connects to the primary, and watches for its successor. */
import type { RedisOptions, SentinelConnectionOptions, SentinelConnector } from 'ioredis'

/**
 * Returns the connector of `ioredis` with a watch (`failoverDetector`) that ends before the next connection is made.
 * Otherwise, the news of a successor can end that connection, too, and the client never connects again.
 * @param connector – the class of `ioredis`, which is loaded on demand
 */
export function watchedConnector(
  connector: typeof SentinelConnector,
): NonNullable<RedisOptions['Connector']> {
  return class extends connector {
    constructor(options: unknown) {
      super(options as SentinelConnectionOptions) // `ioredis` passes those of the client
    }

    override async connect(
      ...args: Parameters<SentinelConnector['connect']>
    ): ReturnType<SentinelConnector['connect']> {
      this.disconnect() // ends the watch of the previous connection, which is closed
      return super.connect(...args)
    }
  }
}
